# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from tests.unit.assess_host import audio, bmc_display, gpu, ids, judge, machine
from tests.unit.host_stages import (
    LABELLED,
    LOADED,
    NEW,
    OLD,
    OURS,
    READY,
    UPDATE,
    ready,
    with_driver,
    with_initramfs,
    without_grub,
)


def test_a_host_that_is_not_ready_gets_a_plan_and_no_block(tmp_path: Path) -> None:
    answer = judge(machine(gpu(), arguments="quiet intel_iommu=off", loaded=("nouveau",)), tmp_path)
    plan = answer["plan"]["host_iommu"]
    assert plan["kernel_cmdline"]["present"] == ["intel_iommu=on", "modprobe.blacklist=nouveau"]
    assert [item["path"] for item in plan["files"]] == list(OURS)
    assert plan["reboot"] is True
    assert answer["plan"]["host_vfio"] == {}
    assert not answer["summary"]["blocked"]
    assert answer["summary"]["reboot_needed"]
    assert ids(answer, "will_be_fixed_by") == ["A04"]
    assert ids(answer, "unknown_until") == ["A05"]


def test_a_host_that_is_ready_has_nothing_to_do(tmp_path: Path) -> None:
    answer = judge(ready(gpu(group="12", driver="vfio-pci")), tmp_path, cluster_node=LABELLED)
    assert answer["plan"] == {"host_firmware": {}, "host_iommu": {}, "host_vfio": {}, "kubelet": {}}
    assert answer["findings"] == []
    assert not answer["summary"]["reboot_needed"]


def test_a_host_without_gpus_is_refused(tmp_path: Path) -> None:
    assert "no_gpu" in ids(judge(ready(bmc_display(group="1")), tmp_path))


def test_no_kvm_is_a_block_that_can_be_accepted_by_name(tmp_path: Path) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"), kvm=False, flags="")
    assert ids(judge(description, tmp_path / "a")) == ["B13"]
    answer = judge(description, tmp_path / "b", accepted={"B13": "emulated guest"})
    assert ids(answer, "accepted") == ["B13"]
    assert not answer["summary"]["blocked"]


def test_a_host_driver_is_a_block_that_cannot_be_accepted(tmp_path: Path) -> None:
    description = machine(gpu(group="12", driver="nvidia"), arguments=READY, loaded=(*LOADED, "nvidia"), files=OURS)
    assert "B04" in ids(judge(description, tmp_path, accepted={"B04": "please"}))


@pytest.mark.parametrize(
    ("node", "found"),
    [
        ({"machine_id": "728afaec4678466693b066679238be21"}, []),
        ({"machine_id": "728AFAEC-4678466693b066679238be21"}, []),
        ({"machine_id": "0" * 32}, ["node_identity"]),
        ({}, []),
    ],
)
def test_host_and_node_are_the_same_machine(tmp_path: Path, node: dict[str, Any], found: list[str]) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"))
    assert ids(judge(description, tmp_path, cluster_node={**LABELLED, **node})) == found


def test_containerd_without_cri_is_a_block(tmp_path: Path) -> None:
    files = {"/etc/containerd/config.toml": 'disabled_plugins = ["cri"]\n'}
    assert ids(judge(ready(gpu(group="12", driver="vfio-pci"), files=files), tmp_path / "a")) == ["D10"]
    broken = {"/etc/containerd/config.toml": "disabled_plugins = [\n"}
    assert ids(judge(ready(gpu(group="12", driver="vfio-pci"), files=broken), tmp_path / "b")) == ["D10"]


@pytest.mark.parametrize(
    ("desired", "part"),
    [
        ({"vfio_ownr": "host"}, "vfio_ownr is unknown"),
        ({"vfio_owner": "me"}, "vfio_owner must be one of operator, host"),
        ({"vfio_members": "all"}, "vfio_members must be refuse or same_slot or a list"),
        ({"modules": "vfio-pci"}, "modules must be a list of texts"),
        ({"vfio_persistent": "perhaps"}, "vfio_persistent must be true or false"),
        ({"vfio_persistent": False, "vfio_live": "never"}, "host_vfio_persistent: false with host_vfio_live: never"),
    ],
)
def test_a_wrong_wish_is_refused(tmp_path: Path, desired: dict[str, Any], part: str) -> None:
    with pytest.raises(KatagpuError, match=part):
        judge(ready(gpu()), tmp_path, desired=desired)


@pytest.mark.parametrize("text", ["false", "no", "False", "0"])
def test_a_truth_value_may_come_as_text(tmp_path: Path, text: str) -> None:
    """As -e host_vfio_persistent=false gives it."""
    answers = [
        judge(ready(gpu(group="12")), tmp_path / str(index), desired={"vfio_owner": "host", "vfio_persistent": value})
        for index, value in enumerate((text, False, True))
    ]
    assert answers[0]["plan"] == answers[1]["plan"] != answers[2]["plan"]


def test_null_means_the_default(tmp_path: Path) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"))
    answer = judge(description, tmp_path, desired={"vfio_owner": None, "modules": None})
    assert answer["plan"] == {"host_firmware": {}, "host_iommu": {}, "host_vfio": {}, "kubelet": {}}


