# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.boot_configuration import device_path
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.storage import read_storage
from tests.unit import machines
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import NIC, NVME

DISK = f"/sys/devices/pci0000:01/{NVME}/nvme/nvme0/nvme0n1"


def tree(tmp_path: Path, files: dict[str, str], links: dict[str, str], dirs: tuple[str, ...] = ()) -> HostRoot:
    data = {"pci": [support.function(NVME, "nvme"), support.function(NIC, "nic")], "files": files, "links": links}
    machines.build({**data, "dirs": list(dirs)}, tmp_path)
    return HostRoot(str(tmp_path))


def mountinfo(number: str, target: str, kind: str, source: str) -> dict[str, str]:
    return {"/proc/1/mountinfo": f"22 1 {number} / {target} rw - {kind} {source} rw\n"}


def test_volume_on_encrypted_array(tmp_path: Path) -> None:
    links = {
        "/sys/dev/block/253:0": "/sys/devices/virtual/block/dm-0",
        "/sys/class/block/dm-0": "/sys/devices/virtual/block/dm-0",
        "/sys/devices/virtual/block/dm-0/slaves/dm-1": "/sys/devices/virtual/block/dm-1",
        "/sys/class/block/dm-1": "/sys/devices/virtual/block/dm-1",
        "/sys/devices/virtual/block/dm-1/slaves/md0": "/sys/devices/virtual/block/md0",
        "/sys/class/block/md0": "/sys/devices/virtual/block/md0",
        "/sys/devices/virtual/block/md0/slaves/nvme0n1p1": f"{DISK}/nvme0n1p1",
        "/sys/class/block/nvme0n1p1": f"{DISK}/nvme0n1p1",
    }
    root = tree(
        tmp_path, {**mountinfo("253:0", "/", "ext4", "/dev/mapper/vg-root"), f"{DISK}/nvme0n1p1/dev": ""}, links
    )
    assert read_storage(root) == {NVME: ["holds /"]}


def test_nvme_with_native_multipath(tmp_path: Path) -> None:
    subsystem = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    links = {
        "/sys/dev/block/259:0": f"{subsystem}/nvme0n1",
        "/sys/class/block/nvme0n1": f"{subsystem}/nvme0n1",
        f"{subsystem}/nvme0": f"/sys/devices/pci0000:01/{NVME}/nvme/nvme0",
    }
    files = {**mountinfo("259:0", "/var", "xfs", "/dev/nvme0n1"), f"{subsystem}/nvme0n1/dev": "259:0\n"}
    root = tree(tmp_path, files, links, (f"/sys/devices/pci0000:01/{NVME}/nvme/nvme0",))
    assert read_storage(root) == {NVME: ["holds /var"]}


def test_swap_on_a_partition(tmp_path: Path) -> None:
    files = {
        "/proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n/dev/nvme0n1p3 partition 8 0 -2\n",
        f"{DISK}/nvme0n1p3/dev": "259:3\n",
    }
    root = tree(tmp_path, files, {"/sys/class/block/nvme0n1p3": f"{DISK}/nvme0n1p3"})
    assert read_storage(root) == {NVME: ["holds swap /dev/nvme0n1p3"]}


def test_pools_make_every_disk_suspect(tmp_path: Path) -> None:
    reasons = read_storage(tree(tmp_path, mountinfo("0:30", "/", "zfs", "rpool/ROOT"), {}))
    assert list(reasons) == [NVME] and "may hold /" in reasons[NVME][0]


def test_network_root_suspects_no_disk(tmp_path: Path) -> None:
    assert read_storage(tree(tmp_path, mountinfo("0:30", "/", "nfs4", "192.0.2.1:/root"), {})) == {}


def partition(number: int, name: str = "nvme0n1p1") -> tuple[dict[str, str], dict[str, str]]:
    """Files and links of a partition of the disk."""
    links = {
        f"/sys/dev/block/259:{number}": f"{DISK}/{name}",
        f"/sys/class/block/{name}": f"{DISK}/{name}",
        f"/dev/{name}": f"/sys/class/block/{name}",
    }
    return {f"{DISK}/{name}/dev": f"259:{number}\n"}, links


