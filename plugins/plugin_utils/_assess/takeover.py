# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to others and would be changed, or stands in the way, without anybody having said so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import ClusterView, some
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, WARN, Finding

_OWNED_LABELS = "katagpu.io/owned-labels"
# Kubernetes sets these itself, and they go by themselves.
_OF_KUBERNETES = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")


def selected_not_eligible(view: ClusterView) -> list[Finding]:
    """The Kata runtime goes to every node that its selector matches, and restarts containerd there."""
    if view.eligible is None or not _runtime_comes(view):
        return []
    hit = [name for name in view.selected if name not in view.eligible]
    if not hit:
        return []
    shown = ", ".join(f"{key}={value}" for key, value in view.selector.items())
    return [
        Finding(
            "selected_not_eligible",
            BLOCK,
            f"{some(hit)} {'is' if len(hit) == 1 else 'are'} not eligible in this run and {'carries' if len(hit) == 1 else 'carry'}"
            f" the label {shown}, which selects the nodes of the Kata runtime.",
            "The runtime would be installed there too, and containerd restarted.",
            "make these nodes eligible (the report says what is missing), or remove that label from them.",
            tuple(f"Node {name} .metadata.labels" for name in hit[:3]),
        )
    ]


def _runtime_comes(view: ClusterView) -> bool:
    """Whether this run installs or changes the runtime. One that is there has gone to these nodes already."""
    if any(item["chart"] == "kata-deploy" and item["verdict"] == "upgrade" for item in view.helm):
        return True
    coco, kata = view.release.get("coco_operator"), view.release.get("kata_deploy")
    if coco:
        return coco["ccruntime"] not in view.facts["cc_runtimes"]
    # Without its values it is not known by which mark it selects.
    known = any(item["chart"] == "kata-deploy" for item in view.helm)
    return (
        kata is not None and known and not any(item["chart"] == "kata-deploy" for item in view.facts["helm_releases"])
    )


def foreign_operator(view: ClusterView) -> list[Finding]:
    """Helm refuses objects of another release, but only after labels are written and a runtime is installed."""
    found = []
    for name, policy in view.facts["cluster_policies"].items():
        found += _foreign("gpu_operator", view.operator_release, policy["helm_release"], f"the ClusterPolicy {name}")
    for name, item in view.facts["runtime_classes"].items():
        if item["managed_by"] == "kata-deploy":
            found += _foreign("kata_deploy", view.kata_release, item["helm_release"], f"the RuntimeClass {name}")
    # One is enough: they all belong to the same release.
    return list({finding.fix: finding for finding in found}.values())


def _foreign(role: str, wanted: str, owner: str, what: str) -> list[Finding]:
    if not wanted or not owner or owner == wanted:
        return []
    namespace, _slash, name = owner.partition("/")
    chart = role.replace("_", "-")
    return [
        Finding(
            "foreign_name",
            BLOCK,
            f"{chart} is installed under another name: {what} belongs to the Helm release {owner}, and this run would install"
            f" {wanted}.",
            f"A second {chart} would fight with the first.",
            f"set {role}_namespace: {namespace} and {role}_name: {name}, or uninstall it.",
            (f"{what} .metadata.annotations",),
        )
    ]


def foreign_values(view: ClusterView) -> list[Finding]:
    """A Helm upgrade sets every value that is not named back to the chart's default."""
    return [
        Finding(
            "foreign_values",
            BLOCK,
            f"the Helm release {item['namespace']}/{item['name']} was not installed by this collection, and an upgrade would"
            f" drop its values {some(item['dropped'])}.",
            "They would go back to the defaults of the chart, for every node of the cluster.",
            f"repeat the values that are to stay in {item['values_variable']}; name those that are to go with null.",
            (f"helm get values {item['name']} -n {item['namespace']}",),
        )
        for item in view.helm
        if item["verdict"] == "upgrade" and item["dropped"] and not item["adopted"]
    ]


