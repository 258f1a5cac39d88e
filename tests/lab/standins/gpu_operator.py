# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for the controller of NVIDIA GPU Operator 23.9 and 26.7: one pure reconcile, bad habits included.

Each habit cites a row of tests/facts/gpu_operator_*.yml. What differs between the releases is in these tables and not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.lab.standins import facts, gpu_labels, gpu_objects
from tests.lab.standins.actions import Action, Create, Delete, Note, Object, Patch, Replace, Requeue, labels_of, matches


@dataclass
class GpuState:
    """What the controller sees; `table` names the facts of its release."""

    table: str
    policy: Object
    nodes: list[Object]
    namespace: str
    now: str
    daemonsets: dict[str, Object] = field(default_factory=dict)
    runtime_classes: dict[str, Object] = field(default_factory=dict)
    service_accounts: set[str] = field(default_factory=set)
    config_maps: dict[str, Object] = field(default_factory=dict)
    memory: gpu_labels.Memory | None = None  # of the labels, from pass to pass


def state_enabled(table: str, state: str, spec: dict[str, Any]) -> bool:
    """Whether the operands of a state are wanted (rows states.sandbox, states.never, states.mode)."""
    sandbox = bool((spec.get("sandboxWorkloads") or {}).get("enabled"))
    if state in facts.value(table, "states.sandbox") and not sandbox:
        return False
    if state in facts.find(table, "states.never", {}):
        return False
    mode = facts.find(table, "states.mode", {}).get(state)
    if mode is not None and mode != gpu_labels.sandbox_mode(spec):
        return False
    return gpu_objects.switched_on(table, state, spec)


def daemonset_ready(table: str, current: Object | None) -> bool:
    """Rows ready.missing-daemonset, ready.desired-zero, ready.only-unavailable, ready.on-delete, ready.generations."""
    if current is None:
        return bool(facts.value(table, "ready.missing-daemonset")["ready"])
    status = current.get("status") or {}
    desired = status.get("desiredNumberScheduled", 0)
    if desired == 0:
        return True
    if status.get("numberUnavailable", 0) != 0:
        return False
    if (current.get("spec", {}).get("updateStrategy") or {}).get("type") == "OnDelete":
        return bool(status.get("updatedNumberScheduled", 0) == desired and status.get("numberReady", 0) == desired)
    counters = facts.find(table, "ready.generations", [])
    seen = status.get("observedGeneration", 0) >= current["metadata"].get("generation", 0)
    return not counters or (seen and all(status.get(key, 0) == desired for key in counters))


def reconcile(seen: GpuState) -> list[Action]:
    """Everything in one pass: a state that is not ready does not stop the walk (row states.order)."""
    table, spec = seen.table, seen.policy["spec"]
    actions, nfd, gpu_nodes = gpu_labels.plan(table, seen.nodes, seen.policy, seen.daemonsets, seen.memory)
    classes, failure = _runtime_classes(seen)
    actions += classes
    if failure:
        return actions + _status(seen, "notReady", "Error", "ReconcileFailed", failure) + [Requeue(5)]
    not_ready: list[str] = []
    for name in facts.find(table, "states.never", {}).values():
        actions += [Delete("DaemonSet", name, seen.namespace)] if name in seen.daemonsets else []
    for fact in gpu_objects.operand_rows(table):
        current = seen.daemonsets.get(fact["name"])
        if not state_enabled(table, fact["state"], spec):
            # Row states.disabled-deleted.
            actions += [Delete("DaemonSet", fact["name"], seen.namespace)] if current else []
            continue
        if gpu_nodes == 0:
            continue  # Row states.no-gpu-nodes.
        actions += _operand(fact, current, seen)
        if not daemonset_ready(table, current) and fact["state"] not in not_ready:
            not_ready.append(fact["state"])
    requeue = facts.value(table, "status.requeue")
    if not_ready:
        message = facts.value(table, "status.not-ready")["Error"]["message"] % " ".join(not_ready)
        actions.append(Note(message))
        return actions + _status(seen, "notReady", "Error", "OperandNotReady", message) + [Requeue(requeue["notReady"])]
    if not nfd:
        actions.append(Note("No NFD label found, polling for new nodes."))
        return actions + _ready(seen, "status.nfd-labels-missing") + [Requeue(requeue["nfdLabelsMissing"])]
    return actions + _ready(seen, "status.ready" if gpu_nodes else "status.no-gpu-nodes")


