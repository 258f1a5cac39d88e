# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be set in the BIOS of real machines, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import plan as planning
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import profiles, registry
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.plan import Plan, Wishes, plan
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.reading import Bios, System
from tests.unit import bios_machines

HPE, SUPERMICRO, DELL = "hpe_dl385", "supermicro_821ge", "dell_r750"
VTD, ACS = "IntelVTforDirectedI_O_VT_d__1E32", "PCIeACSCTL_1E3C"
TME, TME_MT = "MemoryEncryption_TME__3C77", "TotalMemoryEncryptionMulti_Tenant_TME_MT__F31B"


def bios(name: str, waits: dict[str, Any] | None = None, described: bool = True, **changes: Any) -> Bios:
    system = bios_machines.load(name)["system"]
    return Bios(
        System(system["Id"], f"/redfish/v1/Systems/{system['Id']}", system["Manufacturer"], system["Model"], "1"),
        bios_machines.attributes(name, **changes),
        waits or {},
        registry.parse(bios_machines.registry(name)) if described else None,
    )


def states(planned: Plan) -> dict[str, str]:
    return {setting.attribute or setting.feature: setting.state for setting in planned.settings}


def test_a_bios_that_has_everything_is_left_alone() -> None:
    for name in (HPE, SUPERMICRO, DELL):
        planned = plan(bios(name, described=False), Wishes())
        assert planned.send == {} and planned.foreign == {} and planned.fixes == []
        assert set(states(planned).values()) <= {planning.SET, planning.NO_NAME}
        assert not planning.needs_registry(planned), "the registry is asked for although nothing differs"


@pytest.mark.parametrize(
    ("name", "attribute", "off", "on"),
    [
        (HPE, "ProcAmdIoVt", "Disabled", "Enabled"),
        (SUPERMICRO, VTD, "Disable", "Enable"),
        (DELL, "ProcVirtualization", "Disabled", "Enabled"),
    ],
)
def test_the_iommu_is_turned_on_by_the_names_and_values_of_the_vendor(
    name: str, attribute: str, off: str, on: str
) -> None:
    wishes = Wishes(features=("iommu",))
    planned = plan(bios(name, **{attribute: off}), wishes)
    assert planned.send == {attribute: on} and planned.fixes == ["iommu"]
    assert planning.needs_registry(plan(bios(name, described=False, **{attribute: off}), wishes))
    after = plan(bios(name, waits={attribute: on}, **{attribute: off}), wishes)
    assert after.send == {} and after.waiting == [attribute] and after.fixes == ["iommu"]
    assert plan(bios(name, **{attribute: on}), wishes).fixes == []


def test_without_a_registry_nothing_is_sent() -> None:
    planned = plan(bios(HPE, described=False, ProcAmdIoVt="Disabled"), Wishes(features=("iommu",)))
    assert planned.send == {} and states(planned) == {"ProcAmdIoVt": planning.REFUSED}


def test_what_waits_and_is_not_ours_stops_everything() -> None:
    planned = plan(bios(HPE, waits={"MinimumSevAsid": 100}, ProcAmdIoVt="Disabled"), Wishes(features=("iommu",)))
    assert planned.foreign == {"MinimumSevAsid": 100} and planned.send == {} and planned.fixes == []


def test_another_value_that_waits_for_our_attribute_is_somebodys() -> None:
    planned = plan(bios(HPE, waits={"Sriov": "Disabled"}), Wishes(features=("sriov",)))
    assert states(planned) == {"Sriov": planning.FOREIGN} and planned.foreign == {"Sriov": "Disabled"}


def test_what_waits_for_us_is_not_sent_again_beside_something_new() -> None:
    have = bios(HPE, waits={"ProcAmdIoVt": "Enabled"}, ProcAmdIoVt="Disabled", Sriov="Disabled")
    planned = plan(have, Wishes(features=("iommu", "sriov")))
    assert planned.send == {"Sriov": "Enabled"} and planned.waiting == ["ProcAmdIoVt"] and not planned.foreign


def test_an_attribute_that_another_keeps_is_named_with_it() -> None:
    have = bios(HPE, ProcAmdIoVt="Disabled", WorkloadProfile="LowLatency")
    (setting,) = plan(have, Wishes(features=("iommu",))).settings
    assert setting.state == planning.LOCKED and setting.reason == "read-only while WorkloadProfile is LowLatency"
    (read_only,) = plan(bios(HPE), Wishes(attributes={"SecureBootStatus": "Enabled"}, features=())).settings
    assert (read_only.state, read_only.reason) == (planning.LOCKED, "read-only")


def test_what_depends_on_a_setting_of_the_same_wish_comes_after_its_reboot() -> None:
    """The BIOS does not show the attributes of TDX until memory encryption is on."""
    first = plan(bios(SUPERMICRO), Wishes(features=("tdx",)))
    assert first.send == {TME: "Enabled", "LimitCPUPAto46Bits_F319": "Disable"} and first.fixes == []
    locked = {setting.attribute: setting.reason for setting in first.those(planning.LOCKED)}
    assert f"hidden while {TME} is Disabled" in locked[TME_MT]
    assert "greyed out while LimitCPUPAto46Bits_F319 is Enable" in locked[TME_MT]