BY_TAG = {
    "/dev/disk/by-uuid/1234-ABCD": f"{DISK}/nvme0n1p1",
    "/dev/disk/by-partlabel/EFI\\x20system": f"{DISK}/nvme0n1p1",
    "/dev/disk/by-label/swap": f"{DISK}/nvme0n1p1",
    "/dev/disk/by-partuuid/0a1b2c3d-0000-4000-8000-00000000abcd": f"{DISK}/nvme0n1p1",
}


@pytest.mark.parametrize(
    ("path", "line", "reasons"),
    [
        ("/etc/fstab", "UUID=1234-ABCD /boot/efi vfat umask=0077 0 1", ["holds /boot/efi (fstab)"]),
        ("/etc/fstab", 'PARTLABEL="EFI\\040system" /efi/ vfat noauto 0 1', ["holds /efi (fstab)"]),
        ("/etc/fstab", "/dev/nvme0n1p1 /srv/my\\040data xfs nofail 0 0", ["holds /srv/my data (fstab)"]),
        ("/etc/fstab", "LABEL=swap none swap sw 0 0", ["holds swap LABEL=swap (fstab)"]),
        ("/etc/fstab", "# UUID=1234-ABCD /boot/efi vfat umask=0077 0 1", []),
        ("/etc/fstab", "UUID=other /data xfs defaults 0 0\nserver:/export /mnt nfs defaults 0 0\nbroken", []),
        ("/etc/crypttab", "data UUID=1234-ABCD none luks", ["holds the encrypted volume data (crypttab)"]),
        ("/etc/crypttab", "#data UUID=1234-ABCD none luks", []),
    ],
)
def test_disks_that_are_not_mounted_now(tmp_path: Path, path: str, line: str, reasons: list[str]) -> None:
    """The partition of the boot loader is mounted on demand; a missing disk of fstab ends in emergency mode."""
    files, links = partition(1)
    root = tree(tmp_path, {**files, path: f"{line}\n"}, {**links, **BY_TAG})
    assert read_storage(root) == ({NVME: reasons} if reasons else {})


def test_what_is_mounted_is_said_once(tmp_path: Path) -> None:
    files, links = partition(1)
    files.update(mountinfo("259:1", "/boot", "ext4", "/dev/nvme0n1p1"))
    root = tree(tmp_path, {**files, "/etc/fstab": "UUID=1234-ABCD /boot ext4 defaults 0 0\n"}, {**links, **BY_TAG})
    assert read_storage(root) == {NVME: ["holds /boot"]}


def test_the_partition_that_the_firmware_started(tmp_path: Path) -> None:
    files, links = partition(1)
    root = tree(tmp_path, files, {**links, **BY_TAG})
    variable = Path(root.path("/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"))
    variable.parent.mkdir(parents=True)
    variable.write_bytes(b"\x06\0\0\0" + "0A1B2C3D-0000-4000-8000-00000000ABCD\0".encode("utf-16-le"))
    assert read_storage(root) == {NVME: ["holds the boot loader"]}


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("LABEL=a/b", "/dev/disk/by-label/a\\x2fb"),
        ("LABEL=größe", "/dev/disk/by-label/größe"),
        ("PARTUUID=1-2", "/dev/disk/by-partuuid/1-2"),
        ("/dev/mapper/vg-root", "/dev/mapper/vg-root"),
        ("UUID=", None),
        ("tmpfs", None),
        ("server:/export", None),
        ("/swapfile", None),
    ],
)
def test_sources_as_mount_finds_them(source: str, path: str | None) -> None:
    assert device_path(source) == path


def test_swap_on_a_file(tmp_path: Path) -> None:
    files, links = partition(2, "nvme0n1p2")
    files.update(
        {
            "/proc/1/mountinfo": "22 1 0:40 / / rw - overlay overlay rw\n23 22 259:2 / /mnt rw - ext4 /dev/nvme0n1p2 rw\n",
            "/proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n/mnt/swap\\040file file 8 0 -2\n/swap file 8 0 -3\n",
        }
    )
    assert read_storage(tree(tmp_path, files, links)) == {NVME: ["holds /mnt", "holds swap /mnt/swap file"]}


def volume(name: str = "ceph--1-osd--block--2") -> tuple[dict[str, str], dict[str, str]]:
    """A logical volume that a storage cluster has open and nobody has mounted."""
    files, links = partition(3, "nvme0n1p3")
    top = "/sys/devices/virtual/block/dm-0"
    files[f"{top}/dm/name"] = f"{name}\n"
    links.update({"/sys/class/block/dm-0": top, f"{top}/slaves/nvme0n1p3": f"{DISK}/nvme0n1p3"})
    return files, links