def _operand(fact: dict[str, Any], current: Object | None, seen: GpuState) -> list[Action]:
    actions: list[Action] = []
    if fact["service_account"] not in seen.service_accounts:
        actions.append(Create(gpu_objects.service_account(fact["service_account"], seen.policy, seen.namespace)))
        seen.service_accounts.add(fact["service_account"])
    if fact["name"] == "nvidia-kata-manager":
        wanted_map = gpu_objects.kata_config_map(seen.table, seen.policy, seen.namespace)
        there = seen.config_maps.get(wanted_map["metadata"]["name"])
        if there is None:
            actions.append(Create(wanted_map))
        elif there.get("data") != wanted_map["data"]:
            name = wanted_map["metadata"]["name"]
            actions.append(Patch("ConfigMap", name, {"data": wanted_map["data"]}, seen.namespace))
    tag = gpu_objects.os_tag(seen.table, seen.nodes)
    wanted = gpu_objects.daemonset(seen.table, fact, seen.policy, seen.namespace, tag)
    if current is None:
        actions += [Note(f"DaemonSet not found, creating {fact['name']}"), Create(wanted)]
        return actions
    key = facts.value(seen.table, "daemonset.hash")
    found = (current["metadata"].get("annotations") or {}).get(key)
    if found != wanted["metadata"]["annotations"][key]:
        actions += [Note(f"DaemonSet is different, updating {fact['name']}"), Replace(wanted)]
    return actions


def _runtime_classes(seen: GpuState) -> tuple[list[Action], str]:
    actions: list[Action] = []
    own = (seen.policy["spec"].get("operator") or {}).get("runtimeClass") or "nvidia"
    wanted = gpu_objects.runtime_classes(seen.table, seen.policy)
    names = {one["metadata"]["name"] for one in wanted}
    if len(names) != len(wanted):
        return [], (
            f"Failed to reconcile state-kata-manager: error creating kata runtimeclass '{own}' as it conflicts with "
            "the runtimeclass used for the gpu-operator operand pods itself"
        )
    marker, retired = gpu_objects.retired_classes(seen.table)
    for name, there in seen.runtime_classes.items():
        if name not in names and (name in retired or matches(labels_of(there), marker)):
            actions.append(Delete("RuntimeClass", name))
    for one in wanted:
        found = seen.runtime_classes.get(one["metadata"]["name"])
        if found is None:
            actions.append(Create(one))
        elif labels_of(found) != one["metadata"]["labels"] or found.get("scheduling") != one.get("scheduling"):
            actions.append(Replace(one))
    return actions, ""


def _ready(seen: GpuState, row_id: str) -> list[Action]:
    ready = facts.value(seen.table, row_id)["Ready"]
    return _status(seen, "ready", "Ready", ready["reason"], ready["message"])


def _status(seen: GpuState, state: str, kind: str, reason: str, message: str) -> list[Action]:
    """State and the two conditions; no observedGeneration (row status.no-observed-generation)."""
    wanted = [
        {"type": "Ready", "status": "True", "reason": reason, "message": message},
        {"type": "Error", "status": "False", "reason": "Ready", "message": ""},
    ]
    if kind == "Error":
        wanted = [
            {"type": "Ready", "status": "False", "reason": "Error", "message": ""},
            {"type": "Error", "status": "True", "reason": reason, "message": message},
        ]
    before = seen.policy.get("status") or {}
    earlier = {one["type"]: one for one in before.get("conditions") or []}
    conditions = []
    for one in wanted:
        old = earlier.get(one["type"])
        since = old["lastTransitionTime"] if old and old["status"] == one["status"] else seen.now
        conditions.append({**one, "lastTransitionTime": since})
    status = {"state": state, "namespace": seen.namespace, "conditions": conditions}
    if status == before:
        return []
    return [Patch("ClusterPolicy", seen.policy["metadata"]["name"], {"status": status}, subresource="status")]
