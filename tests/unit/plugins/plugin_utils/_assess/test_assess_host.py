# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_facts as read_vfio
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import VfioDesired
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import plan as plan_vfio
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.run import desired_from
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.unit.assess_host import ARTIFACTS, AUDIO, GPU, KERNEL, RELEASE, audio, bmc_display, gpu, ids, judge, machine

READY = "quiet intel_iommu=on modprobe.blacklist=nouveau"
OURS = {
    "/etc/modules-load.d/katagpu.conf": "# Managed by katagpu.cluster.\nvfio-pci\nvfio_iommu_type1\nvhost_vsock\nvhost_net\n",
    "/etc/modprobe.d/katagpu.conf": "# Managed by katagpu.cluster.\nblacklist nouveau\n",
}
LOADED = ("vfio_pci", "vfio_iommu_type1", "vhost_vsock", "vhost_net")
UNLABELLED: dict[str, Any] = {"labels": {}}
LABELLED: dict[str, Any] = {"labels": {"nvidia.com/gpu.workload.config": "vm-passthrough"}}


def ready(*functions: dict[str, Any], **more: Any) -> dict[str, Any]:
    files = {**OURS, **more.pop("files", {})}
    return machine(*functions, arguments=READY, loaded=LOADED, files=files, **more)


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
    assert answer["plan"] == {"host_iommu": {}, "host_vfio": {}, "kubelet": {}}
    assert answer["findings"] == []
    assert not answer["summary"]["reboot_needed"]


def test_a_gpu_without_siblings_is_left_to_the_operator(tmp_path: Path) -> None:
    answer = judge(ready(gpu(group="12", driver=None)), tmp_path, cluster_node=UNLABELLED)
    assert answer["plan"]["host_vfio"] == {}
    assert not answer["summary"]["blocked"]


def test_the_sibling_that_the_operator_leaves_behind_is_bound_live_on_first_provisioning(tmp_path: Path) -> None:
    answer = judge(ready(gpu(group="12", driver=None), audio(group="12")), tmp_path, cluster_node=UNLABELLED)
    plan = answer["plan"]["host_vfio"]
    assert plan["addresses"] == [AUDIO]
    assert plan["foreign_owner"] == [GPU]
    assert plan["live"] == "idle"
    assert not answer["summary"]["reboot_needed"]
    assert ids(answer, "will_be_fixed_by", "warn") == ["A05"]


@pytest.mark.parametrize("node", [LABELLED, None])
def test_on_a_labelled_or_unknown_node_it_is_bound_at_boot(tmp_path: Path, node: dict[str, Any] | None) -> None:
    answer = judge(ready(gpu(group="12", driver="vfio-pci"), audio(group="12")), tmp_path, cluster_node=node)
    assert answer["plan"]["host_vfio"]["live"] == "never"
    assert answer["summary"]["reboot_needed"]


USB = "0000:65:00.2"
CURRENT = _releases.lookup("26.7")


def graphics_card(**more: Any) -> tuple[dict[str, Any], ...]:
    """A workstation card: the kernel links its audio and USB functions to the display function."""
    usb = {"address": USB, "class": "0c0330", "vendor": "10de", "device": "1ad8", "driver": "xhci_hcd", "group": "12"}
    card = gpu(group="12", driver=None, **{"class": "030000"}, consumers=[USB, AUDIO], **more)
    return card, audio(group="12"), usb, bmc_display()


def test_the_current_operator_takes_the_first_linked_function_along(tmp_path: Path) -> None:
    """k8s-driver-manager v0.12.0 binds the first of the sorted consumer links of a class 0300 function, and no further one."""
    answer = judge(ready(*graphics_card()), tmp_path, release=CURRENT, cluster_node=UNLABELLED)
    plan = answer["plan"]["host_vfio"]
    assert plan["addresses"] == [USB]
    assert plan["foreign_owner"] == [GPU, AUDIO]
    legacy = judge(ready(*graphics_card()), tmp_path / "legacy", cluster_node=UNLABELLED)["plan"]["host_vfio"]
    assert legacy["addresses"] == [AUDIO, USB] and legacy["foreign_owner"] == [GPU]


def test_without_a_link_nobody_takes_the_audio_function_along(tmp_path: Path) -> None:
    card = gpu(group="12", driver=None, **{"class": "030000"})
    answer = judge(ready(card, audio(group="12"), bmc_display()), tmp_path, release=CURRENT, cluster_node=UNLABELLED)
    assert answer["plan"]["host_vfio"]["addresses"] == [AUDIO]


