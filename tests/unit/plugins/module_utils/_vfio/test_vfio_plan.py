# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import VfioDesired, VfioPlan
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import plan
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import AUDIO, BMC, GPU, GPU2, NIC, NVME, PORT


def make(tmp_path: Path, desired: VfioDesired, data: dict[str, Any] | None = None, **facts: Any) -> VfioPlan:
    root = support.build(tmp_path, data)
    return plan(read_devices(root), {**read_facts(root, ()), **facts}, desired)


def ids(result: VfioPlan) -> list[str]:
    return [refusal.id for refusal in result.refusals]


def moves(result: VfioPlan) -> list[tuple[str, str | None, str | None, str]]:
    return [(each.address, each.before, each.after, each.when) for each in result.bindings]


CARD = VfioDesired(addresses=(GPU,), members="same_slot")


def test_takes_the_whole_card_at_the_next_boot(tmp_path: Path) -> None:
    result = make(tmp_path, CARD)
    assert result.groups == {"12": [GPU, AUDIO]}
    assert moves(result) == [(GPU, "nouveau", "vfio-pci", "boot"), (AUDIO, "snd_hda_intel", "vfio-pci", "boot")]
    assert result.reboot_required and not result.live_steps and not result.refusals
    rules = result.writes["/" + support.RULES] or ""
    assert f'KERNEL=="{GPU}", ATTR{{vendor}}=="0x10de", ATTR{{device}}=="0x2230"' in rules
    assert GPU2 not in rules, "an identical card that nobody named"
    assert result.writes["/" + support.MODULES_LOAD] == "# Managed by katagpu.cluster.vfio_binding.\nvfio_pci\n"


def test_refuses_a_sibling_that_nobody_named(tmp_path: Path) -> None:
    result = make(tmp_path, VfioDesired(addresses=(GPU,)))
    assert ids(result) == ["A05"] and not result.writes
    assert AUDIO in result.refusals[0].reason and "group 12" in result.refusals[0].reason
    assert "driver snd_hda_intel" in result.refusals[0].reason


def test_refuses_an_unbound_sibling_too(tmp_path: Path) -> None:
    data = support.change(support.description(), AUDIO, driver=None)
    assert ids(make(tmp_path, VfioDesired(addresses=(GPU,)), data)) == ["A05"]


def test_leaves_a_sibling_to_its_owner(tmp_path: Path) -> None:
    result = make(tmp_path, VfioDesired(addresses=(AUDIO,), foreign_owner=(GPU,)))
    assert moves(result) == [(AUDIO, "snd_hda_intel", "vfio-pci", "boot")]
    assert list(result.asserted) == [{"address": GPU, "group": "12", "driver": "nouveau", "viable": False}]
    assert f'KERNEL=="{GPU}"' not in (result.writes["/" + support.RULES] or "")


def test_names_members_one_by_one(tmp_path: Path) -> None:
    result = make(tmp_path, VfioDesired(addresses=(GPU,), members=(AUDIO,)))
    assert [each.address for each in result.bindings] == [GPU, AUDIO]


@pytest.mark.parametrize("members", ["refuse", "same_slot", (NVME,)])
def test_never_takes_the_root_disk(tmp_path: Path, members: Any) -> None:
    data = support.change(support.description(), NVME, group=12)
    result = make(tmp_path, VfioDesired(addresses=(GPU, AUDIO), members=members), data)
    assert ids(result) == ["A07"] and not result.changed and not result.writes
    assert "holds /, holds /boot" in result.refusals[0].reason and NVME in result.refusals[0].reason


@pytest.mark.parametrize("foreign", [False, True])
def test_never_takes_the_network_card_of_the_default_route(tmp_path: Path, foreign: bool) -> None:
    wanted = VfioDesired(addresses=(GPU, AUDIO), foreign_owner=(NIC,)) if foreign else VfioDesired(addresses=(NIC,))
    data = support.change(support.description(), NIC, group=12) if foreign else None
    result = make(tmp_path, wanted, data)
    assert ids(result) == ["A07"]
    assert "default route (ens1 below bond0)" in result.refusals[0].reason


def test_never_takes_the_display_of_the_remote_console(tmp_path: Path) -> None:
    """Though the GPU is a display that stays."""
    result = make(tmp_path, VfioDesired(addresses=(BMC,)))
    assert ids(result) == ["A07"] and "remote console (BMC)" in result.refusals[0].reason


