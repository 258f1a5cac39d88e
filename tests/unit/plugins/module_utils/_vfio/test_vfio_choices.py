# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices a plan takes, which displays stay, and what becomes of the files, over plain data."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import VfioDesired, VfioPlan
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import plan
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.rules import MODULES_LOAD, RULES
from tests.unit.plugins.module_utils._vfio.test_vfio_values import (
    AUDIO,
    BMC,
    CARD,
    DISK,
    GPU,
    LIVE,
    PORT,
    SHOWN,
    TWIN,
    in_group,
    on,
)


def ids(result: VfioPlan) -> list[str]:
    return [refusal.id for refusal in result.refusals]


def taken(result: VfioPlan) -> list[str]:
    return [binding.address for binding in result.bindings]


@pytest.mark.parametrize(
    ("members", "expected", "refused"),
    [
        ("refuse", [GPU.address], ["A05"]),
        ((AUDIO.address,), [GPU.address, AUDIO.address], []),
        ((DISK.address,), [GPU.address], ["A05"]),
        ((), [GPU.address], ["A05"]),
        ("same_slot", [GPU.address, AUDIO.address], []),
    ],
)
def test_members_that_may_come_along(members: Any, expected: list[str], refused: list[str]) -> None:
    result = plan([GPU, AUDIO], {}, VfioDesired(addresses=(GPU.address,), members=members))
    assert (taken(result), ids(result)) == (expected, refused)


def test_the_way_back_takes_siblings_only_where_they_were_taken() -> None:
    devices = on("vfio-pci", GPU, AUDIO)
    for members, expected in (("refuse", [GPU.address]), ("same_slot", [GPU.address, AUDIO.address])):
        desired = VfioDesired(addresses=(GPU.address,), members=members, state="restored")
        assert taken(plan(devices, {}, desired)) == expected


@pytest.mark.parametrize("driver", ["vfio-pci", "nvgrace_gpu_vfio_pci", "pci-stub"])
def test_a_member_that_is_out_of_the_way_already_is_left_alone(driver: str) -> None:
    result = plan([GPU, *on(driver, AUDIO)], {}, VfioDesired(addresses=(GPU.address,)))
    assert taken(result) == [GPU.address] and not result.refusals


@pytest.mark.parametrize(
    ("code", "driver", "spoils"),
    [
        ("060400", "pcieport", False),
        ("060400", "other", False),
        ("060000", None, False),
        ("060100", "pcieport", False),
        ("060100", "lpc_ich", True),
        ("068000", None, True),
        ("0c0500", None, True),
    ],
)
def test_bridges_do_not_spoil_a_group_and_endpoints_do(code: str, driver: str | None, spoils: bool) -> None:
    other = PciDevice("0000:00:1f.0", code, vendor_id="8086", device_id="a30e", driver=driver, iommu_group="12")
    assert bool(plan([other, GPU], {}, CARD).refusals) is spoils


@pytest.mark.parametrize(
    ("code", "harmful"), [("020000", True), ("010802", True), ("0c0330", False), ("010601", True), ("040300", False)]
)
def test_storage_and_network_of_another_slot_are_never_named_as_members(code: str, harmful: bool) -> None:
    other = PciDevice("0000:66:00.0", code, vendor_id="8086", device_id="1592", driver="x", iommu_group="12")
    (refusal,) = plan([GPU, other], {}, CARD).refusals
    assert refusal.id == "A07"
    assert (refusal.consequence == "Binding the group would take it away from the host.") is harmful


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("10de:",), [GPU.address, TWIN.address]),
        (("10de:2236",), [GPU.address, TWIN.address]),
        (("10de:22",), []),
        (("10d:",), []),
        (("1a03:", "10de:1aef"), [BMC.address, AUDIO.address]),
    ],
)
def test_ids_name_a_vendor_or_a_device(wanted: tuple[str, ...], expected: list[str]) -> None:
    unknown = PciDevice("0000:7f:00.0", "030200", iommu_group="99")
    devices = [BMC, *in_group("12", GPU), *in_group("44", AUDIO), TWIN, unknown]
    result = plan(devices, {}, VfioDesired(ids=wanted, classes=("03", "0403") if "1a03:" in wanted else ("0302",)))
    assert taken(result) == expected and ("no_device_matches" in ids(result)) is not bool(expected)


def test_groups_are_in_the_order_of_their_numbers() -> None:
    devices = [dataclasses.replace(GPU, address=f"0000:{bus:02x}:00.0", iommu_group=group) for bus, group in GROUPS]
    result = plan(devices, {}, VfioDesired(ids=("10de:",)))
    assert list(result.groups) == ["0", "1", "2", "10", "100", "a"]


