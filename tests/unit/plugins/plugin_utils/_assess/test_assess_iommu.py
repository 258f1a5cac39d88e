# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_facts as read_vfio
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import VfioDesired
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import plan as plan_vfio
from tests.unit.assess_host import AUDIO, GPU, audio, bmc_display, gpu, ids, judge, machine
from tests.unit.host_stages import (
    LABELLED,
    LOADED,
    NEW,
    OLD,
    OURS,
    READY,
    UNLABELLED,
    UPDATE,
    ready,
    results,
    with_driver,
    with_initramfs,
    without_grub,
)


def test_firmware_without_an_iommu_is_a_block_without_a_reboot(tmp_path: Path) -> None:
    answer = judge(machine(gpu(), firmware=""), tmp_path)
    assert ids(answer) == ["A02"]
    assert not answer["summary"]["reboot_needed"]
    assert "intel_iommu=on" not in str(answer["plan"])


def test_amd_needs_no_argument_that_turns_it_on(tmp_path: Path) -> None:
    functions = (gpu(group="12", driver="vfio-pci"),)
    description = machine(
        *functions,
        arguments="quiet modprobe.blacklist=nouveau",
        firmware="IVRS",
        vendor="AuthenticAMD",
        flags="svm",
        loaded=LOADED,
        files=OURS,
    )
    answer = judge(description, tmp_path)
    assert answer["plan"]["host_iommu"] == {}
    assert answer["findings"] == []


def test_a_missing_module_is_a_block(tmp_path: Path) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"))
    answer = judge(description, tmp_path, desired={"modules": ["vfio-pci", "vhost_nothing"]})
    assert "B09" not in ids(answer), "a module that was not asked for when the host was read is not known to be missing"
    files = description["files"]
    files["/proc/modules"] = ""
    files[next(path for path in files if path.endswith("modules.dep"))] = "kernel/x/vfio.ko.xz:\n"
    assert "B09" in ids(judge(description, tmp_path / "b"))


def test_an_unknown_boot_loader_blocks_only_where_the_iommu_needs_it(tmp_path: Path) -> None:
    off = judge(without_grub(machine(gpu(), arguments="quiet")), tmp_path / "a")
    assert off["summary"]["blocked"]
    on = machine(gpu(group="12", driver="vfio-pci"), arguments="quiet", loaded=LOADED, files=OURS)
    answer = judge(without_grub(on), tmp_path / "b")
    assert not answer["summary"]["blocked"]
    assert len(ids(answer, "open", "warn")) == 1


# With the first every file is older than the boot, with the second every file is younger.
READ_BY_THIS_BOOT = {"/proc/stat": "cpu 1\nbtime 4102444800\n"}
WRITTEN_SINCE = {"/proc/stat": "cpu 1\nbtime 1000000000\n"}


def booted_otherwise(clock: dict[str, str], **more: Any) -> dict[str, Any]:
    """All boot entries are as wanted, and the kernel that runs was started without the arguments."""
    description = ready(gpu(), files={**clock, **more.pop("files", {})}, **more)
    description["files"]["/proc/cmdline"] = "BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro quiet\n"
    return description


def test_a_reboot_that_did_not_turn_the_iommu_on_is_not_made_again(tmp_path: Path) -> None:
    pending = judge(booted_otherwise(WRITTEN_SINCE), tmp_path / "a")
    assert pending["summary"]["reboot_needed"] and ids(pending) == []
    done = judge(booted_otherwise(READ_BY_THIS_BOOT), tmp_path / "b")
    assert ids(done) == ["B16"]
    assert not done["summary"]["reboot_needed"]
    assert "/boot/grub/grub.cfg" in done["summary"]["messages"][0]


def test_nor_for_arguments_that_were_asked_for(tmp_path: Path) -> None:
    def without_pt(clock: dict[str, str]) -> dict[str, Any]:
        description = machine(
            gpu(group="12", driver="vfio-pci"), arguments=f"{READY} iommu=pt", loaded=LOADED, files={**OURS, **clock}
        )
        description["files"]["/proc/cmdline"] = f"ro {READY}\n"
        return description

    wish = {"kernel_arguments_present": ["iommu=pt"]}
    pending = judge(without_pt(WRITTEN_SINCE), tmp_path / "a", desired=wish)
    assert pending["summary"]["reboot_reasons"] == [
        "kernel arguments that were asked for are not in the running kernel"
    ]
    done = judge(without_pt(READ_BY_THIS_BOOT), tmp_path / "b", desired=wish)
    assert ids(done) == ["B16"] and not done["summary"]["reboot_needed"]


def test_an_argument_that_nobody_asked_for_is_no_reason_to_reboot(tmp_path: Path) -> None:
    """Our blacklist is not in the running kernel, which has what was asked for and no nouveau."""
    files = {**OURS, **WRITTEN_SINCE, "/proc/cmdline": "ro quiet intel_iommu=on iommu=pt\n"}
    description = machine(gpu(group="12", driver="vfio-pci"), arguments=f"{READY} iommu=pt", loaded=LOADED, files=files)
    answer = judge(description, tmp_path, desired={"kernel_arguments_present": ["iommu=pt"]})
    assert answer["summary"]["reboot_reasons"] == [] and ids(answer) == []


