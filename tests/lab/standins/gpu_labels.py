# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node labels of GPU Operator 23.9: which nodes it takes and what it writes on them."""

from __future__ import annotations

from typing import Any

from tests.lab.standins import facts
from tests.lab.standins.actions import Action, Note, Object, Patch, labels_of

_T = facts.GPU_OPERATOR


def has_gpu_label(labels: dict[str, str]) -> bool:
    """NFD saw an NVIDIA device (row nodes.gpu-labels)."""
    return any(labels.get(key) == "true" for key in facts.value(_T, "nodes.gpu-labels"))


def has_nfd_labels(labels: dict[str, str]) -> bool:
    """Row nodes.nfd-prefix."""
    prefix = facts.value(_T, "nodes.nfd-prefix")
    return any(key.startswith(prefix) for key in labels)


def default_workload(spec: dict[str, Any]) -> str:
    """defaultWorkload, where it is a legal value."""
    wanted = (spec.get("sandboxWorkloads") or {}).get("defaultWorkload")
    return str(wanted) if wanted in facts.value(_T, "nodes.deploy-labels") else "container"


def workload(labels: dict[str, str], spec: dict[str, Any]) -> tuple[str, str]:
    """Workload of a node and a warning: a bad label is no error to anybody but the log (row nodes.workload-default)."""
    if not (spec.get("sandboxWorkloads") or {}).get("enabled"):
        return "container", ""
    wanted = labels.get(facts.value(_T, "nodes.workload-label")["key"])
    if wanted in facts.value(_T, "nodes.deploy-labels"):
        return str(wanted), ""
    fallback = default_workload(spec)
    reason = "No GPU workload config found" if wanted is None else f"Invalid GPU workload config: {wanted}"
    return fallback, f"WARNING: failed to get GPU workload config for node; using default {fallback}: {reason}"


def wanted_labels(labels: dict[str, str], spec: dict[str, Any]) -> dict[str, str]:
    """Labels of one node after a reconcile (pure; rows nodes.present-label, nodes.deploy-labels*)."""
    after = dict(labels)
    sets: dict[str, list[str]] = facts.value(_T, "nodes.deploy-labels")
    every = {key for keys in sets.values() for key in keys} | {"nvidia.com/gpu.deploy.mig-manager"}
    present = facts.value(_T, "nodes.present-label")
    if after.get(present) != "true" and has_gpu_label(after):
        after[present] = "true"
    elif after.get(present) == "true" and not has_gpu_label(after):
        after[present] = "false"
        return {key: text for key, text in after.items() if key not in every}
    if after.get(present) != "true":
        return after
    if any(after.get(key) == text for key, text in facts.value(_T, "nodes.operands-disabled").items()):
        return {key: text for key, text in after.items() if key not in every}
    kind, _ = workload(after, spec)
    own = set(sets[kind])
    if kind == "container":
        own.add("nvidia.com/gpu.deploy.mig-manager")
    after = {key: text for key, text in after.items() if key not in every or key in own}
    for key in sets[kind]:
        after.setdefault(key, "true")
    return after


def plan(nodes: list[Object], spec: dict[str, Any]) -> tuple[list[Action], bool, int]:
    """Actions for all nodes of the cluster, whether any has NFD labels, and how many GPU nodes there are."""
    actions: list[Action] = []
    nfd, gpu_nodes = False, 0
    for node in nodes:
        name, before = node["metadata"]["name"], labels_of(node)
        nfd = nfd or has_nfd_labels(before)
        after = wanted_labels(before, spec)
        if after.get(facts.value(_T, "nodes.present-label")) == "true":
            gpu_nodes += 1
            warning = workload(before, spec)[1]
            if warning:
                actions.append(Note(f"node {name}: {warning}"))
        changes: dict[str, str | None] = {key: text for key, text in after.items() if before.get(key) != text}
        changes.update({key: None for key in before if key not in after})
        if changes:
            actions.append(Patch("Node", name, {"metadata": {"labels": changes}}))
    return actions, nfd, gpu_nodes
