# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import ordering, rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_facts as read_vfio
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import plan as plan_vfio
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.run import desired_from
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.unit.assess_host import AUDIO, GPU, KERNEL, RELEASE, audio, bmc_display, gpu, ids, judge
from tests.unit.host_stages import LABELLED, UNLABELLED, ready, results

OWNER_HOST = {"vfio_owner": "host"}


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
    answer = judge(ready(gpu(group="12"), audio(group="12")), tmp_path, desired=OWNER_HOST, cluster_node=LABELLED)
    plan = answer["plan"]["host_vfio"]
    assert (plan["addresses"], plan["members"], plan["live"]) == ([GPU], "same_slot", "never")
    assert "foreign_owner" not in plan and answer["summary"]["reboot_needed"]
    found = [item for item in answer["findings"] if item["id"] == "A05"]
    assert {item["device"] for item in found} == {GPU, AUDIO}
    assert all("this collection binds it" in item["fact"] for item in found)


def test_owner_host_binds_at_once_only_on_first_provisioning_and_only_what_is_idle(tmp_path: Path) -> None:
    """One reboot turns the IOMMU on; the GPU has no driver then, because nouveau is kept out."""
    first = judge(ready(gpu(group="12", driver=None)), tmp_path / "a", desired=OWNER_HOST, cluster_node=UNLABELLED)
    assert first["plan"]["host_vfio"]["live"] == "idle" and not first["summary"]["reboot_needed"]
    unknown = gpu(group="12", driver="somebody")
    held = judge(ready(unknown), tmp_path / "b", desired=OWNER_HOST, cluster_node=UNLABELLED)
    assert held["plan"]["host_vfio"]["live"] == "never" and held["summary"]["reboot_needed"]


def test_an_owner_that_the_release_does_not_support_is_a_block(tmp_path: Path) -> None:
    release = {**RELEASE, "vfio": {**RELEASE["vfio"], "owners": ["operator"]}}
    answer = judge(ready(gpu(group="12"), audio(group="12")), tmp_path, desired=OWNER_HOST, release=release)
    assert ids(answer) == ["vfio_owner"]
    assert answer["plan"]["host_vfio"] == {}


GRACE_ALIASES = "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\n"


def test_owner_host_is_refused_where_the_plugin_passes_over_the_driver_that_the_gpu_needs(tmp_path: Path) -> None:
    aliases = {f"/lib/modules/{KERNEL}/modules.alias": GRACE_ALIASES}
    grace = ready(gpu(group="12", device="2342", driver=None), files=aliases)
    answer = judge(grace, tmp_path / "grace", desired=OWNER_HOST, release=CURRENT, cluster_node=UNLABELLED)
    assert ids(answer) == ["B07"] and answer["plan"]["host_vfio"] == {}
    assert f"GPU {GPU} (10de:2342) gets nvgrace_gpu_vfio_pci" in answer["summary"]["messages"][0]
    other = judge(
        ready(gpu(group="12", driver=None), files=aliases),
        tmp_path / "a10",
        desired=OWNER_HOST,
        release=CURRENT,
        cluster_node=UNLABELLED,
    )
    assert ids(other) == []