GROUPS = list(enumerate(["10", "a", "2", "100", "1", "0"], 1))


def test_the_first_target_of_a_group_answers_for_it() -> None:
    second = dataclasses.replace(GPU, address="0000:66:00.0", iommu_group="13")
    devices = [GPU, AUDIO, second, *in_group("13", DISK)]
    result = plan(devices, {}, VfioDesired(addresses=(GPU.address, second.address)))
    assert [(refusal.id, refusal.address) for refusal in result.refusals] == [
        ("A05", GPU.address),
        ("A07", second.address),
    ]
    assert result.bindings, "what was asked for is shown with the refusals"


OTHER_SHOWN = dataclasses.replace(TWIN, class_code="030000", boot_vga=False)


@pytest.mark.parametrize(
    ("devices", "wanted", "expected"),
    [
        ([SHOWN, OTHER_SHOWN], (GPU.address, TWIN.address), [GPU.address]),
        ([SHOWN, OTHER_SHOWN], (GPU.address,), []),
        ([SHOWN, *on("vfio-pci", OTHER_SHOWN)], (GPU.address,), [GPU.address]),
        (
            [dataclasses.replace(SHOWN, boot_vga=None), OTHER_SHOWN],
            (GPU.address, TWIN.address),
            [GPU.address, TWIN.address],
        ),
        ([dataclasses.replace(SHOWN, class_code="038000")], (GPU.address,), [GPU.address]),
        ([GPU], (GPU.address,), []),
        (on("vfio-pci", SHOWN), (GPU.address,), []),
        ([*on("vfio-pci", SHOWN), OTHER_SHOWN], (GPU.address, TWIN.address), []),
        ([BMC, SHOWN], (GPU.address,), []),
    ],
)
def test_one_display_stays_with_the_host(
    devices: list[PciDevice], wanted: tuple[str, ...], expected: list[str]
) -> None:
    result = plan(devices, {}, VfioDesired(addresses=wanted))
    assert [refusal.address for refusal in result.refusals if refusal.id == "A15"] == expected


def test_a_display_that_was_not_the_first_is_the_only_one_too() -> None:
    (refusal,) = plan([dataclasses.replace(SHOWN, boot_vga=False)], {}, CARD).refusals
    assert refusal.reason == "GPU 0000:65:00.0 is the only display of the host."


@pytest.mark.parametrize(
    ("identity", "needed"),
    [("1a03:2000", True), ("102b:0536", True), ("102b:2527", False), ("19e5:1711", True), ("10de:2236", False)],
)
def test_the_display_of_a_bmc_is_needed(identity: str, needed: bool) -> None:
    vendor, _colon, device = identity.partition(":")
    shown = dataclasses.replace(SHOWN, vendor_id=vendor, device_id=device, boot_vga=False)
    other = dataclasses.replace(OTHER_SHOWN, address="0000:17:00.0")
    assert ("A07" in ids(plan([other, shown], {}, CARD))) is needed
    assert not plan([other, *on("vfio-pci", shown)], {}, CARD).refusals
    assert not plan([other, dataclasses.replace(shown, class_code="040300")], {}, CARD).refusals


def test_what_the_host_needs_and_has_no_more_is_no_obstacle() -> None:
    facts = {"critical": {DISK.address: ["holds /", "holds swap /dev/x"]}}
    assert not plan(on("vfio-pci", DISK), facts, VfioDesired(addresses=(DISK.address,))).refusals
    (refusal,) = plan([DISK], facts, VfioDesired(addresses=(DISK.address,))).refusals
    assert "it holds /, holds swap /dev/x." in refusal.reason


def test_everything_that_speaks_against_a_change_now_is_said() -> None:
    facts = {"sriov": {GPU.address: 1}, "in_use": {GPU.address: ["a", "b"]}}
    result = plan([GPU, AUDIO], facts, dataclasses.replace(LIVE, members="refuse"))
    assert ids(result) == ["A05", "C09", "C01"]
    assert result.refusals[2].reason.endswith("is in use: a; b.")


def test_members_that_nobody_needs_can_be_kept_on_the_stub() -> None:
    desired = dataclasses.replace(CARD, member_driver="pci-stub")
    assert [binding.after for binding in plan([GPU, AUDIO], {}, desired).bindings] == ["vfio-pci", "pci-stub"]
    named = VfioDesired(addresses=(GPU.address, AUDIO.address), member_driver="pci-stub")
    assert [binding.after for binding in plan([GPU, AUDIO], {}, named).bindings] == ["vfio-pci", "vfio-pci"]
    for known, refused in ((["vfio-pci", "pci-stub"], []), (["vfio-pci"], ["driver_unavailable"])):
        assert ids(plan([GPU, AUDIO], {"drivers": {"registered": known, "loadable": []}}, desired)) == refused