@pytest.mark.parametrize("uefi", [None, False])
def test_the_compatibility_module_stays_for_a_host_that_may_need_it(uefi: bool | None) -> None:
    planned = plan(bios(SUPERMICRO), Wishes(features=("csm_off",), uefi=uefi))
    assert planned.send == {} and states(planned) == {"CSMSupport_0121": planning.REFUSED}
    assert plan(bios(SUPERMICRO), Wishes(features=("csm_off",), uefi=True)).send == {"CSMSupport_0121": "Disabled"}


def test_an_unknown_vendor_gets_only_what_the_user_names() -> None:
    have = bios(DELL, SriovGlobalEnable="Disabled")
    have = Bios(System("1", "/redfish/v1/Systems/1", "Example Inc.", "X", ""), have.attributes, {}, have.registry)
    planned = plan(have, Wishes(attributes={"SriovGlobalEnable": "Enabled"}))
    assert planned.profile == "" and planned.send == {"SriovGlobalEnable": "Enabled"} and len(planned.settings) == 1
    assert plan(have, Wishes(profile="dell", features=("sriov",))).send == {"SriovGlobalEnable": "Enabled"}


@pytest.mark.parametrize(
    ("name", "value", "state", "part"),
    [
        ("Nonsense", "Enabled", planning.UNKNOWN, "no such attribute"),
        ("ProcAmdIoVt", "enabled", planning.REFUSED, "offers Enabled, Disabled"),
        ("MinimumSevAsid", 511, planning.REFUSED, "from 1 to 510"),
        ("MinimumSevAsid", "100", planning.REFUSED, "whole number"),
        ("MinimumSevAsid", True, planning.REFUSED, "whole number"),
        ("MinimumSevAsid", 100, planning.DIFFERS, ""),
    ],
)
def test_names_and_values_of_the_user_are_held_against_the_registry(
    name: str, value: Any, state: str, part: str
) -> None:
    planned = plan(bios(HPE), Wishes(features=(), attributes={name: value}))
    (setting,) = planned.settings
    assert setting.state == state and part in setting.reason
    assert planned.send == ({name: value} if state == planning.DIFFERS else {})


def test_an_attribute_of_the_user_goes_before_the_feature() -> None:
    planned = plan(bios(HPE), Wishes(features=("sriov",), attributes={"Sriov": "Disabled"}))
    assert planned.send == {"Sriov": "Disabled"} and len(planned.settings) == 1


def test_a_value_in_which_the_password_occurs_is_not_judged() -> None:
    planned = plan(bios(HPE, Sriov="********d"), Wishes(features=("sriov",)))
    (setting,) = planned.settings
    assert setting.state == planning.REFUSED and "password" in setting.reason and setting.value is None


def test_two_attributes_of_the_same_name_are_refused() -> None:
    have = bios(SUPERMICRO, **{VTD: "Disable", "IntelVTforDirectedI/O(VT-d)#2B10": "Disable"})
    (setting,) = plan(have, Wishes(features=("iommu",))).settings
    assert setting.state == planning.REFUSED and "several attributes" in setting.reason


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("IOMMU", "IOMMU#0196"),
        ("SEV_SNPSupport", "SEV-SNPSupport#01A7"),
        ("SNPMemory_RMPTable_Coverage", "SNPMemory(RMPTable)Coverage#003C"),
        ("IntelVTforDirectedI_O_VT_d_", VTD),
    ],
)
def test_the_numbers_behind_supermicros_names_do_not_matter(row: str, name: str) -> None:
    profile = profiles.load()["supermicro"]
    assert profile.matches(profiles.Attribute(row, ("x",), ""), [name, f"{name}x", "Other"]) == [name]
    assert profiles.load()["dell"].matches(profiles.Attribute(row, ("x",), ""), [name]) == []


def test_the_manufacturer_is_compared_as_a_whole() -> None:
    named = {
        "Dell Inc.": "dell",
        "hpe": "hpe",
        "Supermicro": "supermicro",
        "Lenovo": "lenovo",
        "ASRockRack": "asrockrack",
    }
    for said, name in named.items():
        profile = profiles.by_manufacturer(said)
        assert profile is not None and profile.name == name
    assert [profiles.by_manufacturer(said) for said in ("", "Not Dell Inc.", "To be filled by O.E.M.")] == [None] * 3


def test_every_row_has_a_source_and_a_known_feature() -> None:
    loaded = profiles.load()
    assert set(loaded) == {"dell", "hpe", "supermicro", "lenovo", "asrockrack"}
    for profile in loaded.values():
        assert set(profile.features) <= set(profiles.FEATURES) and profile.features
        for wanted in (entry for entries in profile.features.values() for entry in entries):
            for row in wanted.attributes:
                assert row.values and " at " in row.source and row.source.endswith(")")


@pytest.mark.parametrize("name", bios_machines.NAMES)
def test_the_profile_names_what_the_machine_has(name: str) -> None:
    """A row that no machine at hand has would be found nowhere wrong."""
    have = bios(name)
    profile = profiles.by_manufacturer(have.system.manufacturer)
    assert profile is not None
    found = {
        feature
        for feature, entries in profile.features.items()
        for entry in entries
        for row in entry.attributes
        if profile.matches(row, have.attributes)
    }
    assert {"iommu", "sriov", "csm_off"} <= found