def test_models_that_would_share_one_name_are_told(tmp_path: Path) -> None:
    other = gpu(address="0000:66:00.0", device="20f1", group="13", driver="vfio-pci")
    description = ready(gpu(group="12", driver="vfio-pci"), other)
    assert ids(judge(description, tmp_path / "alias", release=CURRENT, cluster_node=LABELLED)) == ["mixed_models"]
    assert ids(judge(description, tmp_path / "model", cluster_node=LABELLED)) == []
    accepted = judge(
        description,
        tmp_path / "accepted",
        release=CURRENT,
        cluster_node=LABELLED,
        accepted={"mixed_models": "no alias"},
    )
    assert ids(accepted) == []


def test_nvswitches_that_nobody_binds_are_told(tmp_path: Path) -> None:
    switch = {"address": "0000:07:00.0", "class": "068000", "vendor": "10de", "device": "22a3", "group": "7"}
    card = gpu(group="12", driver="vfio-pci")
    answer = judge(ready(card, switch), tmp_path / "unbound", release=CURRENT, cluster_node=LABELLED)
    found = [item for item in answer["findings"] if item["id"] == "nvswitch"]
    assert len(found) == 1 and "BIND_NVSWITCHES" in found[0]["fix"] and not answer["summary"]["blocked"]
    bound = ready(card, {**switch, "driver": "vfio-pci"})
    assert "nvswitch" not in ids(
        judge(bound, tmp_path / "bound", release=CURRENT, cluster_node=LABELLED), severity="warn"
    )


def test_owner_host_binds_the_gpus_too(tmp_path: Path) -> None:
    description = ready(gpu(group="12"), audio(group="12"))
    release = {**RELEASE, "vfio": {**RELEASE["vfio"], "owners": ["operator", "host"]}}
    answer = judge(description, tmp_path, desired={"vfio_owner": "host"}, release=release)
    assert answer["plan"]["host_vfio"]["addresses"] == [GPU]
    assert "foreign_owner" not in answer["plan"]["host_vfio"]


def test_an_owner_that_the_release_does_not_support_is_a_block(tmp_path: Path) -> None:
    answer = judge(ready(gpu(group="12"), audio(group="12")), tmp_path, desired={"vfio_owner": "host"})
    assert ids(answer) == ["vfio_owner"]
    assert answer["plan"]["host_vfio"] == {}


def test_not_persistent_on_a_labelled_node_names_the_variables(tmp_path: Path) -> None:
    wish = {"vfio_persistent": False}
    moving = ready(gpu(group="12", driver="vfio-pci"), audio(group="12"))
    answer = judge(moving, tmp_path / "a", desired=wish, cluster_node=LABELLED)
    assert ids(answer) == ["wish"]
    assert "host_vfio_persistent: false with host_vfio_live: auto" in answer["summary"]["messages"][0]
    done = ready(gpu(group="12", driver="vfio-pci"), audio(group="12", driver="vfio-pci"))
    assert judge(done, tmp_path / "b", desired=wish, cluster_node=LABELLED)["plan"]["host_vfio"] == {}


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


def test_a_foreign_member_with_the_root_disk_is_refused(tmp_path: Path) -> None:
    disk = {
        "address": "0000:01:00.0",
        "class": "010802",
        "vendor": "144d",
        "device": "a80a",
        "driver": "nvme",
        "group": "12",
    }
    answer = judge(ready(gpu(group="12"), disk), tmp_path, cluster_node=UNLABELLED)
    assert ids(answer) == ["A07"]
    assert answer["summary"]["blocked"]
    assert answer["plan"]["host_vfio"] == {}
    assert "0000:01:00.0" in answer["summary"]["messages"][0]


def test_the_only_display_is_refused_and_one_of_two_is_not(tmp_path: Path) -> None:
    card = gpu(**{"class": "030000"}, group="12", boot_vga=1)
    assert ids(judge(ready(card), tmp_path / "a", cluster_node=UNLABELLED)) == ["A15"]
    second = judge(ready(gpu(**{"class": "030000"}, group="12", boot_vga=0), bmc_display()), tmp_path / "b")
    assert ids(second) == []


def test_a_host_without_gpus_is_refused(tmp_path: Path) -> None:
    assert "no_gpu" in ids(judge(ready(bmc_display(group="1")), tmp_path))