def loading_nouveau(**more: Any) -> dict[str, Any]:
    return machine(gpu(group="12"), loaded=(*LOADED, "nouveau"), **more)


def test_a_driver_that_this_boot_was_to_keep_out_needs_no_reboot(tmp_path: Path) -> None:
    answer = judge(loading_nouveau(arguments=READY, files=OURS), tmp_path / "a")
    assert ids(answer) == ["B02"] and not answer["summary"]["reboot_needed"]
    # Where the loader is not edited, the file is all there is.
    plain = {"arguments": "quiet intel_iommu=on"}
    for name, clock, found in (("b", READ_BY_THIS_BOOT, ["B02"]), ("c", WRITTEN_SINCE, [])):
        answer = judge(without_grub(loading_nouveau(files={**OURS, **clock}, **plain)), tmp_path / name)
        assert ids(answer) == found
        assert answer["summary"]["reboot_needed"] is not bool(found)


def test_a_driver_that_the_next_boot_keeps_out_needs_one(tmp_path: Path) -> None:
    """The file is as old as the boot and was not enough; the argument has been configured since."""
    description = loading_nouveau(arguments=READY, files={**OURS, **READ_BY_THIS_BOOT})
    description["files"]["/proc/cmdline"] = "ro quiet intel_iommu=on\n"
    description["modified"] = {"/boot/grub/grub.cfg": 4102444900}
    answer = judge(description, tmp_path)
    assert ids(answer) == [] and answer["summary"]["reboot_reasons"] == ["the driver nouveau is loaded"]


def test_a_binding_that_this_boot_did_not_bring_needs_no_reboot(tmp_path: Path) -> None:
    def prepared(**files: str) -> dict[str, Any]:
        return ready(gpu(group="12", driver="vfio-pci"), audio(group="12"), files=files)

    first = judge(prepared(), tmp_path / "a", cluster_node=LABELLED)
    assert first["summary"]["reboot_needed"]
    facts = HostRoot(str(tmp_path / "a"))
    devices = read_devices(facts)
    binding = VfioDesired(addresses=(AUDIO,), foreign_owner=(GPU,), live="never")
    writes = plan_vfio(devices, read_vfio(facts), binding).writes
    files = {path: text for path, text in writes.items() if text}
    pending = judge(prepared(**files, **WRITTEN_SINCE), tmp_path / "b", cluster_node=LABELLED)
    assert pending["summary"]["reboot_needed"] and ids(pending) == []
    done = judge(prepared(**files, **READ_BY_THIS_BOOT), tmp_path / "c", cluster_node=LABELLED)
    assert ids(done) == ["B08"] and not done["summary"]["reboot_needed"]
    assert AUDIO in done["summary"]["messages"][0] and "snd_hda_intel" in done["summary"]["messages"][0]
    live = judge(prepared(**files, **READ_BY_THIS_BOOT), tmp_path / "d", cluster_node=UNLABELLED)
    assert live["plan"]["host_vfio"]["live"] == "idle" and ids(live) == []


NO_IOMMU = {f"/sys/kernel/iommu_groups/{group}/name": "vfio-noiommu\n" for group in ("0", "12")}
DPDK = {
    "address": "0000:02:00.0",
    "class": "020000",
    "vendor": "8086",
    "device": "1592",
    "driver": "vfio-pci",
    "group": "0",
}


def test_groups_without_an_iommu_are_none(tmp_path: Path) -> None:
    off = machine(gpu(), DPDK, arguments="quiet", loaded=LOADED, files={**OURS, **NO_IOMMU})
    answer = judge(off, tmp_path / "a")
    assert answer["plan"]["host_iommu"]["kernel_cmdline"]["present"][0] == "intel_iommu=on"
    assert ids(answer) == [] and answer["facts"]["iommu_active"] is False
    bound = machine(
        gpu(group="12", driver="vfio-pci"), audio(group="12"), arguments="quiet", files={**OURS, **NO_IOMMU}
    )
    answer = judge(bound, tmp_path / "b", cluster_node=UNLABELLED, verify=True)
    assert answer["plan"]["host_vfio"] == {} and results(answer)["V3"] == "failed"


def test_nor_where_other_devices_have_real_ones(tmp_path: Path) -> None:
    files = {"/sys/kernel/iommu_groups/12/name": "vfio-noiommu\n"}
    answer = judge(ready(gpu(group="12", driver="vfio-pci"), bmc_display(group="1"), files=files), tmp_path)
    assert ids(answer) == ["A01"] and "isolates nothing" in answer["summary"]["messages"][0]


def test_a_host_driver_that_has_no_gpu_now_is_a_warning(tmp_path: Path) -> None:
    answer = judge(with_driver("nvidia", ready(gpu(group="12", driver="vfio-pci"))), tmp_path, cluster_node=LABELLED)
    assert ids(answer) == [] and ids(answer, severity="warn") == ["B04"]