def test_reports_all_refusals_at_once(tmp_path: Path) -> None:
    data = support.change(support.description(), NIC, group=12)
    wanted = VfioDesired(addresses=(NVME, GPU, AUDIO, "0000:99:00.0", PORT))
    result = make(tmp_path, wanted, data)
    assert sorted(ids(result)) == ["A07", "A07", "bridge", "unknown_address"]


def test_only_display_is_kept(tmp_path: Path) -> None:
    data = support.change(support.without(support.description(), BMC, GPU2, support.AUDIO2), GPU, boot_vga=1)
    result = make(tmp_path, CARD, data)
    assert ids(result) == ["A15"]
    assert f"GPU {GPU} is the only display" in result.refusals[0].reason


def test_only_display_is_kept_from_its_owner_too(tmp_path: Path) -> None:
    data = support.change(support.without(support.description(), BMC, GPU2, support.AUDIO2), GPU, boot_vga=1)
    assert ids(make(tmp_path, VfioDesired(addresses=(AUDIO,), foreign_owner=(GPU,)), data)) == ["A15"]


def test_second_display_may_go(tmp_path: Path) -> None:
    assert not make(tmp_path, CARD).refusals


def test_both_displays_may_not_go(tmp_path: Path) -> None:
    data = support.change(support.without(support.description(), BMC), GPU, boot_vga=1)
    result = make(tmp_path, VfioDesired(addresses=(GPU, GPU2), members="same_slot"), data)
    assert ids(result) == ["A15"] and result.refusals[0].address == GPU


def test_3d_controllers_are_no_display(tmp_path: Path) -> None:
    data = {"pci": [support.function(GPU, "a10", group=5)]}
    assert not make(tmp_path, VfioDesired(addresses=(GPU,)), data).refusals


def test_bridge_in_the_group_stays_with_the_host(tmp_path: Path) -> None:
    result = make(tmp_path, CARD, support.change(support.description(), PORT, group=12))
    assert not result.refusals and [each.address for each in result.bindings] == [GPU, AUDIO]


def test_without_iommu_nothing_is_written(tmp_path: Path) -> None:
    data = support.description()
    data["pci"] = [{**entry, "group": None} for entry in data["pci"]]
    result = make(tmp_path, CARD, data)
    assert ids(result) == ["A01"] and "neither has any other device" in result.refusals[0].reason and not result.writes


@pytest.mark.parametrize("state", ["bound", "restored"])
def test_no_gpu(tmp_path: Path, state: str) -> None:
    data = support.without(support.description(), GPU, AUDIO, GPU2, support.AUDIO2)
    result = make(tmp_path, VfioDesired(ids=("10de:",), state=state), data)
    assert ids(result) == (["no_device_matches"] if state == "bound" else []) and not result.changed


def test_ids_may_not_take_an_identical_card(tmp_path: Path) -> None:
    result = make(tmp_path, VfioDesired(addresses=(GPU,), ids=("10de:2230",), members="same_slot"))
    assert ids(result) == ["B03"] and result.refusals[0].address == GPU2


def test_identity_at_an_address_is_checked(tmp_path: Path) -> None:
    assert ids(make(tmp_path, VfioDesired(addresses=(GPU,), ids=("10de:2236",), members="same_slot"))) == [
        "identity_differs"
    ]


def test_ids_and_classes_select(tmp_path: Path) -> None:
    result = make(tmp_path, VfioDesired(ids=("10de:",), classes=("03",), members="same_slot"))
    assert len(result.bindings) == 4 and list(result.groups) == ["12", "13"]


@pytest.mark.parametrize("facts", [{"sriov": {GPU: 4}}, {"mdev": {GPU: ["uuid"]}}])
def test_divided_devices_are_refused(tmp_path: Path, facts: dict[str, Any]) -> None:
    assert ids(make(tmp_path, CARD, **facts)) == ["C09"]


def test_use_matters_only_for_live_binding(tmp_path: Path) -> None:
    facts = {"in_use": {GPU: ["process 7 (Xorg) has /dev/dri/card1"]}}
    live = VfioDesired(addresses=(GPU,), members="same_slot", live="idle")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    refused = make(tmp_path / "a", live, **facts)
    assert ids(refused) == ["C01"] and "Xorg" in refused.refusals[0].reason
    assert not make(tmp_path / "b", CARD, **facts).refusals


