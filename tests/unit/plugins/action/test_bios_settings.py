# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin bios_settings: which modules it runs with what, and what it makes of their answers.

The modules are stand-ins here; tests/integration/test_bios_settings.py runs the real ones against an emulated BMC.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.katagpu.cluster.plugins.action import bios_settings
from tests.unit import bios_machines

PASSWORD = "canary-password"
LOGIN = {"bmc": "bmc.example.com", "username": "operator", "password": PASSWORD}


class Bmc:
    """Answers as the modules do, and keeps what they were asked."""

    def __init__(self, machine: str = "hpe_dl385", **changes: Any) -> None:
        data = bios_machines.load(machine)
        self.system = data["system"]
        self.uri = f"/redfish/v1/Systems/{self.system['Id']}"
        bios, settings = data["paths"]["bios"], data["paths"]["settings"]
        self.settings = settings
        self.waiting: dict[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any], bool]] = []
        self.error: dict[str, Any] = {}
        self.takes = True
        self.documents: dict[str, Any] = {
            self.uri: {"Bios": {"@odata.id": bios}},
            bios: {
                "AttributeRegistry": data["registry"],
                "Attributes": bios_machines.attributes(machine, **changes),
                "@Redfish.Settings": {"SettingsObject": {"@odata.id": settings}},
            },
            settings: {"Attributes": self.waiting},
            f"/redfish/v1/Registries/{data['registry']}": {"Location": [{"Language": "en", "Uri": "/registry"}]},
            "/registry": bios_machines.registry(machine),
        }

    def answer(self, name: str, options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        self.calls.append((name, options, check_mode))
        if name in self.error:
            return {"failed": True, "msg": self.error[name]}
        if name == "community.general.redfish_info":
            return {"redfish_facts": {"system": {"entries": [[{"system_uri": self.uri}, self.system]]}}}
        if name == "ansible.builtin.uri":
            document = self.documents.get(options["url"].removeprefix("https://bmc.example.com"))
            assert document is not None or 404 in options["status_code"], options["url"]
            return {"status": 200 if document is not None else 404, "json": document or {"error": {}}}
        assert name == "community.general.redfish_config"
        if self.takes:
            self.waiting.update(options["bios_attributes"])
        return {"changed": True}

    def names(self, name: str) -> list[dict[str, Any]]:
        return [options for called, options, _check in self.calls if called.endswith(name)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})

    def call(bmc: Bmc, /, check_mode: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
        def validate(self: Any, spec: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            result = ArgumentSpecValidator(spec).validate(
                {key: value for key, value in {**LOGIN, "node": "gpu-01", **options}.items() if value is not None}
            )
            assert result.error_messages == []
            return result, result.validated_parameters

        def execute(self: Any, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
            return bmc.answer(module_name, module_args, self._task.check_mode)

        monkeypatch.setattr(bios_settings.ActionModule, "validate_argument_spec", validate)
        monkeypatch.setattr(bios_settings.ActionModule, "_execute_module", execute)
        action = bios_settings.ActionModule.__new__(bios_settings.ActionModule)
        action._task = SimpleNamespace(check_mode=check_mode, diff=diff)
        return dict(action.run(None, {}))

    return call


def test_a_setting_is_handed_over_once(run: Any) -> None:
    bmc = Bmc(ProcAmdIoVt="Disabled")
    first = run(bmc, state="applied")
    (written,) = bmc.names("redfish_config")
    assert first["changed"] and written["bios_attributes"] == {"ProcAmdIoVt": "Enabled"}
    assert written["resource_id"] == "1" and written["command"] == ["SetBiosAttributes"]
    assert first["plan"] == {} and first["pending"] == {"ProcAmdIoVt": "Enabled"} and first["fixes"] == ["iommu"]
    assert (
        first["diff"][0]["before"] == "ProcAmdIoVt: Disabled\n"
        and first["diff"][0]["after"] == "ProcAmdIoVt: Enabled\n"
    )
    second = run(bmc, state="applied")
    assert not second["changed"] and len(bmc.names("redfish_config")) == 1 and "diff" not in second
    assert second["reboot_reasons"] == ["BIOS settings wait for it: ProcAmdIoVt"]


@pytest.mark.parametrize("state", ["reported", "planned"])
def test_nothing_is_written_without_being_asked(run: Any, state: str) -> None:
    bmc = Bmc(ProcAmdIoVt="Disabled")
    answer = run(bmc, state=state)
    assert not answer["changed"] and bmc.names("redfish_config") == []
    assert bool(answer["plan"]) is bool(answer["reboot_reasons"]) is bool(answer["fixes"]) is (state == "planned")


def test_check_mode_reads_and_shows_what_would_be_written(run: Any) -> None:
    """A GET is left out by the module in check mode, so it runs as if there was none."""
    bmc = Bmc(ProcAmdIoVt="Disabled")
    answer = run(bmc, check_mode=True, state="applied")
    assert answer["changed"] and answer["plan"] == {"ProcAmdIoVt": "Enabled"} and answer["diff"]
    assert bmc.names("redfish_config") == [] and bmc.waiting == {}
    assert {check for name, _options, check in bmc.calls if name == "ansible.builtin.uri"} == {False}


def test_what_the_bmc_took_and_forgot_is_a_block(run: Any) -> None:
    bmc = Bmc(ProcAmdIoVt="Disabled")
    bmc.takes = False
    answer = run(bmc, state="applied")
    assert answer["summary"]["blocked"] and "does not wait there" in answer["summary"]["messages"][0]


def test_settings_of_somebody_else_stay(run: Any) -> None:
    bmc = Bmc(ProcAmdIoVt="Disabled")
    bmc.waiting["Sriov"] = "Disabled"
    answer = run(bmc, state="applied")
    assert not answer["changed"] and answer["summary"]["blocked"] and bmc.waiting == {"Sriov": "Disabled"}


def test_every_request_verifies_and_carries_the_password_only_where_it_is_secret(run: Any) -> None:
    bmc = Bmc(ProcAmdIoVt="Disabled")
    answer = run(bmc, state="applied", ca_path="/ca.pem")
    assert len(bmc.calls) > 6
    for name, options, _check in bmc.calls:
        assert options["validate_certs"] is True and options["ca_path"] == "/ca.pem", name
        assert [key for key, value in options.items() if PASSWORD in str(value)] == [
            "url_password" if name == "ansible.builtin.uri" else "password"
        ]
    assert PASSWORD not in str(answer)


@pytest.mark.parametrize("state", ["reported", "applied"])
def test_missing_credentials(run: Any, state: str) -> None:
    bmc = Bmc()
    answer = run(bmc, state=state, password=None, username="")
    assert bmc.calls == [] and not answer["changed"]
    (found,) = answer["findings"]
    assert found["id"] == "bmc_credentials" and "host_firmware_username and host_firmware_password are" in found["fact"]
    assert answer["summary"]["blocked"] is (state == "applied")


def test_a_bmc_without_bios_attributes(run: Any) -> None:
    bmc = Bmc()
    bmc.documents[bmc.uri] = {}
    assert [found["id"] for found in run(bmc, state="applied")["findings"]] == ["bios_unsupported"]


def test_an_error_of_the_module_is_a_finding(run: Any) -> None:
    bmc = Bmc()
    bmc.error["community.general.redfish_info"] = "URL Error on GET request to 'x': '[Errno 111] Connection refused'"
    answer = run(bmc, state="planned")
    assert [found["id"] for found in answer["findings"]] == ["bmc_unreachable"] and answer["settings"] == []


def test_the_registry_is_not_fetched_for_a_bios_that_has_everything(run: Any) -> None:
    bmc = Bmc()
    assert run(bmc, state="applied")["changed"] is False
    assert not [options for options in bmc.names("uri") if "egistr" in options["url"]]


def test_a_registry_that_is_not_there_leaves_everything_as_it_is(run: Any) -> None:
    bmc = Bmc(ProcAmdIoVt="Disabled")
    del bmc.documents["/registry"]
    answer = run(bmc, state="applied")
    assert not answer["changed"] and "bios_attribute" in [found["id"] for found in answer["findings"]]


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("features", ["iomu"], "Known: virtualization"),
        ("profile", "acme", "Known: auto, dell"),
        ("bmc", "https://bmc.example.com/redfish", "neither a URL"),
        ("bmc", "root:secret@bmc.example.com", "neither a URL"),
    ],
)
def test_wrong_options_fail_before_anything_is_asked(run: Any, option: str, value: Any, part: str) -> None:
    bmc = Bmc()
    answer = run(bmc, **{option: value})
    assert answer["failed"] and part in answer["msg"] and "secret" not in answer["msg"] and bmc.calls == []