@pytest.mark.parametrize(
    ("running", "wish", "present", "absent"),
    [
        ("quiet", {"kernel_arguments_present": ["intel_iommu=on,sm_on"]}, ["intel_iommu=on,sm_on"], []),
        ("iommu=off,pt intel_iommu=on", {"kernel_arguments_absent": ["iommu"]}, [], ["iommu=off,pt", "iommu"]),
        (
            "iommu=off,pt intel_iommu=on",
            {"kernel_arguments_present": ["iommu=nopt"]},
            ["iommu=nopt"],
            ["iommu=off,pt"],
        ),
    ],
)
def test_what_the_user_says_of_an_argument_counts(
    tmp_path: Path, running: str, wish: dict[str, Any], present: list[str], absent: list[str]
) -> None:
    answer = judge(machine(gpu(), arguments=running), tmp_path, desired={**wish, "iommu_blacklist_argument": False})
    assert ids(answer) == []
    planned = answer["plan"]["host_iommu"]["kernel_cmdline"]
    assert (planned["present"], planned["absent"]) == (present, absent)


@pytest.mark.parametrize(
    ("argument", "description"),
    [
        ("intel_iommu=off", ready(gpu(group="12", driver="vfio-pci"))),
        ("iommu=off", ready(gpu(group="12", driver="vfio-pci"))),
        ("intel_iommu=off", machine(gpu())),
        ("intel_iommu=sm_on", machine(gpu())),
    ],
)
def test_the_user_cannot_keep_the_iommu_off(tmp_path: Path, argument: str, description: dict[str, Any]) -> None:
    answer = judge(description, tmp_path, desired={"kernel_arguments_present": [argument]})
    assert ids(answer) == ["A04"] and argument in answer["summary"]["messages"][0]
    assert not answer["summary"]["reboot_needed"]


def test_an_argument_that_the_iommu_needs_cannot_be_absent(tmp_path: Path) -> None:
    wish = {"kernel_arguments_absent": ["intel_iommu"]}
    answer = judge(machine(gpu(), arguments="quiet"), tmp_path, desired=wish)
    assert ids(answer) == ["B22"] and answer["summary"]["blocked"]


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({}, "iommu=pt hugepages=2"),
        ({"kernel_arguments_present": ["hugepages=2"]}, "iommu=pt"),
        ({"kernel_arguments_present": ["iommu=pt", "hugepages=2"]}, ""),
        ({"kernel_arguments_absent": ["iommu", "hugepages"]}, ""),
    ],
)
def test_our_arguments_that_nobody_asks_for_any_more_are_told(tmp_path: Path, wish: dict[str, Any], told: str) -> None:
    ours = "intel_iommu=on modprobe.blacklist=nouveau iommu=pt hugepages=2"
    drop_in = f'# Managed by katagpu.cluster.kernel_cmdline: x\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {ours}"\n'
    description = ready(gpu(group="12", driver="vfio-pci"), files={"/etc/default/grub.d/99-katagpu.cfg": drop_in})
    found = [item for item in judge(description, tmp_path, desired=wish)["findings"] if "nothing asks" in item["fact"]]
    assert [item["severity"] for item in found] == (["info"] if told else [])
    assert not told or f"adds {told}, which" in found[0]["fact"]


def test_without_the_argument_an_older_initramfs_is_made_anew(tmp_path: Path) -> None:
    wish = {"iommu_blacklist_argument": False}
    plain = {"arguments": "quiet intel_iommu=on"}
    older = judge(with_initramfs(NEW, OLD, OLD, **plain), tmp_path / "a", desired=wish)
    assert older["plan"]["host_iommu"]["initramfs"] == UPDATE
    assert ids(older, "will_be_fixed_by", "info") == ["B02"]
    younger = judge(with_initramfs(OLD, NEW, OLD, **plain), tmp_path / "b", desired=wish)
    assert younger["plan"]["host_iommu"] == {}
    unwritten = with_initramfs(OLD, NEW, OLD, **plain)
    del unwritten["files"]["/etc/modprobe.d/katagpu.conf"], unwritten["modified"]["/etc/modprobe.d/katagpu.conf"]
    assert judge(unwritten, tmp_path / "c", desired=wish)["plan"]["host_iommu"]["initramfs"] == UPDATE
    with_argument = judge(with_initramfs(NEW, OLD, OLD, arguments=READY), tmp_path / "d")
    assert "initramfs" not in with_argument["plan"]["host_iommu"]


@pytest.mark.parametrize(
    ("ours", "image", "booted", "blocked"),
    [(OLD, NEW, NEW + 100, True), (NEW, OLD, NEW + 100, False), (OLD, NEW, OLD + 50, False)],
    ids=["booted with both", "image is older", "image made since"],
)
def test_a_reboot_helps_when_the_initramfs_is_new_to_it(
    tmp_path: Path, ours: int, image: int, booted: int, blocked: bool
) -> None:
    description = with_initramfs(ours, image, booted, loaded=("nouveau",), arguments="quiet intel_iommu=on")
    answer = judge(description, tmp_path, desired={"iommu_blacklist_argument": False})
    assert ids(answer) == (["B02"] if blocked else [])
    assert answer["summary"]["reboot_needed"] is not blocked
