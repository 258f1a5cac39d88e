# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which nodes something restarts that running pods depend on: one drained node after the other, control planes last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _helm
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import takeover, workloads
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import ClusterView, some
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    INFO,
    OPEN,
    WARN,
    WILL_BE_FIXED_BY,
    Finding,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._labels import RUNTIME

_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def rolls(view: ClusterView) -> dict[str, dict[str, Any]]:
    """For each part of the release C(nodes) in their order, the C(labels) that each gets while it is drained, C(stale), the
    nodes that must lose such a label first because the part is not there yet, and C(unagreed), those nobody agreed to."""
    found = {part: _BY_PART[part](view) for part in view.release["install_order"]}
    return {part: roll for part, roll in found.items() if roll is not None}


def by_label(release: Mapping[str, Any]) -> bool:
    """Whether nodes get the runtime of a Helm release or CcRuntime one by one; C(release) has its C(node_selector)."""
    return RUNTIME in (release.get("node_selector") or {})


def _kata_deploy(view: ClusterView) -> dict[str, Any] | None:
    item = next((item for item in view.helm if item["chart"] == "kata-deploy"), None)
    if item is None:
        return None
    return _runtime(view, item, fresh=item["verdict"] == _helm.INSTALL)


def _coco_operator(view: ClusterView) -> dict[str, Any]:
    fresh = view.release["coco_operator"]["ccruntime"] not in view.facts["cc_runtimes"]
    return _runtime(view, {"node_selector": view.selector}, fresh)


def _runtime(view: ClusterView, part: Mapping[str, Any], fresh: bool) -> dict[str, Any]:
    if not by_label(part):
        return _roll(view, (), {})
    wanted = part["node_selector"][RUNTIME]
    marked = [name for name in view.in_run(view.kata) if view.nodes[name]["labels"].get(RUNTIME) == wanted]
    due = [name for name in view.in_run(view.kata) if fresh or name not in marked]
    return _roll(view, due, {RUNTIME: wanted}, stale=marked if fresh else ())


def _gpu_operator(view: ClusterView) -> dict[str, Any]:
    """Operands that restart containerd are held back from a new node until it is drained."""
    key = view.operands_off_key
    if not view.release["gpu_operator"].get("restarts_runtime"):
        return _roll(view, (), {})
    entries = workloads.named(view)
    due = [
        name
        for name in view.in_run(view.kata)
        if not entries[name]["labelled"] or (view.operands_off(name) and key in takeover.owned_labels(view.nodes[name]))
    ]
    return _roll(view, due, {key: None})


_BY_PART = {"kata_deploy": _kata_deploy, "coco_operator": _coco_operator, "gpu_operator": _gpu_operator}


def _roll(
    view: ClusterView, nodes: Iterable[str], labels: Mapping[str, str | None], stale: Iterable[str] = ()
) -> dict[str, Any]:
    ordered = sorted(nodes, key=lambda name: (_CONTROL_PLANE in view.nodes[name]["labels"], name))
    unagreed = [name for name in ordered if not view.named[name].get("maintenance_ok")]
    return {"nodes": ordered, "labels": dict(labels), "stale": sorted(stale), "unagreed": unagreed}


def restarts(view: ClusterView) -> list[Finding]:
    """What will restart where, before anybody agrees to it."""
    found = []
    planned = rolls(view)
    for agreed in (True, False):
        chosen = {
            part: [name for name in roll["nodes"] if (name not in roll["unagreed"]) is agreed]
            for part, roll in planned.items()
        }
        names = sorted({name for nodes in chosen.values() for name in nodes})
        parts = [part for part, nodes in chosen.items() if nodes]
        if names:
            found.append(_restart(names, parts, agreed))
    return found


def _restart(names: list[str], parts: list[str], agreed: bool) -> Finding:
    what = " and ".join(part.replace("_", "-") for part in parts)
    return Finding(
        "runtime_restart",
        INFO if agreed else WARN,
        f"containerd restarts on {some(names)} when {what} {'come' if len(parts) > 1 else 'comes'} there.",
        "Each of these nodes is drained for that, one after the other, and released afterwards."
        if agreed
        else "A node is drained for that, and nobody has agreed to it, so these nodes are not eligible.",
        "" if agreed else "set katagpu_reboot_ok: true for them.",
        (f"label {RUNTIME} of the Nodes",),
        state=WILL_BE_FIXED_BY if agreed else OPEN,
        by=parts[0] if agreed else "",
    )