def foreign_runtime(view: ClusterView) -> list[Finding]:
    """The CcRuntime of somebody else would be rewritten to another set of nodes, which its operator cannot do."""
    coco = view.release.get("coco_operator")
    runtime = view.facts["cc_runtimes"].get(coco["ccruntime"]) if coco else None
    if coco is None or runtime is None or runtime["deleting"] or dict(runtime["node_selector"]) == dict(view.selector):
        return []
    return [
        Finding(
            "cc_runtime_selector",
            BLOCK,
            f"the CcRuntime {coco['ccruntime']} exists and selects nodes by {runtime['node_selector'] or 'nothing'},"
            f" not by {dict(view.selector)}.",
            "The operator does not move an installed runtime: its counters would never agree again.",
            "set coco_operator_node_selector to the selector that it has, or delete the CcRuntime and wait until it is gone.",
            (f"CcRuntime {coco['ccruntime']} .spec.ccNodeSelector",),
        )
    ]


def operands_off(view: ClusterView) -> list[Finding]:
    """Nobody but who wrote it may remove the label that keeps the GPU Operator off a node."""
    key = view.operands_off_key
    return [
        Finding(
            "operands_off",
            BLOCK,
            f"the node carries {key}=false, and this collection did not write it.",
            "The GPU Operator deploys nothing on it, so no GPU of it would ever be offered.",
            f"if it is to be provisioned: kubectl label node {name} {key}-",
            (f"Node {name} .metadata.labels",),
            node=name,
        )
        for name in [*view.kata, *view.container]
        if view.operands_off(name) and key not in owned_labels(view.nodes[name])
    ]


def owned_labels(node: Mapping[str, Any]) -> list[str]:
    try:
        keys = json.loads(node["annotations"].get(_OWNED_LABELS) or "[]")
    except (ValueError, RecursionError):
        return []
    return [str(key) for key in keys] if isinstance(keys, list) else []


def taints(view: ClusterView) -> list[Finding]:
    """A taint that a part of the stack does not tolerate keeps that part off the node, without an error anywhere."""
    found = []
    for role, names in (("kata", view.kata), ("container", view.container)):
        parts = [part for part in view.release["install_order"] if role == "kata" or part == "gpu_operator"]
        for name in names:
            for taint in view.nodes[name]["taints"]:
                refused = [part for part in parts if not _tolerated(taint, view.tolerations_of(part))]
                if not _lasting(taint) or not refused:
                    continue
                shown = f"{taint['key']}={taint.get('value', '')}:{taint['effect']}".replace("=:", ":")
                found.append(
                    Finding(
                        "taint",
                        BLOCK,
                        f"the node has the taint {shown}, which {' and '.join(refused)} {'does' if len(refused) == 1 else 'do'}"
                        " not tolerate.",
                        "Its pods would never be scheduled on the node.",
                        _way_out(refused),
                        (f"Node {name} .spec.taints",),
                        node=name,
                        acceptable=True,
                    )
                )
    return found


def _lasting(taint: Mapping[str, Any]) -> bool:
    return taint.get("effect") in ("NoSchedule", "NoExecute") and not str(taint["key"]).startswith(_OF_KUBERNETES)


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    for item in tolerations:
        key, effect = item.get("key") or "", item.get("effect") or ""
        if (not key or key == taint["key"]) and (not effect or effect == taint["effect"]):
            exists = item.get("operator") == "Exists"
            if exists or (key and str(item.get("value") or "") == str(taint.get("value") or "")):
                return True
    return False


def _way_out(parts: list[str]) -> str:
    ways = {
        "gpu_operator": "add a toleration to gpu_operator_values.daemonsets.tolerations",
        "kata_deploy": "add a toleration to kata_deploy_tolerations",
        "coco_operator": "remove the taint, because the pods of this CoCo operator take no tolerations",
    }
    return "; ".join(ways[part] for part in parts) + "."


def node_feature_discovery(view: ClusterView) -> list[Finding]:
    """Two masters write the same labels and fight over them."""
    others = [name for name in view.facts["nfd"] if not name.startswith(f"{view.operator_release.partition('/')[0]}/")]
    bringing = [item for item in view.helm if item["brings_nfd"] and item["verdict"] in ("install", "upgrade")]
    if not others or not bringing:
        return []
    return [
        Finding(
            "E02",
            BLOCK if bringing[0]["verdict"] == "install" else WARN,
            f"Node Feature Discovery runs already ({some(others)}), and the chart of the GPU Operator would bring a second one.",
            "Both write the same node labels; GPUs then appear and disappear for the operator.",
            "set gpu_operator_values: {nfd: {enabled: false}}, or accept the finding with a reason.",
            ("DaemonSets labelled as node-feature-discovery",),
            acceptable=True,
        )
    ]
