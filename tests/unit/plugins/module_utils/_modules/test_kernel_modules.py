# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._modules import facts, plan
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import machines

RELEASE = "6.12.0-test"
LOAD = ["vfio-pci", "vfio_iommu_type1", "vhost_vsock", "vhost_net"]
FILES = {
    "/proc/sys/kernel/osrelease": f"{RELEASE}\n",
    "/proc/modules": "vhost_net 36864 0 - Live 0x0000000000000000\nkvm_intel 1 0 - Live 0x0\n",
    f"/lib/modules/{RELEASE}/modules.builtin": "kernel/drivers/vfio/vfio.ko\nkernel/drivers/vfio/vfio_iommu_type1.ko\n",
    f"/lib/modules/{RELEASE}/modules.dep": (
        "kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/pci/vfio-pci-core.ko.xz\n"
        "kernel/drivers/vhost/vhost_vsock.ko.xz:\nkernel/drivers/vhost/vhost_net.ko.xz:\n"
        "kernel/drivers/gpu/drm/nouveau/nouveau.ko.xz: kernel/drivers/video/nvidiafb_like.ko.xz\n"
    ),
    "/lib/modules/6.1.0-other/modules.dep": "kernel/drivers/iommu/iommufd/iommufd.ko:\n",
    "/usr/lib/modprobe.d/a.conf": "options x y=1\n",
    "/usr/lib/modprobe.d/b.conf": "blacklist b\n",
    "/etc/modprobe.d/b.conf": "blacklist c\n",
    "/etc/modprobe.d/ignored": "blacklist d\n",
    "/etc/modules": "# none\n",
    f"/boot/initrd.img-{RELEASE}": "",
}


def read(root: Path, **more: str) -> dict[str, Any]:
    machines.build({"files": {**FILES, **more}}, root)
    return facts.read_facts(HostRoot(str(root)))


def test_facts(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found["loaded"] == ["kvm_intel", "vhost_net"]
    assert found["builtin"] == ["vfio", "vfio_iommu_type1"]
    available = {name for name, there in found["available"].items() if there}
    assert available == {"vfio", "vfio_pci", "vfio_iommu_type1", "vhost_vsock", "vhost_net", "kvm_intel", "nouveau"}
    assert found["modprobe_d"] == {
        "/usr/lib/modprobe.d/a.conf": "options x y=1\n",
        "/etc/modprobe.d/b.conf": "blacklist c\n",
    }
    assert found["modules_load_d"] == {"/etc/modules": "# none\n"}
    assert found["initramfs"]["image"] == f"/boot/initrd.img-{RELEASE}"


def test_facts_of_an_empty_folder_are_empty(tmp_path: Path) -> None:
    found = facts.read_facts(HostRoot(str(tmp_path)))
    assert found["loaded"] == [] and not any(found["available"].values())


def test_plan_writes_only_our_files_and_loads_what_is_not_there(tmp_path: Path) -> None:
    planned = plan.plan(read(tmp_path), LOAD, ["nouveau"])
    assert planned == {
        "files": [
            {
                "path": "/etc/modules-load.d/katagpu.conf",
                "content": "# Managed by katagpu.cluster.\nvfio-pci\nvfio_iommu_type1\nvhost_vsock\nvhost_net\n",
                "mode": "0644",
            },
            {
                "path": "/etc/modprobe.d/katagpu.conf",
                "content": "# Managed by katagpu.cluster.\nblacklist nouveau\n",
                "mode": "0644",
            },
        ],
        "load_now": ["vfio-pci", "vhost_vsock"],
        "missing": [],
    }


def test_second_plan_is_empty_and_files_go_away_with_their_last_line(tmp_path: Path) -> None:
    first = plan.plan(read(tmp_path), LOAD, ["nouveau"])
    later = read(tmp_path, **{file["path"]: file["content"] for file in first["files"]})
    assert plan.plan(later, LOAD, ["nouveau"])["files"] == []
    assert [(file["path"], file["content"]) for file in plan.plan(later, [])["files"]] == [
        ("/etc/modules-load.d/katagpu.conf", None),
        ("/etc/modprobe.d/katagpu.conf", None),
    ]


def test_a_module_that_the_kernel_lacks_is_missing_and_not_loaded(tmp_path: Path) -> None:
    planned = plan.plan(read(tmp_path), ["iommufd", "vfio-pci"])
    assert (planned["missing"], planned["load_now"]) == (["iommufd"], ["vfio-pci"])


def test_one_module_in_two_spellings_is_one(tmp_path: Path) -> None:
    assert plan.plan(read(tmp_path), ["vfio-pci", "vfio_pci"])["load_now"] == ["vfio-pci"]


@pytest.mark.parametrize(
    ("load", "blacklist", "message"),
    [
        (["a b"], [], "no module name"),
        (["a\nb"], [], "no module name"),
        ([""], [], "no module name"),
        (["vfio-pci"], ["vfio_pci"], "to be loaded and blacklisted"),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, load: list[str], blacklist: list[str], message: str) -> None:
    with pytest.raises(KatagpuError, match=message):
        plan.plan(read(tmp_path), load, blacklist)


def test_a_file_of_our_name_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KatagpuError, match="was not written by this collection"):
        plan.plan(read(tmp_path, **{plan.LOAD_PATH: "loop\n"}), LOAD)
