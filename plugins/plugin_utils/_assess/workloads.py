# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the GPU Operator takes each node for: by its label, and where it has none, by the default workload."""

from __future__ import annotations

from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import ClusterView, some
from ansible_collections.katagpu.cluster.plugins.plugin_utils._confidential import runtime_class
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    BLOCK,
    OPEN,
    WARN,
    WILL_BE_FIXED_BY,
    Finding,
)

VM_VGPU = "vm-vgpu"
NODE_LABELS = "node_labels"


def named(view: ClusterView) -> dict[str, dict[str, Any]]:
    """For each named node that exists what decides how the operator treats it; C(eligible_nodes) reads this."""
    answer = {}
    for name in [*view.kata, *view.container]:
        role = "kata" if name in view.kata else "container"
        wanted = view.release["labels"]["workload"][role]
        value = label_of(view, name)
        answer[name] = {
            "role": role,
            **({"runtime_class": runtime_class(view.release, view.confidential(name))} if role == "kata" else {}),
            "workload": value,
            "labelled": value == wanted,
            # Without our label the operator would treat it as something else than the inventory says. A VM node by default
            # counts too, because a host that is not eligible may have a block that binding its GPU would run into.
            "exposed": not view.operands_off(name)
            and value not in (wanted, VM_VGPU)
            and (role == "kata" or view.default_workload != wanted),
        }
    return answer


def label_of(view: ClusterView, name: str) -> str | None:
    value = view.nodes[name]["labels"].get(view.release["labels"]["workload"]["key"])
    return None if value is None else str(value)


def unprotected(view: ClusterView) -> list[str]:
    if view.eligible is None:
        return []
    return sorted(name for name, entry in named(view).items() if entry["exposed"] and name not in view.eligible)


def to_protect(view: ClusterView) -> list[str]:
    """Where consent takes effect. Operands are not taken from under running pods."""
    return [name for name in unprotected(view) if view.protect and not view.gpu_pods_on(name)]


def labelled_not_eligible(view: ClusterView) -> list[str]:
    if view.eligible is None:
        return []
    return sorted(name for name, entry in named(view).items() if entry["labelled"] and name not in view.eligible)


def protection(view: ClusterView) -> list[Finding]:
    """Nodes of the inventory that this run leaves alone, and the operator would not."""
    safe = to_protect(view)
    found = []
    for names, fixed in ((safe, True), ([name for name in unprotected(view) if name not in safe], False)):
        if names:
            found.append(_unprotected(view, names, fixed))
    return found + [_labelled(name) for name in labelled_not_eligible(view)]


def _unprotected(view: ClusterView, names: list[str], fixed: bool) -> Finding:
    changing = not view.installed or view.operator_changes
    off = view.operands_off_key
    driver = ", and would install its driver on the host" if view.default_workload == "container" else ""
    way = f"set katagpu_protect_ineligible: true, which labels exactly these nodes {off}=false until they are eligible"
    if view.protect:
        pods = [pod for name in names for pod in view.gpu_pods_on(name)]
        way = f"end the GPU pods on them ({some(pods)}), so that katagpu_protect_ineligible can take effect"
    return Finding(
        "unprotected_nodes",
        BLOCK if changing else WARN,
        f"{some(names)} of the inventory {'is' if len(names) == 1 else 'are'} not eligible in this run and without the"
        " workload label.",
        f"The GPU Operator takes every such GPU node for a {view.default_workload} node{driver}.",
        f"make them eligible (the report says per node what is missing; run without --limit), or {way}.",
        (f"labels {view.release['labels']['workload']['key']} and {off} of the Nodes",),
        state=WILL_BE_FIXED_BY if fixed else OPEN,
        by=NODE_LABELS if fixed else "",
    )


def _labelled(name: str) -> Finding:
    return Finding(
        "labelled_not_eligible",
        WARN,
        "the node is not eligible in this run and keeps its workload label.",
        "The GPU Operator goes on managing it; this run neither waits for it nor runs a workload on it.",
        "see in the report why it is not eligible, and run again for this node.",
        (f"Node {name} .metadata.labels",),
        node=name,
        changed="Its label was not changed.",
    )


def label_flips(view: ClusterView) -> list[Finding]:
    """Another workload takes the GPUs from whoever has them now."""
    workload = view.release["labels"]["workload"]
    found = []
    for name, entry in named(view).items():
        value, wanted = entry["workload"], workload[entry["role"]]
        now = value if value in workload["allowed"] else view.default_workload
        # vm-vgpu has a finding of its own.
        if now not in (wanted, VM_VGPU) and view.gpu_pods_on(name):
            found.append(_c07(view, name, f"its workload would change from {now} to {wanted}"))
    return found


def _c07(view: ClusterView, name: str, change: str) -> Finding:
    pods = view.gpu_pods_on(name)
    return Finding(
        "C07",
        BLOCK,
        f"GPU pods run on the node ({some(pods)}), and {change}.",
        "The operator would replace the driver of GPUs that are in use.",
        "delete or drain these pods, then run again.",
        tuple(f"pod {pod}" for pod in pods),
        node=name,
    )