def test_a_named_driver_is_not_chosen_anew() -> None:
    known = {"registered": ["vfio-pci", "mlx5_vfio_pci"], "variants": [{"pattern": "v*", "module": "mlx5_vfio_pci"}]}
    assert plan([GPU], {"drivers": known}, CARD).bindings[0].after == "mlx5_vfio_pci"
    assert plan([GPU], {"drivers": known}, dataclasses.replace(CARD, driver="vfio-pci")).bindings[0].after == "vfio-pci"


THEIRS = "# of an administrator\n"


def test_lines_of_others_and_of_other_devices_stay() -> None:
    before = f"{THEIRS}{rules.line_for(TWIN, 'vfio-pci')}\n"
    files = {RULES: before, MODULES_LOAD: "vfio\n"}
    text = plan([GPU, TWIN], {"persistent_files": files}, CARD).writes[RULES] or ""
    assert THEIRS in text and set(rules.parse(text)) == {GPU.address, TWIN.address}
    back = VfioDesired(addresses=(TWIN.address,), state="restored")
    assert plan([GPU, TWIN], {"persistent_files": files}, back).writes == {RULES: THEIRS, MODULES_LOAD: None}


def test_a_second_plan_writes_nothing() -> None:
    first = plan([GPU, AUDIO], {"persistent_files": {RULES: THEIRS}}, CARD)
    files = {RULES: THEIRS, **first.writes}
    second = plan(on("vfio-pci", GPU, AUDIO), {"persistent_files": files}, CARD)
    assert second.writes == {} and not second.changed and not second.reboot_required
    assert first.refresh == () and first.staged == {}, "no initramfs to be made"


@pytest.mark.parametrize(
    ("desired", "message"),
    [
        (VfioDesired(), "No device is selected. Nothing was changed. Fix: name addresses, ids or classes."),
        (
            VfioDesired(addresses=("b", "a"), foreign_owner=("c", "b", "a")),
            "a, b is in addresses and in foreign_owner. One party owns the binding of a device. Nothing was changed. "
            "Fix: leave it out of one of them.",
        ),
        (
            VfioDesired(ids=("10de:",), driver="nouveau"),
            "driver: nouveau is not a driver of the VFIO family, so its group could not be passed on. Nothing was changed. "
            "Fix: use auto, vfio-pci, a variant such as nvgrace_gpu_vfio_pci, or pci-stub.",
        ),
        (
            VfioDesired(classes=("03",), persistent=False),
            "live: never with persistent: false would do nothing at all. Nothing was changed. Fix: change one of them.",
        ),
    ],
)
def test_wishes_that_contradict_themselves_are_errors(desired: VfioDesired, message: str) -> None:
    with pytest.raises(KatagpuError) as caught:
        plan([], {}, desired)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "journal", [{"this_boot": False, "state": "wedged"}, {"this_boot": True, "state": "begun"}, {}]
)
def test_a_journal_of_another_boot_or_of_a_run_that_ended_is_no_obstacle(journal: dict[str, Any]) -> None:
    assert not plan([GPU], {"journal": journal}, LIVE).refusals


def test_a_stuck_write_matters_only_where_something_is_to_be_done_now() -> None:
    stuck = {"journal": {"this_boot": True, "state": "wedged", "wedged": GPU.address}}
    assert not plan([GPU], stuck, CARD).refusals
    assert not plan(on("vfio-pci", GPU), stuck, LIVE).refusals
    assert [
        each.id for each in plan(on("vfio-pci", GPU), stuck, dataclasses.replace(LIVE, state="restored")).refusals
    ] == ["C01"]


def test_the_way_back_says_all_that_is_in_its_way() -> None:
    port = dataclasses.replace(PORT, iommu_group="13")
    desired = VfioDesired(addresses=(GPU.address, PORT.address), state="restored", live="idle")
    facts = {"in_use": {GPU.address: ["process 9 (qemu)"]}, "sriov": {GPU.address: 2}}
    assert [each.id for each in plan([port, *on("vfio-pci", GPU)], facts, desired).refusals] == ["bridge", "C01", "C09"]


def test_another_party_that_says_the_same_or_speaks_of_another_device_is_no_obstacle() -> None:
    assert not plan([GPU], {"driverctl": {GPU.address: "vfio-pci", AUDIO.address: "nvidia"}}, CARD).refusals
    (refusal,) = plan([GPU], {"driverctl": {GPU.address: ""}}, CARD).refusals
    assert "to no driver at every boot" in refusal.reason