def test_all_gpus_or_none(tmp_path: Path) -> None:
    second = gpu(address="0000:66:00.0", group="13", driver=None)
    functions = (gpu(group="12", driver=None), second)
    answer = judge(ready(*functions), tmp_path, desired={"vfio_addresses": [GPU]})
    assert ids(answer) == ["partial_gpu_node"]
    assert "0000:66:00.0" in answer["summary"]["messages"][0]


def test_an_address_that_is_no_gpu_is_refused(tmp_path: Path) -> None:
    answer = judge(ready(gpu(group="12")), tmp_path, desired={"vfio_addresses": [GPU, AUDIO]})
    assert ids(answer) == ["no_gpu"]


def test_memory_that_the_firmware_reserves_for_the_gpu_is_a_block(tmp_path: Path) -> None:
    regions = {"/sys/kernel/iommu_groups/12/reserved_regions": "0x7f000000 0x7fffffff direct\n"}
    assert ids(judge(ready(gpu(group="12"), files=regions), tmp_path)) == ["A11"]


def test_relaxable_regions_are_none(tmp_path: Path) -> None:
    regions = {"/sys/kernel/iommu_groups/12/reserved_regions": "0x7f000000 0x7fffffff direct-relaxable\n"}
    assert ids(judge(ready(gpu(group="12"), files=regions), tmp_path)) == []


def test_no_kvm_is_a_block_that_can_be_accepted_by_name(tmp_path: Path) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"), kvm=False, flags="")
    assert ids(judge(description, tmp_path / "a")) == ["B13"]
    answer = judge(description, tmp_path / "b", accepted={"B13": "emulated guest"})
    assert ids(answer, "accepted") == ["B13"]
    assert not answer["summary"]["blocked"]


def test_a_host_driver_is_a_block_that_cannot_be_accepted(tmp_path: Path) -> None:
    description = machine(gpu(group="12", driver="nvidia"), arguments=READY, loaded=(*LOADED, "nvidia"), files=OURS)
    assert "B04" in ids(judge(description, tmp_path, accepted={"B04": "please"}))


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
        ({"vfio_persistent": "yes"}, "vfio_persistent must be true or false"),
        ({"vfio_persistent": False, "vfio_live": "never"}, "host_vfio_persistent: false with host_vfio_live: never"),
    ],
)
def test_a_wrong_wish_is_refused(tmp_path: Path, desired: dict[str, Any], part: str) -> None:
    with pytest.raises(KatagpuError, match=part):
        judge(ready(gpu()), tmp_path, desired=desired)


def test_null_means_the_default(tmp_path: Path) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"))
    answer = judge(description, tmp_path, desired={"vfio_owner": None, "modules": None})
    assert answer["plan"] == {"host_iommu": {}, "host_vfio": {}, "kubelet": {}}


def results(answer: dict[str, Any]) -> dict[str, str]:
    return {item["id"]: item["result"] for item in answer["checks"]}


CDI = """cdiVersion: 0.5.0
kind: nvidia.com/pgpu
devices:
  - name: "0"
    containerEdits: {deviceNodes: [{path: /dev/vfio/12}]}
"""


def provisioned(**more: Any) -> dict[str, Any]:
    folder = f"{ARTIFACTS}/kata-qemu-nvidia-gpu"
    files = {
        "/var/run/cdi/nvidia.com-pgpu.yaml": CDI,
        f"{folder}/configuration-nvidia-gpu-qemu.toml": "",
        f"{folder}/kata-ubuntu-jammy-nvidia-gpu.initrd": "",
        f"{folder}/vmlinuz-5.19.2-109-nvidia-gpu": "",
    }
    files.update(more.pop("files", {}))
    members = more.pop("members", [audio(group="12", driver="vfio-pci")])
    return ready(gpu(group="12", driver=more.pop("driver", "vfio-pci")), *members, files=files)


def test_a_provisioned_host_passes_every_check(tmp_path: Path) -> None:
    node = {"boot_id": "4f746628-5775-4479-aaaa-394c0faedef9"}
    asked = {"kernel_arguments_present": ["intel_iommu=on"]}
    answer = judge(provisioned(), tmp_path, verify=True, cluster_node=node, desired=asked)
    assert set(results(answer).values()) == {"passed"}
    assert all(item["evidence"] for item in answer["checks"])


