# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan for the BIOS in the words of findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    BLOCK,
    INFO,
    WARN,
    WILL_BE_FIXED_BY,
    Finding,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import plan as planning
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import profiles
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.plan import Plan, Setting
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.reading import Bios, BmcError

PHASE = "host_firmware"
_CONSENT = "set katagpu_firmware: apply to have it set, or set it in the firmware setup."
_BY_HAND = "set it in the firmware setup, or name the attribute and its value in host_firmware_attributes."


def unreadable(error: BmcError, node: str, consent: bool) -> Finding:
    """Where the user wants settings changed, a BMC that cannot be read leaves the host in an unknown state."""
    return Finding(
        error.kind,
        BLOCK if consent else WARN,
        error.fact,
        "The BIOS settings of this host are not known.",
        error.fix,
        ("host_firmware_bmc",),
        node,
    )


def judge(planned: Plan, bios: Bios, node: str, consent: bool, rebooted: bool, verified: bool) -> list[Finding]:
    found: list[Finding] = []
    evidence = (f"{bios.system.uri.rstrip('/')}/Bios",)
    if not verified:
        found.append(_unverified(node))
    if not planned.profile:
        found.append(_unknown_vendor(bios, node, evidence))
    found += _foreign(planned, node, consent, evidence)
    if rebooted and planned.waiting:
        found.append(
            Finding(
                "bios_pending",
                BLOCK if consent else WARN,
                f"the BIOS has not taken the settings {', '.join(planned.waiting)} at the reboot.",
                "They still wait, and another reboot would not change that.",
                "look at the BMC's jobs and log (a power cycle may be needed); the settings can be set in the firmware setup.",
                evidence,
                node,
                changed="The host was rebooted.",
            )
        )
    for setting in planned.settings:
        finding = _finding(setting, planned, node, consent, rebooted, evidence)
        if finding is not None:
            found.append(finding)
    return found


def _finding(
    setting: Setting, planned: Plan, node: str, consent: bool, rebooted: bool, evidence: tuple[str, ...]
) -> Finding | None:
    name = setting.attribute or setting.title
    shown = f"{setting.title} ({setting.attribute})" if setting.title != setting.attribute else setting.title
    if setting.state == planning.DIFFERS:
        fact = f"the BIOS has {shown} set to {_text(setting.value)}, wanted is {_text(setting.wanted)}."
        if consent and not planned.foreign:
            by = "the next run, because it could be set only after this reboot" if rebooted else f"{PHASE} and a reboot"
            return Finding("bios_setting", INFO, fact, evidence=evidence, node=node, state=WILL_BE_FIXED_BY, by=by)
        return Finding("bios_setting", WARN, fact, _for(setting), _CONSENT, evidence, node)
    if setting.state == planning.PENDING:
        fact = f"the BIOS has {shown} set to {_text(setting.value)}; {_text(setting.waits)} waits for a reboot."
        return Finding("bios_setting", INFO, fact, evidence=evidence, node=node, state=WILL_BE_FIXED_BY, by="a reboot")
    if setting.state == planning.LOCKED:
        fact = f"the BIOS does not let {shown} be set: {setting.reason}."
        fix = "change what it depends on first (in host_firmware_attributes or by hand); it can be set after the reboot that brings that."
        return Finding("bios_locked", WARN, fact, _for(setting), fix, evidence, node)
    if setting.state == planning.REFUSED:
        fact = f"{shown} cannot be set to {_text(setting.wanted)}: {setting.reason}."
        return Finding("bios_attribute", WARN, fact, _for(setting), _BY_HAND, evidence, node)
    if setting.state in (planning.UNKNOWN, planning.NO_NAME):
        fact = f"it is not known how this BIOS names {name}: {setting.reason}."
        severity = WARN if setting.asked else INFO
        return Finding("bios_attribute", severity, fact, _for(setting), _BY_HAND, evidence, node)
    return None


def _foreign(planned: Plan, node: str, consent: bool, evidence: tuple[str, ...]) -> Iterable[Finding]:
    if not planned.foreign:
        return
    waits = ", ".join(f"{name} = {_text(value)}" for name, value in sorted(planned.foreign.items())[:5])
    more = f" and {len(planned.foreign) - 5} more" if len(planned.foreign) > 5 else ""
    blocked = consent and bool(planned.those(planning.DIFFERS, planning.FOREIGN))
    yield Finding(
        "bios_pending",
        BLOCK if blocked else WARN,
        f"BIOS settings that are not ours wait for a reboot: {waits}{more}.",
        "They are somebody's, so they are not overwritten, and any reboot of this host brings them into force.",
        "ask who set them; let a reboot take them or withdraw them in the BMC, and run again.",
        evidence,
        node,
    )


def _unknown_vendor(bios: Bios, node: str, evidence: tuple[str, ...]) -> Finding:
    return Finding(
        "bios_profile",
        WARN,
        f"the manufacturer {bios.system.manufacturer or 'is not told'} has no profile ({', '.join(profiles.load())}).",
        "The names of its BIOS attributes are not known, and none was guessed.",
        "name attributes and values in host_firmware_attributes, or a profile in host_firmware_profile if it is one of these.",
        evidence,
        node,
    )


def _unverified(node: str) -> Finding:
    return Finding(
        "bmc_tls",
        WARN,
        "the certificate of the BMC is not verified (host_firmware_validate_certs: false).",
        "Whoever answers at that address gets the password of the BMC.",
        "give the CA of the BMC in host_firmware_ca_path and leave host_firmware_validate_certs as it is.",
        node=node,
    )


def _for(setting: Setting) -> str:
    return f"It is wanted for {profiles.FEATURES[setting.feature]}." if setting.feature else ""


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)


def reasons(planned: Plan, consent: bool, rebooted: bool) -> list[str]:
    """Why the host needs a reboot. What one reboot did not bring, another would not either."""
    names = sorted({*planned.waiting, *planned.send})
    if not consent or rebooted or not names:
        return []
    return [f"BIOS settings wait for it: {', '.join(names)}"]


def summary(found: Iterable[Finding]) -> Mapping[str, Any]:
    messages = [finding.message() for finding in found if finding.stops]
    return {"blocked": bool(messages), "messages": messages}