def test_a_volume_that_is_assembled_and_not_mounted(tmp_path: Path) -> None:
    files, links = volume()
    assert read_storage(tree(tmp_path, files, links)) == {NVME: ["is part of ceph--1-osd--block--2"]}


def test_a_volume_of_a_pool_names_no_disk(tmp_path: Path) -> None:
    links = {
        "/sys/class/block/zd0": "/sys/devices/virtual/block/zd0",
        "/sys/dev/block/230:0": "/sys/devices/virtual/block/zd0",
        "/dev/zd0": "/sys/class/block/zd0",
    }
    files = {
        **mountinfo("230:0", "/var/lib/kubelet", "ext4", "/dev/zd0"),
        "/proc/swaps": "Filename\n/dev/zd0 partition 8 0 -2\n",
        "/sys/devices/virtual/block/zd0/dev": "230:0\n",
    }
    assert read_storage(tree(tmp_path, files, links)) == {
        NVME: ["may hold /var/lib/kubelet (disks unknown)", "may hold swap /dev/zd0 (disks unknown)"]
    }


def test_all_members_of_btrfs(tmp_path: Path) -> None:
    """A mount names one of them."""
    other = "0000:04:00.0"
    disk = f"/sys/devices/pci0000:04/{other}/nvme/nvme1/nvme1n1"
    description: dict[str, Any] = {
        "pci": [support.function(NVME, "nvme"), support.function(other, "nvme")],
        "files": {**mountinfo("0:26", "/", "btrfs", "/dev/nvme0n1"), f"{DISK}/dev": "", f"{disk}/dev": ""},
        "links": {
            "/dev/nvme0n1": "/sys/class/block/nvme0n1",
            "/sys/class/block/nvme0n1": DISK,
            "/sys/class/block/nvme1n1": disk,
            "/sys/fs/btrfs/7d0b/devices/nvme0n1": DISK,
            "/sys/fs/btrfs/7d0b/devices/nvme1n1": disk,
        },
    }
    root = HostRoot(str(machines.build(description, tmp_path)))
    assert read_storage(root) == {NVME: ["holds /"], other: ["holds /"]}


def test_a_disk_behind_volume_management_needs_that_device_too(tmp_path: Path) -> None:
    """The machine of the fixture, its root file system where the reporter had it; 0000:00:0e.0 is the management device."""
    description = machines.load("vmd_b1400")
    manager, ssd, port = "0000:00:0e.0", "10000:e1:00.0", "10000:e0:06.0"
    description["pci"].append(
        {"address": manager, "class": "010400", "vendor": "8086", "device": "9a0b", "driver": "vmd"}
    )
    disk = f"/sys/devices/pci0000:00/{manager}/pci10000:e0/{port}/{ssd}/nvme/nvme0/nvme0n1"
    description["files"] = {**mountinfo("259:5", "/", "ext4", "/dev/nvme0n1p5"), f"{disk}/nvme0n1p5/dev": "259:5\n"}
    description["links"] = {
        "/sys/dev/block/259:5": f"{disk}/nvme0n1p5",
        "/sys/class/block/nvme0n1p5": f"{disk}/nvme0n1p5",
    }
    root = HostRoot(str(machines.build(description, tmp_path)))
    assert read_storage(root) == {manager: ["holds /"], ssd: ["holds /"]}


@pytest.mark.parametrize(
    "path",
    [
        "/sys/devices/platform/host6/session1/target6:0:0/6:0:0:0/block/sda",
        "/sys/devices/virtual/nvme-fabrics/ctl/nvme0/nvme0n1",
    ],
)
def test_disks_over_the_network_are_no_disks_of_this_machine(tmp_path: Path, path: str) -> None:
    """Their card is kept for its addresses and routes."""
    name = path.rpartition("/")[2]
    files = {**mountinfo("8:0", "/", "ext4", f"/dev/{name}"), f"{path}/dev": "8:0\n"}
    root = tree(tmp_path, files, {"/sys/dev/block/8:0": path, f"/sys/class/block/{name}": path})
    assert read_storage(root) == {}
