# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node labels of the GPU Operator: which nodes it takes and what it writes on them. `table` names the release's facts."""

from __future__ import annotations

from typing import Any

from tests.lab.standins import facts
from tests.lab.standins.actions import Action, Note, Object, Patch, labels_of

MIG_MANAGER = "nvidia.com/gpu.deploy.mig-manager"


def has_gpu_label(table: str, labels: dict[str, str]) -> bool:
    """NFD saw an NVIDIA device (row nodes.gpu-labels)."""
    return any(labels.get(key) == "true" for key in facts.value(table, "nodes.gpu-labels"))


def has_nfd_labels(table: str, labels: dict[str, str]) -> bool:
    """Row nodes.nfd-prefix."""
    prefix = facts.value(table, "nodes.nfd-prefix")
    return any(key.startswith(prefix) for key in labels)


def default_workload(table: str, spec: dict[str, Any]) -> str:
    """defaultWorkload, where it is a legal value."""
    wanted = (spec.get("sandboxWorkloads") or {}).get("defaultWorkload")
    return str(wanted) if wanted in facts.value(table, "nodes.deploy-labels") else "container"


def sandbox_mode(spec: dict[str, Any]) -> str:
    """sandboxWorkloads.mode with the default of the schema; releases without modes have no row that uses it."""
    return str((spec.get("sandboxWorkloads") or {}).get("mode") or "kubevirt")


def deploy_labels(table: str, kind: str, spec: dict[str, Any]) -> list[str]:
    """Deploy labels of a workload (rows nodes.deploy-labels, nodes.mode-labels)."""
    keys: list[str] = facts.value(table, "nodes.deploy-labels")[kind]
    if kind == "vm-passthrough":
        keys += facts.find(table, "nodes.mode-labels", {}).get(sandbox_mode(spec), [])
    return keys


def every_label(table: str) -> set[str]:
    """All deploy labels that the operator calls its own (row nodes.swept-labels with those above)."""
    groups = [*facts.value(table, "nodes.deploy-labels").values()]
    groups += [*facts.find(table, "nodes.mode-labels", {}).values(), facts.find(table, "nodes.swept-labels", [])]
    return {key for keys in groups for key in keys} | {MIG_MANAGER}


def workload(table: str, labels: dict[str, str], spec: dict[str, Any]) -> tuple[str, str]:
    """Workload of a node and a warning: a bad label is no error to anybody but the log (row nodes.workload-default)."""
    if not (spec.get("sandboxWorkloads") or {}).get("enabled"):
        return "container", ""
    wanted = labels.get(facts.value(table, "nodes.workload-label")["key"])
    if wanted in facts.value(table, "nodes.deploy-labels"):
        return str(wanted), ""
    fallback = default_workload(table, spec)
    reason = "No GPU workload config found" if wanted is None else f"Invalid GPU workload config: {wanted}"
    return fallback, f"WARNING: failed to get GPU workload config for node; using default {fallback}: {reason}"


def wanted_labels(table: str, labels: dict[str, str], spec: dict[str, Any]) -> dict[str, str]:
    """Labels of one node after a reconcile (pure; rows nodes.present-label, nodes.deploy-labels-kept)."""
    after = dict(labels)
    every = every_label(table)
    present = facts.value(table, "nodes.present-label")
    if after.get(present) != "true" and has_gpu_label(table, after):
        after[present] = "true"
    elif after.get(present) == "true" and not has_gpu_label(table, after):
        after[present] = "false"
        return {key: text for key, text in after.items() if key not in every}
    if after.get(present) != "true":
        return after
    if any(after.get(key) == text for key, text in facts.value(table, "nodes.operands-disabled").items()):
        return {key: text for key, text in after.items() if key not in every}
    kind, _ = workload(table, after, spec)
    own = deploy_labels(table, kind, spec)
    kept = {*own, MIG_MANAGER} if kind == "container" else set(own)
    after = {key: text for key, text in after.items() if key not in every or key in kept}
    fill_empty = facts.value(table, "nodes.deploy-labels-kept")["empty_is_absent"]
    for key in own:
        if key not in after or (fill_empty and after[key] == ""):
            after[key] = "true"
    return after


Memory = dict[str, Any]


def _attention(table: str, node: Object) -> tuple[Any, ...]:
    """What of a node makes the controller look at all of them again (row nodes.labelling-events)."""
    labels = labels_of(node)
    kind = labels.get(facts.value(table, "nodes.workload-label")["key"])
    off = any(labels.get(key) == text for key, text in facts.value(table, "nodes.operands-disabled").items())
    known = kind if kind in facts.value(table, "nodes.deploy-labels") else None
    return (
        node["metadata"].get("uid"),
        has_gpu_label(table, labels),
        labels.get(facts.value(table, "nodes.present-label")),
        off,
        known,
    )


def _looks(table: str, nodes: list[Object], policy: Object, daemonsets: dict[str, Object], memory: Memory) -> bool:
    """Whether an event since the last pass would have made the controller go through the labels."""
    now: Memory = {"generation": policy["metadata"].get("generation")}
    now |= {f"node {one['metadata']['name']}": _attention(table, one) for one in nodes}
    waiting = False
    if facts.value(table, "nodes.labelling-events")["every_reconcile"]:
        now |= {f"operand {name}": one["metadata"].get("resourceVersion") for name, one in daemonsets.items()}
        waiting = (policy.get("status") or {}).get("state") != "ready"
    # What has gone is no event.
    changed = waiting or any(key not in memory or memory[key] != value for key, value in now.items())
    memory.clear()
    memory.update(now)
    return changed


def plan(
    table: str, nodes: list[Object], policy: Object, daemonsets: dict[str, Object], memory: Memory | None = None
) -> tuple[list[Action], bool, int]:
    """Actions for all nodes of the cluster, whether any has NFD labels, and how many GPU nodes there are.

    `memory` is kept by the caller from pass to pass, because upstream looks at labels on certain events only.
    """
    spec = policy["spec"]
    actions: list[Action] = []
    nfd, gpu_nodes = False, 0
    looks = memory is None or _looks(table, nodes, policy, daemonsets, memory)
    for node in nodes:
        name, before = node["metadata"]["name"], labels_of(node)
        nfd = nfd or has_nfd_labels(table, before)
        after = wanted_labels(table, before, spec)
        if after.get(facts.value(table, "nodes.present-label")) == "true":
            gpu_nodes += 1
            warning = workload(table, before, spec)[1]
            if warning:
                actions.append(Note(f"node {name}: {warning}"))
        changes: dict[str, str | None] = {key: text for key, text in after.items() if before.get(key) != text}
        changes.update({key: None for key in before if key not in after})
        if changes and looks:
            actions.append(Patch("Node", name, {"metadata": {"labels": changes}}))
    return actions, nfd, gpu_nodes
