# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._modules import initramfs
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import machines
from tests.unit.plugins.module_utils._boot import loader_host

RELEASE = "6.1.0-25-amd64"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([f"/boot/initrd.img-{RELEASE}"], f"/boot/initrd.img-{RELEASE}"),
        ([f"/boot/initramfs-{RELEASE}.img"], f"/boot/initramfs-{RELEASE}.img"),
        ([f"/boot/initrd-{RELEASE}"], f"/boot/initrd-{RELEASE}"),
        ([f"/efi/m1/{RELEASE}/initrd"], f"/efi/m1/{RELEASE}/initrd"),
        ([f"/boot/efi/m1/{RELEASE}/initrd.img-{RELEASE}"], f"/boot/efi/m1/{RELEASE}/initrd.img-{RELEASE}"),
        ([f"/boot/debian/{RELEASE}/initrd"], f"/boot/debian/{RELEASE}/initrd"),
        ([f"/efi/Default/{RELEASE}/initrd"], f"/efi/Default/{RELEASE}/initrd"),
        ([f"/efi/debian/{RELEASE}/initrd", f"/efi/m1/{RELEASE}/initrd"], f"/efi/m1/{RELEASE}/initrd"),
        ([f"/efi/other/{RELEASE}/initrd"], None),
        ([], None),
    ],
)
def test_where_the_image_is(files: list[str], expected: str | None, tmp_path: Path) -> None:
    files_of_host = {"/etc/machine-id": "m1\n", "/etc/os-release": 'ID="debian"\n'}
    machines.build({"files": {**files_of_host, **dict.fromkeys(files, "")}}, tmp_path)
    assert initramfs.image(HostRoot(str(tmp_path)), RELEASE) == expected
    assert initramfs.image(HostRoot(str(tmp_path)), "") is None


def commands(name: str, root: Path, files: list[str]) -> list[list[str]]:
    host = loader_host.Host(loader_host.build(name, root))
    machines.build({"files": dict.fromkeys(files, "")}, root)
    return initramfs.commands(initramfs.read_facts(host.host, RELEASE), host.facts())


MODULES = ["/usr/lib/modules/6.1.0-25-amd64/vmlinuz", "/usr/lib/modules/6.12.0-custom/vmlinuz"]
TOOLS = ["/usr/bin/dracut", "/usr/bin/kernel-install"]


def test_each_distribution_has_its_way(tmp_path: Path) -> None:
    assert commands("rhel9", tmp_path / "a", TOOLS) == [["/usr/bin/dracut", "--force", "--regenerate-all"]]
    update = ["/usr/sbin/update-initramfs", "-u", "-k", "all"]
    debian = commands("debian12_systemd_boot", tmp_path / "b", [*TOOLS, *MODULES, update[0]])
    assert debian == [update]
    assert commands("coreos43", tmp_path / "c", TOOLS) == []
    assert commands("rhel9", tmp_path / "d", []) == []


def test_kernel_install_is_asked_for_the_kernels_whose_entries_it_made(tmp_path: Path) -> None:
    found = commands("debian12_systemd_boot", tmp_path / "a", [*TOOLS, *MODULES])
    assert found == [["/usr/bin/kernel-install", "add", "6.1.0-25-amd64", MODULES[0]]]
    assert commands("hand_made_systemd_boot", tmp_path / "b", [*TOOLS, *MODULES]) == []
    assert commands("debian12_systemd_boot", tmp_path / "c", [TOOLS[0], *MODULES]) == []