@pytest.mark.parametrize(
    ("more", "failed"),
    [
        ({"driver": "nouveau"}, {"V5", "V14"}),
        ({"members": [audio(group="12")]}, {"V5"}),
        ({"files": {"/var/run/cdi/nvidia.com-pgpu.yaml": CDI.replace("/12", "/13")}}, {"V14"}),
        ({"files": {"/var/run/cdi/nvidia.com-pgpu.yaml": "{"}}, {"V14"}),
        ({"files": {"/proc/modules": "nouveau 1 0 - Live 0x0\n"}}, {"V8"}),
    ],
)
def test_what_is_wrong_on_a_provisioned_host_is_seen(tmp_path: Path, more: dict[str, Any], failed: set[str]) -> None:
    answer = judge(provisioned(**more), tmp_path, verify=True)
    assert {id for id, result in results(answer).items() if result == "failed"} == failed


def test_missing_artifacts_are_seen(tmp_path: Path) -> None:
    description = provisioned()
    for path in [path for path in description["files"] if path.endswith(".initrd")]:
        del description["files"][path]
    checks = judge(description, tmp_path, verify=True)["checks"]
    assert ["*.initrd" in item["evidence"] for item in checks if item["result"] == "failed"] == [True]


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


def without_grub(description: dict[str, Any]) -> dict[str, Any]:
    for path in [path for path in description["files"] if "grub" in path]:
        del description["files"][path]
    return description


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


def neighbour(**more: Any) -> dict[str, Any]:
    return {"address": "0000:66:00.0", "class": "030000", "vendor": "1002", "device": "73bf", "group": "12", **more}


@pytest.mark.parametrize(
    "member",
    [
        audio(group="12", driver="pci-stub"),
        neighbour(driver="vfio-pci"),
        {**neighbour(driver=None), "class": "060100", "vendor": "8086"},
    ],
    ids=["pci-stub", "somebody's card on vfio-pci", "bridge without driver"],
)
def test_what_does_not_spoil_a_group_is_left_alone(tmp_path: Path, member: dict[str, Any]) -> None:
    answer = judge(ready(gpu(group="12", driver="vfio-pci"), member), tmp_path, cluster_node=LABELLED)
    assert answer["plan"]["host_vfio"] == {} and answer["findings"] == []
    assert not answer["summary"]["reboot_needed"]


def test_only_what_may_be_taken_is_bound(tmp_path: Path) -> None:
    """Beside a function that has to be bound, one on pci-stub and a card of somebody else stay as they are."""
    usb = audio(address="0000:65:00.2", **{"class": "0c0330"}, group="12", driver="pci-stub")
    description = ready(
        gpu(group="12", driver="vfio-pci"), audio(group="12"), usb, neighbour(driver="vfio-pci"), bmc_display()
    )
    plan = judge(description, tmp_path, cluster_node=LABELLED)["plan"]["host_vfio"]
    assert plan["addresses"] == [AUDIO] and plan["members"] == "refuse"
    root = HostRoot(str(tmp_path))
    options = {key: plan[key] for key in ("addresses", "members", "foreign_owner", "live")}
    applied = plan_vfio(read_devices(root), read_vfio(root), desired_from(options))
    assert [binding.address for binding in applied.bindings] == [AUDIO] and not applied.refusals


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


def with_driver(name: str, description: dict[str, Any]) -> dict[str, Any]:
    path = next(path for path in description["files"] if path.endswith("modules.dep"))
    description["files"][path] += f"updates/dkms/{name}.ko.xz:\n"
    return description


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


def test_a_host_driver_that_has_no_gpu_now_is_a_warning(tmp_path: Path) -> None:
    answer = judge(with_driver("nvidia", ready(gpu(group="12", driver="vfio-pci"))), tmp_path, cluster_node=LABELLED)
    assert ids(answer) == [] and ids(answer, severity="warn") == ["B04"]


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


@pytest.mark.parametrize("text", ["devices: [\n", "# x\n" * 100_000], ids=["broken", "too large"])
def test_the_cdi_specification_of_somebody_else_is_none_of_ours(tmp_path: Path, text: str) -> None:
    foreign = {"/etc/cdi/other.yaml": text}
    assert results(judge(provisioned(files=foreign), tmp_path / "a", verify=True))["V14"] == "passed"
    alone = provisioned(files=foreign)
    del alone["files"]["/var/run/cdi/nvidia.com-pgpu.yaml"]
    checks = judge(alone, tmp_path / "b", verify=True)["checks"]
    (cdi,) = [item for item in checks if item["id"] == "V14"]
    assert cdi["result"] == "failed" and "/etc/cdi/other.yaml cannot be read" in cdi["evidence"]


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


