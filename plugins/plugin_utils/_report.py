# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as data: what was found, what was done, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import OPEN, WARN, Finding

SCHEMA = 1

OK = "ok"
BLOCKED = "blocked"
FAILED = "failed"

REBOOT = "reboot"
RESTART = "restart of the kubelet"

KATA = "kata"
CONTAINER = "container"

# Reasons of eligible_nodes that the report tells in a place of their own.
_TOLD = (
    "has a pending reboot",
    "has a pending restart of the kubelet",
    "does not exist in the cluster",
    "was not read in this run",
)


def build(
    title: str,
    findings: Iterable[Mapping[str, Any]],
    checks: Iterable[Mapping[str, Any]],
    hosts: Iterable[Mapping[str, Any]],
    eligible: Mapping[str, Any],
    workloads: Iterable[Mapping[str, Any]],
    stack: Mapping[str, Any],
    stand_ins: str,
    changed_hosts: Iterable[str],
    started: str,
    finished: str,
    seconds: float | None,
    names: Mapping[str, Iterable[str]] | None = None,
    errors: Iterable[str] = (),
    reboot_ok: bool = False,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Plain data, as it is written to C(report.json)."""
    records = [dict(host) for host in hosts if host]
    everything = _unique([*findings, *(item for host in records for item in host.get("findings") or ())])
    all_checks = [*checks, *(item for host in records for item in host.get("checks") or ())]
    runs = [dict(item) for item in workloads]
    troubles = [str(error).strip() for error in errors if str(error).strip()]
    values = [Finding.from_dict(item) for item in everything]
    nodes = _nodes(names or {}, eligible, records)
    reboots = _reboots(records)
    # A reboot is a plan until the eligible nodes are decided, and in check mode; afterwards it is a shortcoming.
    planned = bool(reboots) and reboot_ok and (check_mode or not eligible)
    pending = [item for item in reboots if item["pending"]] if eligible and not planned else []
    counts = {
        "errors": len(troubles),
        "nodes_failed": sum(node["state"] == "failed" for node in nodes),
        "nodes_not_read": sum(node["state"] == "not read" for node in nodes),
        "open_blocks": sum(value.stops for value in values),
        "warnings": sum(value.severity == WARN and value.state == OPEN for value in values),
        "checks_passed": sum(item["result"] == "passed" for item in all_checks),
        "checks_failed": sum(item["result"] == "failed" for item in all_checks),
        "checks_skipped": sum(item["result"] == "skipped" for item in all_checks),
        "workloads_passed": sum(item.get("result") == "passed" for item in runs),
        "workloads_failed": sum(item.get("result") == "failed" for item in runs),
        "reboots_pending": sum(item["what"] == REBOOT for item in pending),
        "restarts_pending": sum(item["what"] == RESTART for item in pending),
    }
    broken = ("errors", "nodes_failed", "nodes_not_read", "checks_failed", "workloads_failed")
    pends = ("reboots_pending", "restarts_pending")
    return {
        "schema": SCHEMA,
        "title": title,
        "result": BLOCKED
        if counts["open_blocks"]
        else (FAILED if any(counts[key] for key in (*broken, *pends)) else OK),
        "check_mode": check_mode,
        "release": {
            "name": stack.get("name", ""),
            "title": stack.get("title", ""),
            "support": dict(stack.get("support") or {}),
        },
        "started": started,
        "finished": finished,
        "duration_seconds": seconds,
        "errors": troubles,
        "findings": [value.as_dict() for value in values],
        "checks": all_checks,
        "nodes": nodes,
        "hosts": [{key: value for key, value in host.items() if key not in ("findings", "checks")} for host in records],
        "reboots": {"planned": planned, "consent": reboot_ok, "nodes": reboots},
        "eligible": dict(eligible),
        "workloads": runs,
        "changed_hosts": list(changed_hosts),
        "stand_ins": stand_ins,
        "counts": counts,
    }


def failure(report: Mapping[str, Any]) -> str:
    """One line that says what the run ended with, or nothing."""
    counts = report["counts"]
    wording = {
        "errors": "errors",
        "nodes_failed": "failed nodes",
        "nodes_not_read": "nodes that were not read",
        "open_blocks": "open blocks",
        "checks_failed": "failed checks",
        "workloads_failed": "failed workloads",
        "reboots_pending": "pending reboots",
        "restarts_pending": "pending restarts of the kubelet",
    }
    return ", ".join(f"{counts[key]} {words}" for key, words in wording.items() if counts[key])


def _unique(items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for item in items:
        found[tuple(str(item.get(key, "")) for key in ("id", "node", "device", "fact", "state"))] = item
    return list(found.values())


def _nodes(
    names: Mapping[str, Iterable[str]], eligible: Mapping[str, Any], records: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One entry for each node that anything knows of, so that a host that failed early is not simply missing."""
    refused: Mapping[str, list[str]] = eligible.get("refused") or {}
    by_name = {str(record["node"]): record for record in records if record.get("node")}
    containers = {*(names.get(CONTAINER) or ()), *(eligible.get(CONTAINER) or ())}
    katas = {*(names.get(KATA) or ()), *(eligible.get(KATA) or ())}
    listed = [*(names.get(KATA) or ()), *(names.get(CONTAINER) or ()), *(eligible.get("all") or ())]
    result = []
    for name in dict.fromkeys([*listed, *refused, *by_name]):
        record = by_name.get(name, {})
        role = KATA if name in katas else CONTAINER if name in containers else str(record.get("role") or "")
        reasons = list(refused.get(name) or ())
        if record.get("failed"):
            state = "failed"
            reasons = [str(record.get("error") or "the reason was not kept"), *reasons]
        elif not record and (role == KATA or "was not read in this run" in reasons):
            state = "not read"
        elif record.get("blocked"):
            state = "blocked"
        elif record.get("reboot_needed"):
            state = "needs reboot"
        elif record.get("restart_needed"):
            state = "needs restart"
        elif name in refused:
            state = "refused"
        elif record or name in (eligible.get("all") or ()):
            state = "ok"
        else:
            # A node of the API only, before the eligible nodes are decided: nothing was found against it so far.
            state = "listed"
        result.append(
            {
                "node": name,
                "role": role,
                "state": state,
                "reasons": reasons,
                "gpus": [f"{gpu['address']} {gpu.get('driver') or '-'}" for gpu in record.get("gpus") or ()],
            }
        )
    return result


def left_out(node: Mapping[str, Any]) -> list[str]:
    """Reasons against a node that are neither findings nor told elsewhere."""
    return [reason for reason in node["reasons"] if not reason.startswith("[") and reason not in _TOLD]


def _reboots(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """C(reboot_planned) is what check mode leaves of C(reboot_needed) once it has gone on as if it had happened.

    A reboot makes the restart of the kubelet unnecessary.
    """
    found = []
    for record in records:
        for name, what in (("reboot", REBOOT), ("restart", RESTART)):
            if record.get(f"{name}_needed") or record.get(f"{name}_planned"):
                found.append(
                    {
                        "node": str(record.get("node", "")),
                        "what": what,
                        "pending": bool(record.get(f"{name}_needed")),
                        "reasons": [str(reason) for reason in record.get(f"{name}_reasons") or ()],
                    }
                )
                break
    return found
