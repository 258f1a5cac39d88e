# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import (
    findings,
    plan,
    profiles,
    reading,
    registry,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.plan import Plan, Wishes
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.reading import Bios, BmcError

ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "default": "reported", "choices": ["reported", "planned", "applied"]},
    "bmc": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "timeout": {"type": "int", "default": 60},
    "system": {"type": "str"},
    "profile": {"type": "str"},
    "features": {"type": "list", "elements": "str"},
    "attributes": {"type": "dict", "default": {}},
    "uefi": {"type": "bool"},
    "rebooted": {"type": "bool", "default": False},
    "node": {"type": "str"},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Talks to the BMC through the modules that others maintain, and decides here."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, self._variables)
        _validation, given = self.validate_argument_spec(ARGUMENTS)
        self._given: dict[str, Any] = given
        wrong = _wrong(given)
        if wrong:
            return {**result, "failed": True, "msg": wrong}
        self._node = given["node"] or str(self._variables.get("inventory_hostname", ""))
        wishes = Wishes(
            tuple(given["features"]) if given["features"] is not None else None,
            given["attributes"] or {},
            given["profile"] or profiles.AUTO,
            given["uefi"],
        )
        try:
            return {**result, **self._settings(wishes)}
        except BmcError as error:
            found = findings.unreadable(error, self._node, self._consent)
            return {**result, **_nothing(found)}

    @property
    def _consent(self) -> bool:
        return bool(self._given["state"] != "reported")

    def _settings(self, wishes: Wishes) -> dict[str, Any]:
        bios, source = self._read()
        planned = plan.plan(bios, wishes)
        if plan.needs_registry(planned):
            bios = replace(bios, registry=self._registry(source))
            planned = plan.plan(bios, wishes)
        send = planned.send if self._given["state"] == "applied" else {}
        result = {"changed": bool(send), **self._diff(bios, planned, send)}
        if not send or self._task.check_mode:
            return {**result, **self._answer(planned, bios)}
        self._write(bios, send)
        after = replace(bios, pending=self._pending(source, bios.attributes))
        missed = [name for name, value in send.items() if after.pending.get(name) != value]
        answer = self._answer(plan.plan(after, wishes), after)
        if missed:
            fact = f"the BMC took {', '.join(sorted(missed))} without an error, and it does not wait there."
            fix = "look at the BMC's log and at what the BIOS demands of this setting; it can be set in the firmware setup."
            found = Finding("bios_setting", BLOCK, fact, fix=fix, node=self._node, changed="The other settings wait.")
            answer = _with(answer, found)
        return {**result, **answer}

    def _answer(self, planned: Plan, bios: Bios) -> dict[str, Any]:
        given = self._given
        rebooted = given["rebooted"]
        found = findings.judge(planned, bios, self._node, self._consent, rebooted, given["validate_certs"])
        system = bios.system
        return {
            "system": {
                "id": system.id,
                "manufacturer": system.manufacturer,
                "model": system.model,
                "bios_version": system.bios_version,
            },
            "profile": planned.profile,
            "settings": [setting.as_dict() for setting in planned.settings],
            "plan": dict(planned.send) if self._consent else {},
            "pending": dict(bios.pending),
            "fixes": planned.fixes if self._consent and not rebooted else [],
            "reboot_reasons": findings.reasons(planned, self._consent, rebooted),
            "findings": [finding.as_dict() for finding in found],
            "summary": findings.summary(found),
        }

    def _read(self) -> tuple[Bios, Mapping[str, Any]]:
        given = self._given
        missing = [f"host_firmware_{name}" for name in ("bmc", "username", "password") if not given[name]]
        if missing:
            fact = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set."
            raise BmcError("bmc_credentials", fact, "set them for this host, the password from a vault.")
        command = {"category": ["Systems"], "command": ["GetSystemInventory"]}
        inventory = self._module("community.general.redfish_info", {**self._login(), **command})
        system = reading.choose(reading.systems(inventory), given["system"] or "")
        document = self._get(system.uri)
        uri = reading.link(document, "Bios", "@odata.id")
        source = self._get(uri) if uri else {}
        attributes = reading.attributes(source)
        if not attributes:
            fact = f"the BMC of this {system.model or system.manufacturer or 'host'} shows no BIOS attributes."
            fix = "update the firmware of the BMC or license it; the settings can be made in the firmware setup."
            raise BmcError("bios_unsupported", fact, fix)
        return Bios(system, attributes, self._pending(source, attributes)), source

    def _pending(self, source: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
        """Without a settings object nothing can wait. Some BMCs have none while nothing waits."""
        uri = reading.link(source, "@Redfish.Settings", "SettingsObject", "@odata.id")
        return reading.pending(current, reading.attributes(self._get(uri, missing_ok=True))) if uri else {}

    def _registry(self, source: Mapping[str, Any]) -> registry.Registry | None:
        name = source.get("AttributeRegistry")
        if not isinstance(name, str) or not name:
            return None
        entry = self._get(f"/redfish/v1/Registries/{name}", missing_ok=True)
        if not entry:
            uri = reading.registry_member(self._get("/redfish/v1/Registries", missing_ok=True), name)
            entry = self._get(uri, missing_ok=True) if uri else {}
        uri = reading.registry_location(entry)
        return registry.parse(self._get(uri, missing_ok=True) if uri else entry)

    def _write(self, bios: Bios, send: Mapping[str, Any]) -> None:
        self._module(
            "community.general.redfish_config",
            {
                **self._login(),
                "category": "Systems",
                "command": ["SetBiosAttributes"],
                "resource_id": bios.system.id,
                "bios_attributes": dict(send),
            },
        )

    def _login(self) -> dict[str, Any]:
        given = self._given
        return {
            "baseuri": given["bmc"],
            "username": given["username"],
            "password": given["password"],
            "timeout": given["timeout"],
            "validate_certs": given["validate_certs"],
            **({"ca_path": given["ca_path"]} if given["ca_path"] else {}),
        }

    def _get(self, path: str, missing_ok: bool = False) -> Mapping[str, Any]:
        """What waits for a reboot is what the Redfish modules do not read."""
        given = self._given
        answer = self._read_only(
            "ansible.builtin.uri",
            {
                "url": f"https://{given['bmc']}{path}",
                "url_username": given["username"],
                "url_password": given["password"],
                "force_basic_auth": True,
                "validate_certs": given["validate_certs"],
                **({"ca_path": given["ca_path"]} if given["ca_path"] else {}),
                "timeout": given["timeout"],
                "return_content": True,
                "headers": {"Accept": "application/json", "OData-Version": "4.0"},
                "status_code": [200, 404] if missing_ok else [200],
            },
        )
        document = answer.get("json")
        return document if answer.get("status") == 200 and isinstance(document, Mapping) else {}

    def _read_only(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """The module leaves out everything in check mode, also a GET."""
        check_mode, self._task.check_mode = self._task.check_mode, False
        try:
            return self._module(name, options)
        finally:
            self._task.check_mode = check_mode

    def _module(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(module_name=name, module_args=options, task_vars=self._variables)
        if answer.get("failed"):
            raise reading.refusal(str(answer.get("msg") or answer.get("module_stderr") or ""))
        return answer

    def _diff(self, bios: Bios, planned: Plan, send: Mapping[str, Any]) -> dict[str, Any]:
        if not self._task.diff or not send:
            return {}
        before = {setting.attribute: setting.value for setting in planned.settings if setting.attribute in send}
        header = f"BIOS of {self._node} ({bios.system.model or bios.system.manufacturer})"
        return {
            "diff": [
                {
                    "before_header": f"{header}, in force",
                    "after_header": f"{header}, after the next reboot",
                    "before": yaml.safe_dump(before),
                    "after": yaml.safe_dump(dict(send)),
                }
            ]
        }


def _nothing(found: Finding) -> dict[str, Any]:
    answer = {"changed": False, "system": {}, "profile": "", "settings": [], "plan": {}, "pending": {}, "fixes": []}
    return _with({**answer, "reboot_reasons": [], "findings": []}, found)


def _with(answer: dict[str, Any], found: Finding) -> dict[str, Any]:
    values = [*map(Finding.from_dict, answer["findings"]), found]
    return {
        **answer,
        "findings": [value.as_dict() for value in values],
        "summary": findings.summary(values),
    }


def _wrong(given: Mapping[str, Any]) -> str:
    unknown = [name for name in given["features"] or () if name not in profiles.FEATURES]
    if unknown:
        return f"features has {', '.join(unknown)}. Known: {', '.join(profiles.FEATURES)}."
    known = (profiles.AUTO, *profiles.load())
    if given["profile"] and given["profile"] not in known:
        return f"profile is {given['profile']}. Known: {', '.join(known)}."
    bmc = given["bmc"] or ""
    if "/" in bmc or "@" in bmc:
        return "bmc is an address, with a port where it is not 443; it is neither a URL nor does it carry an account."
    return ""
