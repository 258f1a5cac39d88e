# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for the controller of the Confidential Containers operator v0.7.0: one pure reconcile, bad habits included.

Each habit cites a row of tests/facts/coco_operator_v0_7_0.yml.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from tests.lab.standins import coco_objects, facts
from tests.lab.standins.actions import Action, Create, Delete, Note, Object, Patch, Requeue, labels_of, matches

_T = facts.COCO_OPERATOR


@dataclass
class CcState:
    """What the controller sees."""

    runtime: Object
    nodes: list[Object]
    namespace: str
    daemonsets: dict[str, Object] = field(default_factory=dict)
    runtime_classes: dict[str, Object] = field(default_factory=dict)


def reconcile(seen: CcState) -> list[Action]:
    """One pass over one CcRuntime (row order.uninstall-first)."""
    actions = _ensure("uninstall", seen)
    if seen.runtime["metadata"].get("deletionTimestamp"):
        return actions + _delete(seen)
    return actions + _install(seen)


def _ensure(operation: str, seen: CcState) -> list[Action]:
    body = coco_objects.daemonset(operation, seen.runtime, seen.namespace)
    name = body["metadata"]["name"]
    return [] if name in seen.daemonsets else [Note(f"Creating DaemonSet {name}"), Create(body)]


def _with(seen: CcState, labels: dict[str, str]) -> list[Object]:
    """Nodes of the whole cluster with these labels, in the selection or not."""
    return [node for node in seen.nodes if matches(labels_of(node), labels)]


def _install(seen: CcState) -> list[Action]:
    runtime = seen.runtime
    config = runtime["spec"]["config"]
    matched = _with(seen, coco_objects.selector(runtime))
    total = len(matched)
    if total == 0:
        fact = facts.value(_T, "order.no-nodes")
        return [Note(f"error: {fact['message']}"), Requeue(fact["requeue"])]
    before = runtime.get("status") or {}
    status: dict[str, Any] = {"runtimeClass": "", **copy.deepcopy(before)}
    status |= {"totalNodesCount": total, "runtimeName": runtime["spec"]["runtimeName"]}

    hook = facts.value(_T, "order.pre-install")
    if (config.get("preInstall") or {}).get("image") and len(_with(seen, hook["label"])) < total:
        return _written(seen, status) + _ensure("pre-install", seen) + [Requeue(hook["requeue"])]

    actions: list[Action] = []
    installation = status.setdefault("installationStatus", {})
    completed = installation.setdefault("completed", {})
    if completed.get("completedNodesCount", 0) != total:
        actions += _ensure("install", seen)
    # Rows order.classes and order.finalizer: the counters of the pass before decide.
    if completed.get("completedNodesCount", 0) == total:
        for name in coco_objects.class_names(runtime):
            if name not in seen.runtime_classes:
                actions += [
                    Note(f"Creating a new RuntimeClass {name}"),
                    Create(coco_objects.runtime_class(name, runtime)),
                ]
        status["runtimeClass"] = ",".join(coco_objects.class_names(runtime))
        finalizer = facts.value(_T, "order.finalizer")
        held = list(runtime["metadata"].get("finalizers") or [])
        if finalizer not in held:
            actions.append(_finalizers(runtime, [*held, finalizer]))
        completed["completedNodesCount"] = len(completed.get("completedNodesList") or [])
        installation["inProgress"] = {}

    # Row status.counters: names are added, never removed.
    done = config.get("installDoneLabel") or {}
    for node in matched:
        name = node["metadata"]["name"]
        known = completed.setdefault("completedNodesList", [])
        if any(labels_of(node).get(key) == text for key, text in done.items()) and name not in known:
            completed["completedNodesCount"] = completed.get("completedNodesCount", 0) + 1
            known.append(name)
            installation["inProgress"] = {"binariesInstallNodesList": [name]}
            actions.append(Note(f"adding new node to completed list: {name}"))
    actions += _written(seen, status)
    return actions + ([Requeue(0)] if completed.get("completedNodesCount", 0) != total else [])


def _finalizers(runtime: Object, wanted: list[str]) -> Action:
    # The version makes a lost race an error and not a lost finalizer.
    metadata = {"finalizers": wanted, "resourceVersion": runtime["metadata"].get("resourceVersion")}
    return Patch("CcRuntime", runtime["metadata"]["name"], {"metadata": metadata})


def _written(seen: CcState, status: dict[str, Any]) -> list[Action]:
    if status == (seen.runtime.get("status") or {}):
        return []
    return [Patch("CcRuntime", seen.runtime["metadata"]["name"], {"status": status}, subresource="status")]


def _delete(seen: CcState) -> list[Action]:
    runtime = seen.runtime
    config = runtime["spec"]["config"]
    finalizer = facts.value(_T, "order.finalizer")
    held = list(runtime["metadata"].get("finalizers") or [])
    if finalizer not in held:
        return []  # Row delete.half-installed: nothing holds it, nothing is uninstalled.
    total = (runtime.get("status") or {}).get("totalNodesCount", 0)
    finished = _with(seen, config.get("uninstallDoneLabel") or {})
    if len(finished) != total:
        # Row status.uninstall-dropped: unInstallationStatus is not written.
        return [*_mark_cleanup(seen), Requeue(10)]
    fact = facts.value(_T, "delete.order")
    if (config.get("postUninstall") or {}).get("image"):
        undone = _with(seen, fact["label"])
        if len(undone) != total:
            return [*_ensure("post-uninstall", seen), Requeue(10)]
    actions: list[Action] = [_finalizers(runtime, [one for one in held if one != finalizer])]
    for operation in ("uninstall", "post-uninstall", "pre-install"):
        name = facts.value(_T, f"daemonset.{operation}")["name"]
        if name in seen.daemonsets:
            actions.append(Delete("DaemonSet", name, seen.namespace))
    for node in _with(seen, fact["label"]):
        labels = labels_of(node)
        gone = {key: None for key, text in fact["removed_labels"].items() if labels.get(key) == text}
        actions.append(Patch("Node", node["metadata"]["name"], {"metadata": {"labels": gone}}))
    return actions


def _mark_cleanup(seen: CcState) -> list[Action]:
    config = seen.runtime["spec"]["config"]
    wanted = config.get("uninstallDoneLabel") or {}
    return [
        Patch("Node", node["metadata"]["name"], {"metadata": {"labels": dict(wanted)}})
        for node in _with(seen, config.get("installDoneLabel") or {})
    ]
