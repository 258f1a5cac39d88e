# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes of this run may be labelled, selected and waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import Finding

RECORD = "katagpu_record"
NODE_NAME = "katagpu_node_name"


def node_name(host: str, variables: Mapping[str, Any]) -> str:
    return str(variables.get(NODE_NAME) or host)


def eligible(
    hosts: Mapping[str, Mapping[str, Any]],
    kata: Iterable[str],
    container: Iterable[str],
    cluster: Mapping[str, Any],
    failed: Iterable[str] = (),
) -> dict[str, Any]:
    """C(hosts) maps a host to its variables; of these only the record of its last read and its node name are used."""
    broken = set(failed)
    refused: dict[str, list[str]] = {}
    chosen: dict[str, list[str]] = {"kata": [], "container": []}
    for role, names in (("kata", kata), ("container", container)):
        for host in names:
            variables = hosts.get(host, {})
            name = node_name(host, variables)
            reasons = _cluster_reasons(name, cluster)
            if role == "kata":
                reasons += _roll_reasons(name, cluster)
            if host in broken:
                reasons.append("failed in this run")
            if role == "kata":
                reasons += _record_reasons(variables.get(RECORD))
            if name in chosen["kata"] and role == "container":
                reasons.append("is in both groups, kata_nodes and container_nodes")
            if reasons:
                refused.setdefault(name, []).extend(reasons)
            elif name not in chosen[role]:
                chosen[role].append(name)
    both = {role: sorted(names) for role, names in chosen.items()}
    everyone = sorted(both["kata"] + both["container"])
    # The cluster was read for the whole inventory, so this knows nodes outside --limit too.
    named: Mapping[str, Mapping[str, Any]] = cluster.get("named") or {}
    left = {name: entry for name, entry in named.items() if name not in everyone}
    return {
        **both,
        "all": everyone,
        "refused": refused,
        "unprotected": sorted(name for name, entry in left.items() if entry.get("exposed")),
        "labelled_not_eligible": sorted(name for name, entry in left.items() if entry.get("labelled")),
    }


def _record_reasons(record: Any) -> list[str]:
    if not isinstance(record, Mapping) or not record:
        return ["was not read in this run"]
    reasons = [finding.message() for finding in map(Finding.from_dict, record.get("findings") or ()) if finding.stops]
    if record.get("reboot_needed"):
        reasons.append("has a pending reboot")
    if record.get("restart_needed"):
        reasons.append("has a pending restart of the kubelet")
    if record.get("failed"):
        reasons.append("failed in this run")
    return reasons


def _roll_reasons(name: str, cluster: Mapping[str, Any]) -> list[str]:
    rolls: Mapping[str, Mapping[str, Any]] = cluster.get("rolls") or {}
    return [
        f"needs to be drained ({roll['why']}), and nobody agreed to that (katagpu_reboot_ok)"
        for roll in rolls.values()
        if name in roll["unagreed"]
    ]


def _cluster_reasons(name: str, cluster: Mapping[str, Any]) -> list[str]:
    reasons = ["does not exist in the cluster"] if name in (cluster.get("missing_nodes") or ()) else []
    reasons += [
        finding.message()
        for finding in map(Finding.from_dict, cluster.get("findings") or ())
        if finding.stops and finding.node == name and finding.id != "node_missing"
    ]
    return reasons
