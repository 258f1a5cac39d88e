# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.network import read_network
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Number, stat_number
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.storage import read_storage
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.writer import SysfsWriter
from tests.unit import machines
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import GPU, NIC, NVME

DISK = f"/sys/devices/pci0000:01/{NVME}/nvme/nvme0/nvme0n1"


def tree(tmp_path: Path, files: dict[str, str], links: dict[str, str], dirs: tuple[str, ...] = ()) -> HostRoot:
    data = {"pci": [support.function(NVME, "nvme"), support.function(NIC, "nic")], "files": files, "links": links}
    machines.build({**data, "dirs": list(dirs)}, tmp_path)
    return HostRoot(str(tmp_path))


def mountinfo(number: str, target: str, kind: str, source: str) -> dict[str, str]:
    return {"/proc/1/mountinfo": f"22 1 {number} / {target} rw - {kind} {source} rw\n"}


def test_root_disk_and_network_card(tmp_path: Path) -> None:
    facts = read_facts(support.build(tmp_path), ())
    assert facts["critical"] == {
        NVME: ["holds /", "holds /boot"],
        NIC: ["carries the default route (ens1 below bond0)"],
    }
    assert facts["drivers"]["loadable"] == ["nvgrace_gpu_vfio_pci", "vfio_pci"]


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


def test_ssh_session_over_ipv6(tmp_path: Path) -> None:
    files = {
        "/proc/net/ipv6_route": "20010db8000000000000000000000000 40 " + "0" * 32 + " 00 " + "0" * 32
        + " 00000100 00000001 00000000 00000001 ens1\n"
        + "fe800000000000000000000000000000 40 " + "0" * 32 + " 00 " + "0" * 32 + " 100 1 0 00000001 ens2\n",
        "/sys/class/net/ens2/address": "",
    }  # fmt: skip
    root = tree(tmp_path, files, {"/sys/class/net/ens1/device": f"/sys/bus/pci/devices/{NIC}"})
    assert read_network(root, "2001:db8::5 51000 2001:db8::1 22") == {NIC: ["carries this SSH session (ens1)"]}
    assert read_network(root) == {NIC: ["has addresses or routes (ens1)"]}


def test_the_real_scan_sees_this_process(tmp_path: Path) -> None:
    """Against the running kernel: a node that this process holds is found by its number."""
    number = stat_number("/dev/null")
    assert number == Number("char", 1, 3)
    with open("/dev/null", "rb") as stream:
        assert stat_number(f"/proc/{os.getpid()}/fd/{stream.fileno()}") == number


def test_rules_are_read_back_and_guard_the_identity(tmp_path: Path) -> None:
    from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices

    device = next(each for each in read_devices(support.build(tmp_path)) if each.address == GPU)
    line = rules.line_for(device, "vfio-pci")
    assert rules.parse(f"# other\n{line}\n") == {GPU: line} and rules.driver_of(line) == "vfio-pci"
    for word in ('ATTR{subsystem_vendor}=="0x10de"', 'ATTR{subsystem_device}=="0x1459"', "drivers_probe"):
        assert word in line
    text = rules.render('KERNEL=="x"\n', {GPU: line})
    assert text is not None and rules.render(text, {GPU: line}) == text and rules.render(text, {}) == 'KERNEL=="x"\n'


def test_writer_writes_and_reports_errors(tmp_path: Path) -> None:
    (tmp_path / "attribute").write_text("")
    writer = SysfsWriter(HostRoot(str(tmp_path)), 5.0)
    assert writer.write("/attribute", "vfio-pci\n").ok and (tmp_path / "attribute").read_text() == "vfio-pci\n"
    assert "No such file" in writer.write("/absent", "x").error


def test_writer_gives_up_on_a_write_that_does_not_return(tmp_path: Path) -> None:
    """A named pipe without a reader blocks its writer as a driver does that waits for a user."""
    os.mkfifo(tmp_path / "attribute")
    started = time.monotonic()
    outcome = SysfsWriter(HostRoot(str(tmp_path)), 0.3).write("/attribute", "x")
    assert outcome.wedged and not outcome.ok and time.monotonic() - started < 3.0
    with open(tmp_path / "attribute", "rb") as reader:
        assert reader.read() == b"x", "the writer was left alone, not killed"
    os.waitpid(-1, 0)


@pytest.mark.parametrize("name", ["/proc", "/sys", "/etc"])
def test_absent_folders_are_no_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name[1:]).mkdir()
    assert read_facts(HostRoot(str(tmp_path)))["critical"] == {}