BARS = [[0, "memory", 0xE0000000, 0x1000000, 32, False], [1, "memory", 0x380000000000, 0x800000000, 64, True]]


@pytest.mark.parametrize(
    ("bars", "found"),
    [
        (BARS, []),
        ([BARS[0], [1, "memory", 0, 0x800000000, 64, True]], ["A13"]),
        ([*BARS, [6, "memory", 0, 0x80000, 32, False]], []),  # The expansion ROM.
        ([*BARS, [5, "io", 0, 0x80, 32, False]], []),
    ],
)
def test_a_gpu_without_room_for_its_memory_is_refused(tmp_path: Path, bars: list[list[Any]], found: list[str]) -> None:
    description = ready(gpu(group="12", driver="vfio-pci", bars=bars))
    answer = judge(description, tmp_path / "a")
    assert ids(answer) == found
    assert not found or "32 GiB" in answer["summary"]["messages"][0]
    assert ids(judge(description, tmp_path / "b", accepted={"A13": "works here"})) == []


@pytest.mark.parametrize(("config", "found"), [("ffffffff", ["A16"]), ("de103622", []), ("", [])])
def test_a_gpu_that_is_off_the_bus_is_refused(tmp_path: Path, config: str, found: list[str]) -> None:
    card = gpu(group="12", driver="vfio-pci", **({"config": config} if config else {}))
    assert ids(judge(ready(card), tmp_path)) == found


@pytest.mark.parametrize(
    ("wish", "result", "part"),
    [
        ({}, "skipped", "asked for"),
        ({"kernel_arguments_present": ["intel_iommu=on"]}, "passed", "intel_iommu=on"),
        ({"kernel_arguments_present": ["console=ttyS0"]}, "failed", "console=ttyS0 is missing"),
        ({"kernel_arguments_present": ["hugepages=2"]}, "failed", "hugepages=2 is missing"),
        ({"kernel_arguments_present": ["pcie_aspm=off"]}, "failed", "pcie_aspm=off is missing"),
        ({"kernel_arguments_absent": ["quiet"]}, "failed", "quiet is there"),
        ({"kernel_arguments_absent": ["splash"]}, "passed", ""),
        ({"kernel_arguments_present": ["a b"]}, "failed", "not one token"),
    ],
)
def test_the_arguments_are_checked_as_the_kernel_reads_them(
    tmp_path: Path, wish: dict[str, Any], result: str, part: str
) -> None:
    description = provisioned()
    description["files"]["/proc/cmdline"] = f"ro {READY} hugepages=4 pcie_aspm=off pcie_aspm=force\n"
    checks = judge(description, tmp_path, verify=True, desired=wish)["checks"]
    (found,) = [item for item in checks if item["id"] == "V2"]
    assert found["result"] == result and part in found["evidence"]


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


INITRAMFS = f"/boot/initrd.img-{KERNEL}"
OLD, NEW = 1_000_000_100, 1_000_000_200
UPDATE = ["/usr/sbin/update-initramfs", "-u", "-k", "all"]


def with_initramfs(ours: int, image: int, booted: int, **more: Any) -> dict[str, Any]:
    """Seconds at which the blacklist and the image were written, and at which the host was booted."""
    files = {**OURS, INITRAMFS: "", "/usr/sbin/update-initramfs": "", "/proc/stat": f"btime {booted}\n"}
    description = machine(gpu(group="12"), loaded=(*LOADED, *more.pop("loaded", ())), files=files, **more)
    return {**description, "modified": {"/etc/modprobe.d/katagpu.conf": ours, INITRAMFS: image}}


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


def test_where_the_loader_is_not_edited_too(tmp_path: Path) -> None:
    description = without_grub(with_initramfs(NEW, OLD, OLD, arguments="quiet intel_iommu=on"))
    assert judge(description, tmp_path / "a")["plan"]["host_iommu"]["initramfs"] == UPDATE
    del description["files"]["/usr/sbin/update-initramfs"]
    description["files"]["/usr/bin/dracut"] = ""
    again = judge(description, tmp_path / "b")["plan"]["host_iommu"]["initramfs"]
    assert again == ["/usr/bin/dracut", "--force", "--regenerate-all"]
    del description["files"]["/usr/bin/dracut"]
    assert "initramfs" not in judge(description, tmp_path / "c")["plan"]["host_iommu"]


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
