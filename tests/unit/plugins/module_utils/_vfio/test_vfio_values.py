# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan and its refusals say in full, over plain data."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import (
    Binding,
    LiveStep,
    Refusal,
    VfioDesired,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import addresses_of_interest, plan
from tests.unit.plugins.module_utils._vfio import vfio_support as support

GPU = PciDevice(
    "0000:65:00.0", class_code="030200", vendor_id="10de", device_id="2236", driver="nouveau", iommu_group="12"
)
AUDIO = PciDevice(
    "0000:65:00.1", class_code="040300", vendor_id="10de", device_id="1aef", driver="snd_hda_intel", iommu_group="12"
)
SHOWN = dataclasses.replace(GPU, class_code="030000", boot_vga=True)
BMC = PciDevice("0000:03:00.0", class_code="030000", vendor_id="1a03", device_id="2000", driver="ast", iommu_group="3")
DISK = PciDevice(
    "0000:01:00.0", class_code="010802", vendor_id="144d", device_id="a808", driver="nvme", iommu_group="1"
)
TWIN = dataclasses.replace(GPU, address="0000:b3:00.0", iommu_group="13")
PORT = PciDevice("0000:64:00.0", class_code="060400", vendor_id="8086", device_id="347a", driver="pcieport")

CARD = VfioDesired(addresses=(GPU.address,), members="same_slot")
LIVE = dataclasses.replace(CARD, live="idle")
BACK = dataclasses.replace(CARD, state="restored")
DEVICE = f"/sys/bus/pci/devices/{GPU.address}"

_FIRST_WORDS = ("A", "driverctl", "/var/lib/katagpu/journal.json", "There", "No", "The", "GPU", "NVMe")


def on(driver: str | None, *devices: PciDevice) -> list[PciDevice]:
    return [dataclasses.replace(device, driver=driver) for device in devices]


def in_group(group: str | None, *devices: PciDevice) -> list[PciDevice]:
    return [dataclasses.replace(device, iommu_group=group) for device in devices]