@pytest.mark.parametrize(
    ("driver", "version", "expected"),
    [
        ("nvidia", "570.133.20", []),
        ("nvidia", "595.44", ["C02"]),
        ("amdgpu", None, ["unknown_driver"]),
        (None, None, []),
    ],
)
def test_drivers_that_let_go(tmp_path: Path, driver: str | None, version: str | None, expected: list[str]) -> None:
    data = support.change(support.description(), GPU, driver=driver)
    wanted = VfioDesired(addresses=(GPU,), members="same_slot", live="idle")
    assert ids(make(tmp_path, wanted, data, nvidia_version=version)) == expected


def test_live_steps_take_siblings_first(tmp_path: Path) -> None:
    result = make(tmp_path, VfioDesired(addresses=(GPU,), members="same_slot", live="idle"))
    assert [step.address for step in result.live_steps] == [AUDIO, GPU] and not result.reboot_required


def test_missing_driver(tmp_path: Path) -> None:
    facts = {"drivers": {"registered": [], "loadable": [], "variants": []}}
    assert ids(make(tmp_path, CARD, **facts)) == ["driver_unavailable"] * 2


def test_variant_driver_is_chosen_for_its_device_only(tmp_path: Path) -> None:
    data = support.change(support.description(), GPU, device="2342")
    assert [each.after for each in make(tmp_path, CARD, data).bindings] == ["nvgrace_gpu_vfio_pci", "vfio-pci"]


STUBS = {"registered": [], "loadable": ["pci_stub", "vfio_pci"], "variants": []}


@pytest.mark.parametrize("named", ["address", "id"])
def test_members_that_nobody_needs_go_to_the_stub(tmp_path: Path, named: str) -> None:
    chosen = {"addresses": (GPU,)} if named == "address" else {"ids": ("10de:2230",)}
    result = make(tmp_path, VfioDesired(**chosen, members="same_slot", member_driver="pci-stub"), drivers=STUBS)
    after = {each.address: each.after for each in result.bindings}
    assert (after[GPU], after[AUDIO]) == ("vfio-pci", "pci-stub")
    rules = result.writes["/" + support.RULES] or ""
    assert 'ATTR{driver_override}="pci-stub"' in rules
    assert result.writes["/" + support.MODULES_LOAD].endswith("\npci_stub\nvfio_pci\n")


def test_a_kernel_without_the_stub(tmp_path: Path) -> None:
    wanted = VfioDesired(addresses=(GPU,), members="same_slot", member_driver="pci-stub")
    assert ids(make(tmp_path, wanted)) == ["driver_unavailable"]


def test_the_stub_is_known_where_the_kernel_has_it(tmp_path: Path) -> None:
    data = support.description()
    data["files"]["/lib/modules/6.12.0-test/modules.builtin"] = "kernel/drivers/pci/pci-stub.ko\n"
    assert read_facts(support.build(tmp_path, data), ())["drivers"]["loadable"] == [
        "nvgrace_gpu_vfio_pci", "pci_stub", "vfio_pci",
    ]  # fmt: skip


@pytest.mark.parametrize("divided", [{"sriov": {GPU: 4}}, {"mdev": {GPU: ["uuid"]}}])
def test_what_has_virtual_functions_is_not_given_back_live(tmp_path: Path, divided: dict[str, Any]) -> None:
    """vfio-pci makes virtual functions too, and they go with it."""
    data = support.change(support.description(), GPU, driver="vfio-pci")
    wanted = VfioDesired(addresses=(GPU,), state="restored", live="idle")
    assert ids(make(tmp_path, wanted, data, **divided)) == ["C09"]


def test_another_party_that_sets_the_driver_at_each_boot(tmp_path: Path) -> None:
    data = support.description()
    data["files"][f"/etc/driverctl.d/pci-{GPU}"] = "nouveau\n"
    data["files"][f"/etc/driverctl.d/pci-{GPU2}"] = "nouveau\n"
    data["files"][f"/etc/driverctl.d/pci-{AUDIO}"] = "vfio-pci\n"
    result = make(tmp_path, CARD, data)
    assert ids(result) == ["C12"] and result.refusals[0].address == GPU and "to nouveau" in result.refusals[0].reason


@pytest.mark.parametrize(
    "wanted",
    [
        VfioDesired(),
        VfioDesired(addresses=(GPU,), foreign_owner=(GPU,)),
        VfioDesired(addresses=(GPU,), driver="nouveau"),
        VfioDesired(addresses=(GPU,), persistent=False),
    ],
)
def test_contradictions_are_errors(wanted: VfioDesired) -> None:
    with pytest.raises(KatagpuError, match="Nothing was changed"):
        plan([], {}, wanted)


