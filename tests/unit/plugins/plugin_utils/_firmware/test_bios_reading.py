# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a BMC answers, and how what was found is told."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, INFO, WARN, Finding
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import findings, reading
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.plan import Wishes, plan
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.reading import Bios, BmcError, System
from tests.unit.plugins.plugin_utils._firmware.test_bios_plan import HPE, SUPERMICRO, bios

ON, OFF = {"ProcAmdIoVt": "Enabled"}, {"ProcAmdIoVt": "Disabled"}


def inventory(*entries: dict[str, Any]) -> dict[str, Any]:
    listed = [[{"system_uri": f"/redfish/v1/Systems/{entry['Id']}"}, entry] for entry in entries]
    return {"redfish_facts": {"system": {"ret": True, "entries": listed}}}


def test_one_system_is_taken_and_of_several_the_named_one() -> None:
    two = reading.systems(inventory({"Id": "System_0", "Model": "X"}, {"Id": "HGX_Baseboard_0"}))
    assert reading.choose(two[:1], "").id == "System_0"
    assert reading.choose(two, "HGX_Baseboard_0").uri == "/redfish/v1/Systems/HGX_Baseboard_0"
    with pytest.raises(BmcError, match=r"several systems: System_0 \(X\), HGX_Baseboard_0") as several:
        reading.choose(two, "")
    assert several.value.kind == "bmc_systems" and "host_firmware_system" in several.value.fix
    with pytest.raises(BmcError, match="has no system 2; it has System_0"):
        reading.choose(two, "2")
    with pytest.raises(BmcError, match="no system"):
        reading.choose(reading.systems({}), "")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("/redfish/v1/Systems/1/Bios", "/redfish/v1/Systems/1/Bios"),
        ("https://elsewhere.example.com/redfish/v1", ""),
        ("//elsewhere.example.com/redfish/v1", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_link_stays_on_the_bmc(value: Any, path: str) -> None:
    """The next request carries the password."""
    assert reading.link({"Bios": {"@odata.id": value}}, "Bios", "@odata.id") == path


def test_what_waits_is_what_differs() -> None:
    current = {"A": "1", "B": "2"}
    assert reading.pending(current, {}) == {} and reading.pending(current, dict(current)) == {}
    assert reading.pending(current, {"A": None, "B": "3"}) == {"B": "3"}


def test_the_registry_is_found_in_the_ways_that_bmcs_have() -> None:
    places = [{"Language": "ja", "Uri": "/ja"}, {"Language": "en", "Uri": "/en"}]
    assert reading.registry_location({"Location": places}) == "/en"
    assert reading.registry_location({"Location": places[:1]}) == "/ja"
    assert reading.registry_location({"Location": [{"Uri": "https://elsewhere.example.com/x"}]}) == ""
    assert reading.registry_location({}) == ""
    members = {"Members": [{"@odata.id": "/redfish/v1/Registries/BiosAttributeRegistry"}]}
    assert (
        reading.registry_member(members, "BiosAttributeRegistry.v1_0_0")
        == "/redfish/v1/Registries/BiosAttributeRegistry"
    )
    assert reading.registry_member(members, "Other.v1") == "" and reading.registry_member({}, "Other") == ""


@pytest.mark.parametrize(
    ("message", "kind", "part"),
    [
        (
            "URL Error on GET request to 'x': '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'",
            "bmc_unreachable",
            "host_firmware_ca_path",
        ),
        ("HTTP Error 401 on GET request to 'x', extended message: ''", "bmc_credentials", "host_firmware_password"),
        ("Status code was 403 and not [200]: HTTP Error 403: Forbidden", "bmc_credentials", "host_firmware_username"),
        ("URL Error on GET request to 'x': '[Errno 111] Connection refused'", "bmc_unreachable", "host_firmware_bmc"),
        ("", "bmc_unreachable", "network"),
    ],
)
def test_refusals_are_told_apart(message: str, kind: str, part: str) -> None:
    error = reading.refusal(message)
    assert error.kind == kind and part in error.fix


def judged(have: Bios, wishes: Wishes, consent: bool, rebooted: bool = False, verified: bool = True) -> list[Finding]:
    return findings.judge(plan(have, wishes), have, "gpu-01", consent, rebooted, verified)


def test_a_setting_is_a_warning_until_there_is_consent() -> None:
    wishes = Wishes(features=("iommu",))
    (report,) = judged(bios(HPE, **OFF), wishes, consent=False)
    assert (report.id, report.severity, report.state) == ("bios_setting", WARN, "open")
    assert "I/O virtualization (ProcAmdIoVt) set to Disabled, wanted is Enabled" in report.fact
    assert "katagpu_firmware: apply" in report.fix
    (apply,) = judged(bios(HPE, **OFF), wishes, consent=True)
    assert (apply.severity, apply.state, apply.by) == (INFO, "will_be_fixed_by", "host_firmware and a reboot")


def test_what_the_reboot_did_not_bring_is_a_block_and_no_reason_for_another() -> None:
    have = bios(HPE, waits=ON, **OFF)
    wishes = Wishes(features=("iommu",))
    before = judged(have, wishes, consent=True)
    assert [finding.stops for finding in before] == [False]
    assert findings.reasons(plan(have, wishes), True, False) == ["BIOS settings wait for it: ProcAmdIoVt"]
    after = judged(have, wishes, consent=True, rebooted=True)
    assert [finding.id for finding in after if finding.stops] == ["bios_pending"]
    assert "The host was rebooted." in after[0].message()
    told = judged(have, wishes, consent=False, rebooted=True)
    assert [finding.severity for finding in told if finding.id == "bios_pending"] == [WARN]
    assert findings.reasons(plan(have, wishes), True, True) == []


def test_only_consent_makes_a_reboot_of_it() -> None:
    planned = plan(bios(HPE, **OFF), Wishes(features=("iommu",)))
    assert findings.reasons(planned, False, False) == []
    assert findings.reasons(planned, True, False) == ["BIOS settings wait for it: ProcAmdIoVt"]
    assert findings.reasons(plan(bios(HPE), Wishes()), True, False) == []


def test_settings_of_somebody_else_block_where_something_would_be_written() -> None:
    wishes = Wishes(features=("iommu",))
    for consent, changes, severity in ((True, OFF, BLOCK), (True, {}, WARN), (False, OFF, WARN)):
        found = judged(bios(HPE, waits={"Sriov": "Disabled"}, **changes), wishes, consent)
        (foreign,) = [finding for finding in found if finding.id == "bios_pending"]
        assert foreign.severity == severity and "Sriov = Disabled" in foreign.fact
        ours = [finding.state for finding in found if finding.id == "bios_setting"]
        assert ours == (["open"] if changes else []), "nothing of it will be set"


def test_each_obstacle_is_named() -> None:
    locked = judged(bios(HPE, WorkloadProfile="LowLatency", **OFF), Wishes(features=("iommu",)), True)
    assert [finding.id for finding in locked] == ["bios_locked"] and "WorkloadProfile is LowLatency" in locked[0].fact
    unknown = judged(bios(HPE), Wishes(features=("above_4g",)), True)
    assert [(finding.id, finding.severity) for finding in unknown] == [("bios_attribute", WARN)]
    by_default = judged(bios(HPE), Wishes(), True)
    assert [(finding.id, finding.severity) for finding in by_default] == [("bios_attribute", INFO)]
    foreign = Bios(System("1", "/x", "Example Inc.", "", ""), {"A": "1"})
    (vendor,) = judged(foreign, Wishes(), True)
    assert vendor.id == "bios_profile" and "Example Inc." in vendor.fact and not vendor.stops


def test_an_unverified_certificate_is_told() -> None:
    (found,) = judged(bios(SUPERMICRO), Wishes(features=("iommu",)), True, verified=False)
    assert found.id == "bmc_tls" and found.severity == WARN


def test_an_unreadable_bmc_stops_only_where_settings_would_be_changed() -> None:
    error = BmcError("bmc_unreachable", "the BMC did not answer.", "look.")
    assert [findings.unreadable(error, "gpu-01", consent).severity for consent in (True, False)] == [BLOCK, WARN]