CASES: dict[str, tuple[list[PciDevice], dict[str, Any], VfioDesired, list[tuple[str, str, str | None, str]]]] = {
    "unknown address": (
        [GPU],
        {},
        VfioDesired(addresses=(GPU.address, "0000:99:00.0")),
        [("unknown_address", "0000:99:00.0", None, "/sys/bus/pci/devices")],
    ),
    "nothing matches": (
        [GPU],
        {},
        VfioDesired(ids=("8086:1592",), classes=("0200",)),
        [("no_device_matches", "", None, "/sys/bus/pci/devices")],
    ),
    "another device at the address": (
        [GPU],
        {},
        VfioDesired(addresses=(GPU.address,), ids=("10de:2230",)),
        [("identity_differs", GPU.address, "12", DEVICE)],
    ),
    "an identical device elsewhere": (
        [GPU, TWIN],
        {},
        VfioDesired(addresses=(GPU.address,), ids=("10de:2236",)),
        [("B03", TWIN.address, "13", f"/sys/bus/pci/devices/{TWIN.address}")],
    ),
    "a bridge": (
        in_group("12", PORT),
        {},
        VfioDesired(addresses=(PORT.address,)),
        [("bridge", PORT.address, "12", f"/sys/bus/pci/devices/{PORT.address}/class")],
    ),
    "no group": (in_group(None, GPU), {}, CARD, [("A01", GPU.address, None, f"{DEVICE}/iommu_group")]),
    "a group of vfio's own": ([GPU], {"noiommu": ["12"]}, CARD, [("A01", GPU.address, None, f"{DEVICE}/iommu_group")]),
    "a sibling of the card": (
        [GPU, AUDIO],
        {},
        VfioDesired(addresses=(GPU.address,)),
        [("A05", GPU.address, "12", "/sys/kernel/iommu_groups/12/devices")],
    ),
    "the disk in the group": (
        [*in_group("12", DISK), GPU],
        {"critical": {DISK.address: ["holds /"]}},
        CARD,
        [("A07", GPU.address, "12", "/sys/kernel/iommu_groups/12/devices")],
    ),
    "the disk itself": (
        [DISK],
        {"critical": {DISK.address: ["holds /"]}},
        VfioDesired(addresses=(DISK.address,)),
        [("A07", DISK.address, "1", f"/sys/bus/pci/devices/{DISK.address}")],
    ),
    "the only display": ([SHOWN], {}, CARD, [("A15", GPU.address, "12", f"{DEVICE}/boot_vga")]),
    "virtual functions": ([GPU], {"sriov": {GPU.address: 4}}, CARD, [("C09", GPU.address, "12", DEVICE)]),
    "no such driver": (
        [GPU],
        {"drivers": {"registered": [], "loadable": []}},
        CARD,
        [("driver_unavailable", GPU.address, "12", "/lib/modules")],
    ),
    "in use": (
        [GPU],
        {"in_use": {GPU.address: ["process 7 (Xorg) has /dev/dri/card1"]}},
        LIVE,
        [("C01", GPU.address, "12", "/proc/*/fd by device number")],
    ),
    "an unknown driver": (on("amdgpu", GPU), {}, LIVE, [("unknown_driver", GPU.address, "12", f"{DEVICE}/driver")]),
    "a driver that blocks": (
        on("nvidia", GPU),
        {"nvidia_version": "595.1"},
        LIVE,
        [("C02", GPU.address, "12", "/proc/driver/nvidia/version")],
    ),
    "a write that got stuck": (
        [GPU],
        {"journal": {"this_boot": True, "state": "wedged", "wedged": "0000:17:00.0"}},
        LIVE,
        [("C01", "0000:17:00.0", None, "/var/lib/katagpu/journal.json")],
    ),
    "a journal that cannot be read": (
        [GPU],
        {"journal": {"this_boot": True, "state": "unreadable"}},
        LIVE,
        [("journal", GPU.address, "12", "/var/lib/katagpu/journal.json")],
    ),
    "another party that sets the driver": (
        [GPU],
        {"driverctl": {GPU.address: "nvidia"}},
        CARD,
        [("C12", GPU.address, "12", f"/etc/driverctl.d/pci-{GPU.address}")],
    ),
    "in use on the way back": (
        on("vfio-pci", GPU),
        {"in_use": {GPU.address: ["process 9 (qemu) has /dev/vfio/12"]}},
        dataclasses.replace(LIVE, state="restored"),
        [("C01", GPU.address, "12", "/proc/*/fd by device number")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_names_its_device_its_group_and_its_evidence(name: str) -> None:
    devices, facts, desired, expected = CASES[name]
    result = plan(devices, facts, desired)
    assert [(each.id, each.address, each.group, each.evidence) for each in result.refusals] == expected
    for refusal in result.refusals:
        assert_speaks(refusal)
    assert not result.changed and not result.writes and not result.live_steps and not result.reboot_required


def assert_speaks(refusal: Refusal) -> None:
    """Whole sentences, and the fix continues one."""
    assert refusal.as_dict() == dataclasses.asdict(refusal)
    for text in (refusal.reason, refusal.consequence, refusal.fix):
        assert text.endswith(".") and "  " not in text and "None" not in text, text
        assert text != text.upper() and "XX" not in text, text
    assert refusal.reason.startswith(refusal.address) or refusal.reason.split()[0] in _FIRST_WORDS, refusal.reason
    assert refusal.consequence[0].isupper() and not refusal.fix[0].isupper()
    assert refusal.message("gpu-03") == (
        f"[{refusal.id}][block] gpu-03: {refusal.reason} {refusal.consequence} Nothing was changed. "
        f"Fix: {refusal.fix} Evidence: {refusal.evidence}"
    )
    assert refusal.message().startswith(f"[{refusal.id}][block] {refusal.reason}")


def test_every_case_says_what_it_is_about() -> None:
    said = {name: plan(*CASES[name][:3]).refusals[0] for name in CASES}
    parts = {
        "unknown address": "no PCI function 0000:99:00.0",
        "nothing matches": "No PCI function has id 8086:1592, class 0200",
        "another device at the address": "GPU 0000:65:00.0 is 10de:2236 of class 030200",
        "an identical device elsewhere": "GPU 0000:b3:00.0 has 10de:2236 too",
        "a bridge": "0000:64:00.0 (bridge, driver pcieport) is a bridge",
        "no group": "has no IOMMU group, and neither has any other device.",
        "a group of vfio's own": "has no IOMMU group: 12 was made by vfio without an IOMMU",
        "a sibling of the card": "shares IOMMU group 12 with 0000:65:00.1 (audio function, driver snd_hda_intel).",
        "the disk in the group": "0000:01:00.0 (NVMe disk, driver nvme, holds /)",
        "the disk itself": "(driver nvme) of IOMMU group 1 is needed by the host: it holds /.",
        "the only display": "only display of the host and the one it booted with (boot_vga 1).",
        "virtual functions": "has 4 virtual functions.",
        "no such driver": "no driver vfio-pci for GPU 0000:65:00.0.",
        "in use": "is in use: process 7 (Xorg) has /dev/dri/card1.",
        "an unknown driver": "is held by driver amdgpu.",
        "a driver that blocks": "NVIDIA driver 595.1.",
        "a write that got stuck": "A write to sysfs for 0000:17:00.0 has not returned",
        "a journal that cannot be read": "/var/lib/katagpu/journal.json is there and cannot be understood.",
        "another party that sets the driver": "driverctl binds GPU 0000:65:00.0 to nvidia at every boot.",
        "in use on the way back": "process 9 (qemu)",
    }
    for name, part in parts.items():
        assert part in said[name].reason, name
    assert parts.keys() == CASES.keys()


def test_a_device_without_a_group_among_others_that_have_one() -> None:
    (refusal,) = plan([*in_group(None, GPU), DISK], {}, CARD).refusals
    assert refusal.reason == "GPU 0000:65:00.0 has no IOMMU group."


def test_two_mediated_devices_are_counted() -> None:
    assert "has 2 mediated devices." in plan([GPU], {"mdev": {GPU.address: ["a", "b"]}}, CARD).refusals[0].reason


def test_a_sibling_can_be_taken_or_named() -> None:
    (refusal,) = plan([GPU, AUDIO], {}, VfioDesired(addresses=(GPU.address,))).refusals
    assert refusal.fix == "bind it too (members: same_slot), or name its owner (foreign_owner: [0000:65:00.1])."
    assert refusal.consequence.startswith("A group can be passed on only as a whole")


def test_a_stranger_that_nobody_needs_can_be_named() -> None:
    usb = dataclasses.replace(DISK, class_code="0c0330", driver="xhci_hcd", iommu_group="12")
    (refusal,) = plan([usb, GPU], {}, CARD).refusals
    assert refusal.id == "A07" and refusal.fix.endswith(f"members can name {usb.address} if nothing needs it.")
    (disk,) = plan([*in_group("12", DISK), GPU], {"critical": {DISK.address: ["holds /"]}}, CARD).refusals
    assert disk.consequence == "Binding the group would take it away from the host." and "members" not in disk.fix


def test_the_whole_plan_for_the_next_boot() -> None:
    result = plan([BMC, GPU, AUDIO], {}, CARD)
    assert result.groups == {"12": [GPU.address, AUDIO.address]}
    assert result.bindings == (
        Binding(GPU.address, "12", "nouveau", "vfio-pci", "boot"),
        Binding(AUDIO.address, "12", "snd_hda_intel", "vfio-pci", "boot"),
    )
    assert set(result.writes) == support.PERSISTENT and result.live_steps == ()
    assert result.changed and result.reboot_required


def test_the_whole_plan_for_now() -> None:
    marked = dataclasses.replace(GPU, driver_override="nouveau")
    result = plan([BMC, marked, AUDIO], {}, LIVE)
    assert result.live_steps == (
        LiveStep(AUDIO.address, "12", "snd_hda_intel", None, "vfio-pci"),
        LiveStep(GPU.address, "12", "nouveau", "nouveau", "vfio-pci"),
    )
    assert [each.when for each in result.bindings] == ["now", "now"]
    assert result.changed and result.writes and not result.reboot_required


def test_nothing_persistent_where_that_is_not_wanted() -> None:
    for desired in (LIVE, dataclasses.replace(LIVE, state="restored")):
        files = {"persistent_files": dict(plan([GPU], {}, CARD).writes)}
        result = plan(on("vfio-pci", GPU), files, dataclasses.replace(desired, persistent=False))
        assert result.writes == {}


def test_the_whole_plan_for_the_way_back() -> None:
    devices = [BMC, *on("vfio-pci", GPU), AUDIO]
    files = {"persistent_files": dict(plan([GPU, AUDIO], {}, CARD).writes)}
    result = plan(devices, files, BACK)
    assert result.groups == {"12": [GPU.address, AUDIO.address]} and result.asserted == ()
    assert result.bindings == (
        Binding(GPU.address, "12", "vfio-pci", None, "boot"),
        Binding(AUDIO.address, "12", "snd_hda_intel", "snd_hda_intel", "unchanged"),
    )
    assert result.writes == dict.fromkeys(support.PERSISTENT)
    assert result.reboot_required and result.live_steps == ()
    now = plan(devices, files, dataclasses.replace(BACK, live="idle"))
    assert now.live_steps == (LiveStep(GPU.address, "12", "vfio-pci", None, None),)
    assert now.bindings[0].when == "now" and not now.reboot_required
    done = plan([BMC, GPU, AUDIO], {}, BACK)
    assert not done.changed and not done.reboot_required and {each.when for each in done.bindings} == {"unchanged"}


def test_the_way_back_is_refused_in_full() -> None:
    devices = on("vfio-pci", GPU)
    holders = {"in_use": {GPU.address: ["process 9 (qemu)"]}}
    result = plan(devices, holders, dataclasses.replace(BACK, live="idle"))
    assert [each.id for each in result.refusals] == ["C01"] and result.groups == {"12": [GPU.address]}
    assert result.bindings == (Binding(GPU.address, "12", "vfio-pci", None, "now"),)
    assert not plan(devices, holders, BACK).refusals, "what is in use matters only for a change now"


def test_the_way_back_leaves_the_devices_of_another_owner() -> None:
    result = plan(on("vfio-pci", GPU), {}, VfioDesired(ids=("10de:",), foreign_owner=(GPU.address,), state="restored"))
    assert not result.changed and result.bindings == ()


def test_what_another_owner_binds_is_asserted() -> None:
    desired = VfioDesired(addresses=(AUDIO.address,), foreign_owner=(GPU.address,))
    bound = plan([*on("vfio-pci", GPU), AUDIO], {}, desired)
    assert bound.asserted == ({"address": GPU.address, "group": "12", "driver": "vfio-pci", "viable": True},)
    refused = plan([GPU, AUDIO], {"sriov": {AUDIO.address: 1}}, desired)
    assert refused.asserted == ({"address": GPU.address, "group": "12", "driver": "nouveau", "viable": False},)


@pytest.mark.parametrize(
    ("driver", "viable"),
    [(None, True), ("pci-stub", True), ("pcieport", True), ("nvgrace_gpu_vfio_pci", True), ("nouveau", False)],
)
def test_viable(driver: str | None, viable: bool) -> None:
    assert drivers.is_viable(driver) is viable


def test_the_spelling_of_the_kernel_is_used() -> None:
    known = {"drivers": {"registered": ["vfio-pci", "mlx5_vfio_pci"], "loadable": []}}
    named = VfioDesired(addresses=(GPU.address,), driver="vfio_pci")
    assert plan([GPU], known, named).bindings[0].after == "vfio-pci"
    assert drivers.spell("nvgrace-gpu-vfio-pci", known["drivers"]) == "nvgrace-gpu-vfio-pci"


def test_drivers_that_may_be_there() -> None:
    assert drivers.is_available("vfio-pci", {"registered": ["vfio-pci"]}) is True
    assert drivers.is_available("vfio-pci", {"loadable": ["vfio_pci"]}) is True
    assert drivers.is_available("vfio-pci", {"loadable": []}) is False
    assert drivers.is_available("vfio-pci", {"loadable": None}) is None
    assert not plan([GPU], {}, CARD).refusals, "modules that could not be read"


def test_the_most_exact_alias_wins() -> None:
    variants = [
        {"pattern": "v000010DEd*sv*sd*bc*sc*i*", "module": "nvidia_any_vfio_pci"},
        {"pattern": "v000010DEd00002236sv*sd*bc03sc02i00", "module": "exact_vfio_pci"},
        {"pattern": "v000010DEd00002342sv*sd*bc*sc*i*", "module": "nvgrace_gpu_vfio_pci"},
    ]
    assert drivers.choose(GPU, {"variants": variants, "registered": ["exact-vfio-pci"]}) == "exact-vfio-pci"
    assert drivers.choose(AUDIO, {"variants": variants}) == "nvidia_any_vfio_pci"
    assert drivers.choose(DISK, {"variants": variants}) == "vfio-pci"


def test_addresses_of_interest_are_those_of_the_transaction() -> None:
    assert addresses_of_interest([BMC, GPU, AUDIO, TWIN], CARD) == [GPU.address, AUDIO.address]


def test_a_plan_as_plain_data() -> None:
    result = plan([GPU, AUDIO], {}, LIVE).as_dict()
    assert result["bindings"][0] == {
        "address": GPU.address,
        "group": "12",
        "before": "nouveau",
        "after": "vfio-pci",
        "when": "now",
    }
    assert result["live_steps"][0]["address"] == AUDIO.address and result["groups"] == {
        "12": [GPU.address, AUDIO.address]
    }
    assert set(result) >= {"groups", "bindings", "asserted", "refusals", "writes", "live_steps", "reboot_required"}


ACS = {"capability": ["source_validation", "request_redirect"], "control": ["source_validation"]}
SWITCH = dataclasses.replace(PORT, express_type="root_port", acs=ACS, iommu_group="12")
BELOW = dataclasses.replace(GPU, parent=PORT.address)
DISK_BELOW = dataclasses.replace(DISK, iommu_group="12", parent=PORT.address)


def test_the_port_that_merges_the_group_is_named_with_what_separates_it() -> None:
    (refusal,) = plan([SWITCH, DISK_BELOW, BELOW], {}, CARD).refusals
    assert refusal.reason.endswith(
        "(NVMe disk, driver nvme). The root port 0000:64:00.0 merges the group: "
        "of its Access Control Services request redirect is off."
    )
    assert refusal.fix.startswith("switch ACS on for 0000:64:00.0 in the firmware")
    assert refusal.fix.endswith("groups change at a reboot only; members can name 0000:01:00.0 if nothing needs it.")
    needed = plan([SWITCH, DISK_BELOW, BELOW], {"critical": {DISK.address: ["holds /"]}}, CARD).refusals[0]
    assert needed.fix.endswith("groups change at a reboot only.")


def test_within_a_card_no_port_is_to_blame() -> None:
    sibling = dataclasses.replace(AUDIO, parent=PORT.address)
    (refusal,) = plan([SWITCH, BELOW, sibling], {}, VfioDesired(addresses=(GPU.address,))).refusals
    assert refusal.id == "A05" and "merges" not in refusal.reason and refusal.fix.startswith("bind it too")


def test_without_a_port_to_blame_the_usual_ways_are_named() -> None:
    (refusal,) = plan([*in_group("12", DISK), GPU], {"critical": {DISK.address: ["holds /"]}}, CARD).refusals
    assert refusal.fix == "enable ACS in the firmware or move the card to a slot of the CPU."


@pytest.mark.parametrize(
    ("version", "refused"),
    [(None, False), ("", False), ("beta", False), ("594.9", False), ("595", True), ("610.1", True)],
)
def test_versions_of_the_driver_that_block(version: str | None, refused: bool) -> None:
    result = plan(on("nvidia", GPU), {"nvidia_version": version}, LIVE)
    assert [each.id for each in result.refusals] == (["C02"] if refused else [])