def bound(*functions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """With the files that the owner host leaves behind."""
    devices = [PciDevice(GPU, vendor_id="10de", device_id="2236"), PciDevice(AUDIO, vendor_id="10de", device_id="1aef")]
    lines = {device.address: rules.line_for(device, "vfio-pci") for device in devices}
    files = {
        rules.RULES: rules.render(None, lines),
        rules.MODULES_LOAD: rules.render_modules(lines),
        **ordering.render(lines),
    }
    return ready(*functions, files=files, **more)


def test_what_the_operator_binds_is_given_up_where_the_owner_was_the_host(tmp_path: Path) -> None:
    both = (gpu(group="12", driver="vfio-pci"), audio(group="12", driver="vfio-pci"))
    answer = judge(bound(*both), tmp_path / "operator", cluster_node=LABELLED)
    assert answer["plan"]["host_vfio"] == {"restore": [GPU]}, "the audio function stays with us"
    assert ids(answer, "will_be_fixed_by", "info") == ["vfio_owner"]
    assert not answer["summary"]["reboot_needed"]
    held = (gpu(group="12", driver="vfio-pci"), {**audio(group="12"), "device": "0fbb"})
    changed = judge(bound(*held), tmp_path / "exchanged", cluster_node=LABELLED)["plan"]["host_vfio"]
    assert changed["restore"] == [GPU] and changed["addresses"] == [AUDIO]
    assert judge(bound(*both), tmp_path / "host", desired=OWNER_HOST, cluster_node=LABELLED)["plan"]["host_vfio"] == {}


def test_the_initramfs_is_made_anew_only_for_a_driver_that_nothing_keeps_out(tmp_path: Path) -> None:
    claims = "alias pci:v000010DEd*sv*sd*bc03sc*i* nouveau\nalias pci:v000010DEd*sv*sd*bc03sc*i* nova_core\n"
    image = f"/boot/initrd.img-{KERNEL}"
    tools = {image: "", "/usr/sbin/update-initramfs": "", "/usr/sbin/mkinitramfs": ""}
    files = {f"/lib/modules/{KERNEL}/modules.alias": claims, **tools}
    card = gpu(group="12", driver=None)

    def told(name: str, more: dict[str, str], **desired: Any) -> list[tuple[str, str, str]]:
        wish = {**OWNER_HOST, **desired}
        answer = judge(ready(card, files={**files, **more}), tmp_path / name, desired=wish, cluster_node=UNLABELLED)
        assert answer["plan"]["host_vfio"]["addresses"] == [GPU]
        return [(item["severity"], item["state"], item["fact"]) for item in answer["findings"] if item["id"] == "B02"]

    assert told("out", {}, blacklist=["nouveau", "nova-core"]) == []
    ((severity, state, fact),) = told("in", {})
    assert (severity, state) == ("info", "will_be_fixed_by") and image in fact
    ((severity, state, fact),) = told("ostree", {"/run/ostree-booted": ""})
    assert (severity, state) == ("warn", "open") and "Nothing keeps nova_core out of the initramfs" in fact


def test_verify_looks_for_the_line_of_every_gpu_where_the_owner_is_the_host(tmp_path: Path) -> None:
    card = gpu(group="12", driver="vfio-pci")
    with_line = judge(bound(card), tmp_path / "a", desired=OWNER_HOST, cluster_node=LABELLED, verify=True)
    without = judge(ready(card), tmp_path / "b", desired=OWNER_HOST, cluster_node=LABELLED, verify=True)
    moved = bound({**card, "device": "20f1"})
    other = judge(moved, tmp_path / "c", desired=OWNER_HOST, cluster_node=LABELLED, verify=True)
    found = [results(answer)["vfio_owner"] for answer in (with_line, without, other)]
    assert found == ["passed", "failed", "failed"]
    assert "vfio_owner" not in results(judge(ready(card), tmp_path / "d", cluster_node=LABELLED, verify=True))


def test_a_host_driver_has_another_consequence_for_each_owner(tmp_path: Path) -> None:
    described = ready(gpu(group="12", driver=None))
    described["files"]["/proc/modules"] += "nvidia 1 0 - Live 0x0\n"
    texts = [
        next(item for item in answer["findings"] if item["id"] == "B04")["consequence"]
        for answer in (
            judge(described, tmp_path / "a", cluster_node=UNLABELLED),
            judge(described, tmp_path / "b", desired=OWNER_HOST, cluster_node=UNLABELLED),
        )
    ]
    assert "driver manager stops" in texts[0] and "this collection is to bind" in texts[1]


def test_not_persistent_on_a_labelled_node_names_the_variables(tmp_path: Path) -> None:
    wish = {"vfio_persistent": False}
    moving = ready(gpu(group="12", driver="vfio-pci"), audio(group="12"))
    answer = judge(moving, tmp_path / "a", desired=wish, cluster_node=LABELLED)
    assert ids(answer) == ["wish"]
    assert "host_vfio_persistent: false with host_vfio_live: auto" in answer["summary"]["messages"][0]
    done = ready(gpu(group="12", driver="vfio-pci"), audio(group="12", driver="vfio-pci"))
    assert judge(done, tmp_path / "b", desired=wish, cluster_node=LABELLED)["plan"]["host_vfio"] == {}


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


def neighbour(**more: Any) -> dict[str, Any]:
    return {"address": "0000:66:00.0", "class": "030000", "vendor": "1002", "device": "73bf", "group": "12", **more}


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (audio(group="12", driver="pci-stub"), []),
        (neighbour(driver="vfio-pci"), ["A10"]),
        ({**neighbour(driver=None), "class": "060100", "vendor": "8086"}, []),
    ],
    ids=["pci-stub", "somebody's card on vfio-pci", "bridge without driver"],
)
def test_what_does_not_spoil_a_group_is_left_alone(tmp_path: Path, member: dict[str, Any], told: list[str]) -> None:
    answer = judge(ready(gpu(group="12", driver="vfio-pci"), member), tmp_path, cluster_node=LABELLED)
    assert answer["plan"]["host_vfio"] == {} and [item["id"] for item in answer["findings"]] == told
    assert not answer["summary"]["reboot_needed"] and not answer["summary"]["blocked"]


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


OTHER_BOOT = "a1b2c3d4-0000-4000-8000-000000000000"


def wedged(boot_id: str) -> dict[str, str]:
    entry = {"schema": 1, "boot_id": boot_id, "state": "wedged", "wedged": AUDIO, "steps": []}
    return {"/var/lib/katagpu/journal.json": json.dumps(entry)}


def test_a_stuck_write_needs_a_reboot_and_is_not_tried_again_unasked(tmp_path: Path) -> None:
    """After the reboot too: a second try would get stuck as the first did."""
    functions = gpu(group="12", driver=None), audio(group="12")
    now = ready(*functions, files=wedged("4f746628-5775-4479-aaaa-394c0faedef9"))
    answer = judge(now, tmp_path / "now", cluster_node=UNLABELLED)
    assert answer["plan"]["host_vfio"]["live"] == "never" and not answer["summary"]["blocked"]
    assert f"a write for {AUDIO} is stuck in the kernel" in answer["summary"]["reboot_reasons"]
    assert ids(answer, "will_be_fixed_by", "warn") == ["C01", "A05"]
    later = judge(ready(*functions, files=wedged(OTHER_BOOT)), tmp_path / "later", cluster_node=UNLABELLED)
    assert later["plan"]["host_vfio"]["live"] == "never"
    assert not [text for text in later["summary"]["reboot_reasons"] if "stuck" in text]