@pytest.mark.parametrize("name", ["nvidia", "nvidia-current", "nvidia-tesla-470"])
def test_a_host_driver_is_seen_before_it_is_loaded(tmp_path: Path, name: str) -> None:
    """After the reboot that keeps nouveau out it would take the GPU."""
    fresh = with_driver(name, machine(gpu(), arguments="quiet", loaded=("nouveau",)))
    answer = judge(fresh, tmp_path / "a")
    assert ids(answer) == ["B04"] and name.replace("-", "_") in answer["summary"]["messages"][0]
    kept_out = judge(fresh, tmp_path / "b", desired={"blacklist": ["nouveau", name]})
    assert ids(kept_out) == [] and kept_out["summary"]["reboot_needed"]
    fresh["files"]["/etc/modprobe.d/site.conf"] = f"# ours\nblacklist  {name}\n"
    assert ids(judge(fresh, tmp_path / "c")) == []


def test_other_modules_of_the_vendor_are_no_host_driver(tmp_path: Path) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"))
    for name in ("nvidiafb", "nvidia-wmi-ec-backlight", "nvidia-vgpu-vfio"):
        with_driver(name, description)
    assert judge(description, tmp_path, cluster_node=LABELLED)["findings"] == []


@pytest.mark.parametrize(
    ("desired", "files", "part"),
    [
        ({"vfio_driver": "nvidia"}, {}, "driver: nvidia is not a driver of the VFIO family"),
        ({"modules": ["vfio pci"]}, {}, "'vfio pci', which is no module name"),
        ({"modules": ["nouveau"]}, {}, "nouveau is to be loaded and blacklisted"),
        (
            {},
            {"/etc/modprobe.d/katagpu.conf": "options vfio-pci ids=10de:2236\n"},
            "was not written by this collection",
        ),
    ],
)
def test_what_cannot_be_planned_hides_no_other_finding(
    tmp_path: Path, desired: dict[str, Any], files: dict[str, str], part: str
) -> None:
    broken = {"/etc/containerd/config.toml": "disabled_plugins = [\n", **files}
    answer = judge(ready(gpu(group="12", driver=None), audio(group="12"), files=broken), tmp_path, desired=desired)
    assert sorted(ids(answer)) == ["D10", "wish"]
    (wish,) = [item for item in answer["findings"] if item["id"] == "wish"]
    assert part in wish["fact"] and wish["fix"] and wish["node"] == "gpu-01"
    assert answer["summary"]["blocked"]


def test_nor_what_the_same_phase_found_before(tmp_path: Path) -> None:
    answer = judge(machine(gpu(), firmware=""), tmp_path, desired={"modules": ["vfio pci"]})
    assert sorted(ids(answer)) == ["A02", "wish"]


def test_a_large_configuration_of_containerd_is_no_broken_one(tmp_path: Path) -> None:
    long = {"/etc/containerd/config.toml": "# a comment\n" * 5000 + "version = 2\n"}
    assert ids(judge(ready(gpu(group="12", driver="vfio-pci"), files=long), tmp_path / "a")) == []
    huge = {"/etc/containerd/config.toml": "# a comment\n" * 50000 + "version = 2\n"}
    answer = judge(ready(gpu(group="12", driver="vfio-pci"), files=huge), tmp_path / "b")
    assert ids(answer) == [] and ids(answer, severity="warn") == ["D10"]


def test_where_the_loader_is_not_edited_too(tmp_path: Path) -> None:
    description = without_grub(with_initramfs(NEW, OLD, OLD, arguments="quiet intel_iommu=on"))
    assert judge(description, tmp_path / "a")["plan"]["host_iommu"]["initramfs"] == UPDATE
    del description["files"]["/usr/sbin/update-initramfs"]
    description["files"]["/usr/bin/dracut"] = ""
    again = judge(description, tmp_path / "b")["plan"]["host_iommu"]["initramfs"]
    assert again == [["/usr/bin/dracut", "--force", "--regenerate-all"]]
    del description["files"]["/usr/bin/dracut"]
    without = judge(description, tmp_path / "c")
    assert "initramfs" not in without["plan"]["host_iommu"]
    assert "B02" in ids(without, severity="warn")


def with_next_kernel(description: dict[str, Any], modules: tuple[str, ...]) -> dict[str, Any]:
    """A newer kernel stands first in the boot menu."""
    files = description["files"]
    entry = "menuentry 'Debian' {\n\tlinux /boot/vmlinuz-6.13.0 root=/dev/sda1 ro " + f"{READY}\n}}\n"
    files["/boot/grub/grub.cfg"] = entry + files["/boot/grub/grub.cfg"]
    files["/lib/modules/6.13.0/modules.dep"] = "".join(f"kernel/x/{name}.ko.xz:\n" for name in modules)
    return description


def test_the_kernel_that_boots_next_needs_the_modules_too(tmp_path: Path) -> None:
    full, bare = ("vfio-pci", "vfio_iommu_type1", "vhost_vsock", "vhost_net"), ("vfio-pci", "vfio_iommu_type1")
    fresh = {"arguments": "quiet", "loaded": ("nouveau",)}
    assert ids(judge(with_next_kernel(machine(gpu(), **fresh), full), tmp_path / "a")) == []
    answer = judge(with_next_kernel(machine(gpu(), **fresh), bare), tmp_path / "b")
    assert ids(answer) == ["B09"] and "6.13.0, has no module vhost_net, vhost_vsock" in answer["summary"]["messages"][0]
    assert ids(judge(with_next_kernel(machine(gpu(), **fresh), bare), tmp_path / "c", accepted={"B09": "x"})) == []
    # Without a reboot it is of no use now, and of interest.
    good = with_next_kernel(ready(gpu(group="12", driver="vfio-pci")), bare)
    answer = judge(good, tmp_path / "d", cluster_node=LABELLED)
    assert ids(answer) == [] and ids(answer, severity="warn") == ["B09"]
