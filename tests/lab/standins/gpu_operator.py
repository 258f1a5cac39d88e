# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for the controller of NVIDIA GPU Operator 23.9: one pure reconcile, bad habits included.

Each habit cites a row of tests/facts/gpu_operator_v23_9_2.yml.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.lab.standins import facts, gpu_labels, gpu_objects
from tests.lab.standins.actions import Action, Create, Delete, Note, Object, Patch, Replace, Requeue, labels_of

_T = facts.GPU_OPERATOR
_ENABLED_BY = {
    "state-driver": ("driver", True),
    "state-container-toolkit": ("toolkit", True),
    "state-device-plugin": ("devicePlugin", True),
    "state-dcgm-exporter": ("dcgmExporter", True),
    "gpu-feature-discovery": ("gfd", True),
    "state-mig-manager": ("migManager", True),
    "state-sandbox-device-plugin": ("sandboxDevicePlugin", False),
    "state-kata-manager": ("kataManager", False),
    "state-vfio-manager": ("vfioManager", False),
    "state-vgpu-device-manager": ("vgpuDeviceManager", False),
}


@dataclass
class GpuState:
    """What the controller sees."""

    policy: Object
    nodes: list[Object]
    namespace: str
    now: str
    daemonsets: dict[str, Object] = field(default_factory=dict)
    runtime_classes: dict[str, Object] = field(default_factory=dict)
    service_accounts: set[str] = field(default_factory=set)
    config_maps: dict[str, Object] = field(default_factory=dict)


def state_enabled(state: str, spec: dict[str, Any]) -> bool:
    """Whether the operands of a state are wanted (rows states.order, states.sandbox)."""
    sandbox = bool((spec.get("sandboxWorkloads") or {}).get("enabled"))
    if state in facts.value(_T, "states.sandbox") and not sandbox:
        return False
    block, unset = _ENABLED_BY.get(state, ("", True))
    if not block:
        return True
    return bool((spec.get(block) or {}).get("enabled", unset))


def daemonset_ready(current: Object | None) -> bool:
    """Rows ready.missing-daemonset, ready.desired-zero, ready.only-unavailable, ready.on-delete."""
    status = (current or {}).get("status") or {}
    desired = status.get("desiredNumberScheduled", 0)
    if desired == 0:
        return True
    if status.get("numberUnavailable", 0) != 0:
        return False
    if ((current or {}).get("spec", {}).get("updateStrategy") or {}).get("type") != "OnDelete":
        return True
    return bool(status.get("updatedNumberScheduled", 0) == desired and status.get("numberReady", 0) == desired)


def reconcile(seen: GpuState) -> list[Action]:
    """Everything in one pass: a state that is not ready does not stop the walk (row states.order)."""
    spec = seen.policy["spec"]
    actions, nfd, gpu_nodes = gpu_labels.plan(seen.nodes, spec)
    classes, failure = _runtime_classes(seen)
    actions += classes
    if failure:
        return actions + _status(seen, "notReady", "Error", "ReconcileFailed", failure) + [Requeue(5)]
    not_ready: list[str] = []
    for fact in gpu_objects.operand_rows():
        current = seen.daemonsets.get(fact["name"])
        if not state_enabled(fact["state"], spec):
            # Row states.disabled-deleted.
            actions += [Delete("DaemonSet", fact["name"], seen.namespace)] if current else []
            continue
        if gpu_nodes == 0:
            continue  # Row states.no-gpu-nodes.
        actions += _operand(fact, current, seen)
        if not daemonset_ready(current) and fact["state"] not in not_ready:
            not_ready.append(fact["state"])
    requeue = facts.value(_T, "status.requeue")
    if not_ready:
        message = facts.value(_T, "status.not-ready")["Error"]["message"] % " ".join(not_ready)
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
        wanted_map = gpu_objects.kata_config_map(seen.policy, seen.namespace)
        there = seen.config_maps.get(wanted_map["metadata"]["name"])
        if there is None:
            actions.append(Create(wanted_map))
        elif there.get("data") != wanted_map["data"]:
            name = wanted_map["metadata"]["name"]
            actions.append(Patch("ConfigMap", name, {"data": wanted_map["data"]}, seen.namespace))
    wanted = gpu_objects.daemonset(fact, seen.policy, seen.namespace)
    if current is None:
        actions += [Note(f"DaemonSet not found, creating {fact['name']}"), Create(wanted)]
        return actions
    key = facts.value(_T, "daemonset.hash")
    found = (current["metadata"].get("annotations") or {}).get(key)
    if found != wanted["metadata"]["annotations"][key]:
        actions += [Note(f"DaemonSet is different, updating {fact['name']}"), Replace(wanted)]
    return actions


def _runtime_classes(seen: GpuState) -> tuple[list[Action], str]:
    actions: list[Action] = []
    own = (seen.policy["spec"].get("operator") or {}).get("runtimeClass") or "nvidia"
    wanted = gpu_objects.runtime_classes(seen.policy)
    names = {one["metadata"]["name"] for one in wanted}
    if len(names) != len(wanted):
        return [], (
            f"Failed to reconcile state-kata-manager: error creating kata runtimeclass '{own}' as it conflicts with "
            "the runtimeclass used for the gpu-operator operand pods itself"
        )
    marker = "nvidia.com/kata-runtime-class"
    for name, there in seen.runtime_classes.items():
        if labels_of(there).get(marker) == "true" and name not in names:
            actions.append(Delete("RuntimeClass", name))
    for one in wanted:
        found = seen.runtime_classes.get(one["metadata"]["name"])
        if found is None:
            actions.append(Create(one))
        elif labels_of(found) != one["metadata"]["labels"] or found.get("scheduling") != one.get("scheduling"):
            actions.append(Replace(one))
    return actions, ""


def _ready(seen: GpuState, row_id: str) -> list[Action]:
    ready = facts.value(_T, row_id)["Ready"]
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