def bound_tree(tmp_path: Path) -> HostRoot:
    data = support.change(support.change(support.description(), GPU, driver="vfio-pci"), AUDIO, driver="vfio-pci")
    return support.build(tmp_path, data)


def write(root: HostRoot, result: VfioPlan) -> None:
    for path, text in result.writes.items():
        root.remove(path) if text is None else root.write_atomic(path, text)


def test_converged_machine_needs_nothing(tmp_path: Path) -> None:
    root = bound_tree(tmp_path)
    first = plan(read_devices(root), read_facts(root, ()), CARD)
    assert set(first.writes) == support.PERSISTENT and not first.reboot_required
    write(root, first)
    second = plan(read_devices(root), read_facts(root, ()), CARD)
    assert not second.changed and {each.when for each in second.bindings} == {"unchanged"}


def test_restored_removes_only_its_lines(tmp_path: Path) -> None:
    root = support.build(tmp_path)
    both = VfioDesired(addresses=(GPU, GPU2), members="same_slot")
    write(root, plan(read_devices(root), read_facts(root, ()), both))
    rules = Path(root.path("/" + support.RULES))
    rules.write_text(rules.read_text() + "# of an administrator\n")
    one = VfioDesired(addresses=(GPU,), members="same_slot", state="restored")
    write(root, plan(read_devices(root), read_facts(root, ()), one))
    assert GPU not in rules.read_text() and GPU2 in rules.read_text() and "administrator" in rules.read_text()
    other = VfioDesired(addresses=(GPU2,), members="same_slot", state="restored")
    write(root, plan(read_devices(root), read_facts(root, ()), other))
    assert rules.read_text() == "# of an administrator\n"
    assert not any(root.exists(path) for path in support.PERSISTENT - {"/" + support.RULES})


def test_restored_forgets_a_card_that_is_gone(tmp_path: Path) -> None:
    root = support.build(tmp_path)
    before = plan(read_devices(root), read_facts(root, ()), CARD)
    wanted = VfioDesired(addresses=(GPU, AUDIO), state="restored")
    result = plan([], {"persistent_files": before.writes}, wanted)
    assert result.writes == dict.fromkeys(support.PERSISTENT)


DEVICES = st.builds(
    PciDevice,
    address=st.sampled_from([f"0000:{bus:02x}:00.{function}" for bus in range(4) for function in range(3)]),
    class_code=st.sampled_from(["030000", "030200", "040300", "060400", "068000", "010802", "020000"]),
    vendor_id=st.sampled_from(["10de", "8086"]),
    device_id=st.sampled_from(["2230", "2236"]),
    driver=st.sampled_from([None, "nouveau", "nvme", "vfio-pci", "pcieport", "nvidia"]),
    iommu_group=st.sampled_from([None, "1", "2"]),
    boot_vga=st.sampled_from([None, True, False]),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    devices=st.lists(DEVICES, max_size=8, unique_by=lambda device: device.address),
    picks=st.sets(st.integers(0, 7), min_size=1),
    members=st.sampled_from(["refuse", "same_slot"]),
    live=st.sampled_from(["never", "idle"]),
    critical=st.sets(st.integers(0, 7)),
)
def test_properties_of_every_plan(
    devices: list[PciDevice], picks: set[int], members: str, live: str, critical: set[int]
) -> None:
    chosen = tuple(devices[index].address for index in sorted(picks) if index < len(devices))
    if not chosen:
        return
    facts = {"critical": {devices[index].address: ["holds /"] for index in critical if index < len(devices)}}
    result = plan(devices, facts, VfioDesired(addresses=chosen, members=members, live=live))
    by_address = {device.address: device for device in devices}
    if result.refusals:
        assert not result.writes and not result.live_steps and not result.changed
        return
    taken = {each.address for each in result.bindings}
    assert set(chosen) <= taken
    for address in taken:
        device = by_address[address]
        assert device.iommu_group is not None and not device.is_bridge
        assert address not in facts["critical"] or device.driver == "vfio-pci"
    for device in devices:
        if device.iommu_group in result.groups and device.address not in taken and not device.is_bridge:
            assert device.driver == "vfio-pci", "a member was left behind"
    after = [
        PciDevice.from_dict({**device.as_dict(), "driver": "vfio-pci" if device.address in taken else device.driver})
        for device in devices
    ]
    again = plan(after, {**facts, "persistent_files": result.writes}, VfioDesired(addresses=chosen, members=members))
    assert not again.changed and not again.refusals and not again.reboot_required
