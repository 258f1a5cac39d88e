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
from ansible_collections.katagpu.cluster.plugins.plugin_utils._maintenance import begun_rolls

_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


OPERANDS = "operands"


def rolls(view: ClusterView) -> dict[str, dict[str, Any]]:
    """For each part of the release, and for operands that wait to be replaced, C(nodes) in their order, C(why), the C(labels)
    that each node gets while it is drained, C(stale), the nodes that must lose such a label first because the part is not
    there yet, and C(unagreed), those that nobody agreed to drain."""
    found = {part: _BY_PART[part](view) for part in view.release["install_order"]}
    found[OPERANDS] = _operands(view)
    return {part: roll for part, roll in found.items() if roll is not None}


def by_label(release: Mapping[str, Any]) -> bool:
    """Whether nodes get the runtime of a Helm release or CcRuntime one by one; C(release) has its C(node_selector)."""
    return RUNTIME in (release.get("node_selector") or {})


def _kata_deploy(view: ClusterView) -> dict[str, Any] | None:
    item = next((item for item in view.helm if item["chart"] == "kata-deploy"), None)
    if item is None:
        return None
    live = (view.facts["daemonsets"].get(item["namespace"]) or {}).get(view.release["kata_deploy"]["daemonset"])
    # Also where it selects by another mark now: Helm would bring it back to all nodes that still have the wanted one.
    fresh = live is None or live["node_selector"].get(RUNTIME) != item["node_selector"].get(RUNTIME)
    roll = _runtime(view, "kata_deploy", "kata-deploy", item, fresh)
    return {**roll, "missing": by_label(item) and live is None and item["verdict"] == _helm.SAME}


def _coco_operator(view: ClusterView) -> dict[str, Any]:
    fresh = view.release["coco_operator"]["ccruntime"] not in view.facts["cc_runtimes"]
    return _runtime(view, "coco_operator", "the CoCo operator's runtime", {"node_selector": view.selector}, fresh)


def _runtime(view: ClusterView, part: str, title: str, chart: Mapping[str, Any], fresh: bool) -> dict[str, Any]:
    if not by_label(chart):
        return _roll(view, (), "")
    wanted = chart["node_selector"][RUNTIME]
    marked = [name for name in view.in_run(view.kata) if view.nodes[name]["labels"].get(RUNTIME) == wanted]
    due = [name for name in view.in_run(view.kata) if fresh or name not in marked or _begun(view, name, part)]
    return _roll(view, due, f"containerd restarts when {title} comes", {RUNTIME: wanted}, marked if fresh else ())


def _begun(view: ClusterView, name: str, part: str) -> bool:
    """Whether a run was interrupted on the drained node, which it left cordoned."""
    return part in begun_rolls(view.nodes[name]["annotations"])


def _gpu_operator(view: ClusterView) -> dict[str, Any]:
    """Operands that restart containerd are held back from a new node until it is drained."""
    key = view.operands_off_key
    if not view.release["gpu_operator"].get("restarts_runtime"):
        return _roll(view, (), "")
    entries = workloads.named(view)
    due = [
        name
        for name in view.in_run(view.kata)
        if not entries[name]["labelled"]
        or not view.installed
        or _begun(view, name, "gpu_operator")
        or (view.operands_off(name) and key in takeover.owned_labels(view.nodes[name]))
    ]
    return _roll(view, due, "containerd restarts when the operands come", {key: None})


def _operands(view: ClusterView) -> dict[str, Any]:
    """Those that stay as they are until somebody deletes them, but for those that the operator itself replaces."""
    chart = next((item for item in view.helm if item["chart"] == "gpu-operator"), None)
    space = view.operator_release.partition("/")[0] if chart is not None and chart["on_delete"] else ""
    theirs = {
        operand["daemonset"]
        for operands in view.release["operands"].values()
        for operand in operands
        if operand.get("updated_by_operator")
    }
    pods = {}
    for name in view.in_run([*view.kata, *view.container]):
        outdated = (view.facts["outdated_pods"].get(space) or {}).get(name) or {}
        pods[name] = sorted(pod for pod, daemonset in outdated.items() if daemonset not in theirs)
    due = [name for name, found in pods.items() if found or _begun(view, name, OPERANDS)]
    roll = _roll(view, due, "operands of an earlier version are to be replaced")
    return {**roll, "pods": {name: pods[name] for name in due}}


_BY_PART = {"kata_deploy": _kata_deploy, "coco_operator": _coco_operator, "gpu_operator": _gpu_operator}


def _roll(
    view: ClusterView,
    nodes: Iterable[str],
    why: str,
    labels: Mapping[str, str | None] | None = None,
    stale: Iterable[str] = (),
) -> dict[str, Any]:
    ordered = sorted(nodes, key=lambda name: (_CONTROL_PLANE in view.nodes[name]["labels"], name))
    unagreed = [name for name in ordered if not view.named[name].get("maintenance_ok")]
    return {
        "nodes": ordered,
        "why": why,
        "labels": dict(labels or {}),
        "stale": sorted(stale),
        "unagreed": unagreed,
    }


def restarts(view: ClusterView) -> list[Finding]:
    """What will restart where, before anybody agrees to it."""
    found = []
    for part, roll in rolls(view).items():
        agreed = [name for name in roll["nodes"] if name not in roll["unagreed"]]
        by = "gpu_operator" if part == OPERANDS else part
        found += [_restart(roll["why"], names, by) for names in (agreed,) if names]
        found += [_restart(roll["why"], names, "") for names in (roll["unagreed"],) if names]
    return found


def _restart(why: str, names: list[str], by: str) -> Finding:
    return Finding(
        "runtime_restart",
        INFO if by else WARN,
        f"{why} on {some(names)}.",
        "Each of these nodes is drained for that, one after the other, and released afterwards."
        if by
        else "A node is drained for that, and nobody has agreed to it, so Kata nodes among them are not eligible.",
        "" if by else "set katagpu_reboot_ok: true for them.",
        (f"label {RUNTIME}, pods of the operands",),
        state=WILL_BE_FIXED_BY if by else OPEN,
        by=by,
    )
