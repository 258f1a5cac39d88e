# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which stack the cluster has already, and whether something unfinished is in the way."""

from __future__ import annotations

from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _helm, _owner
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import ClusterView, some
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.rolls import by_label
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding


def generation(view: ClusterView) -> dict[str, Any]:
    """Which stack the cluster has, from what only that stack leaves."""
    evidence = []
    charts = {item["version"] for item in view.facts["helm_releases"] if item["chart"] == "gpu-operator"}
    charts |= {
        policy["chart"].removeprefix("gpu-operator-")
        for policy in view.facts["cluster_policies"].values()
        if policy["chart"].startswith("gpu-operator-")
    }
    classes = view.facts["runtime_classes"]
    kata_deploy = any(item["managed_by"] == "kata-deploy" for item in classes.values())
    # What only the stack of CoCo operator and Kata manager leaves.
    legacy = [f"CcRuntime {name}" for name in sorted(view.facts["cc_runtimes"])]
    legacy += [
        f"RuntimeClass {name} of the Kata manager" for name, item in sorted(classes.items()) if item["kata_manager"]
    ]
    evidence += [f"chart gpu-operator {version}" for version in sorted(charts)]
    evidence += legacy
    evidence += ["RuntimeClasses of kata-deploy"] if kata_deploy else []
    name = "none"
    if evidence:
        prefixes = view.release["fingerprint"]["gpu_operator_charts"]
        ours = charts and all(any(_v(version).startswith(prefix) for prefix in prefixes) for version in charts)
        name = view.release["name"] if ours else ("unknown" if charts else "partial")
    return {
        "name": name,
        "evidence": evidence,
        "charts": sorted(charts),
        "kata_deploy": kata_deploy,
        "legacy": legacy,
    }


def _v(version: str) -> str:
    return version if version.startswith("v") else f"v{version}"


def generations(view: ClusterView) -> list[Finding]:
    seen = generation(view)
    found = []
    by_kata_deploy = "kata_deploy" in view.release["fingerprint"]
    other = seen["legacy"] if by_kata_deploy else (["RuntimeClasses of kata-deploy"] if seen["kata_deploy"] else [])
    if other:
        found.append(
            Finding(
                "two_generations",
                BLOCK,
                f"the cluster has parts of another stack: {', '.join(other)}; the release {view.release['name']}"
                f" installs Kata by {'kata-deploy' if by_kata_deploy else 'the CoCo operator'}.",
                "Both replace the node's runtime configuration; nodes end up with handlers nobody serves.",
                "choose the release that is installed, or remove that stack first: the workloads, the GPU Operator, the"
                " CcRuntime (wait until it is gone) or kata-deploy, and the CoCo operator last.",
                ("GET runtimeclasses, ccruntimes",),
            )
        )
    if seen["name"] == "unknown":
        found.append(
            Finding(
                "two_generations",
                BLOCK,
                f"the GPU Operator is installed in version {', '.join(seen['charts'])}, not in that of the release"
                f" {view.release['name']}.",
                "An upgrade in place restarts vfio-manager, which takes GPUs from running virtual machines.",
                "choose the installed release (katagpu_release; one of your own in katagpu_releases needs a fingerprint that fits its"
                " chart version), or remove the installed stack first: its workloads, the GPU Operator, the Kata runtime.",
                tuple(seen["evidence"]),
            )
        )
    return found


def helm_state(view: ClusterView) -> list[Finding]:
    found = []
    for item in view.facts["helm_releases"]:
        if _helm.unfinished(item["status"]):
            found.append(_pending(item["namespace"], item["name"], item["revision"], item["status"]))
    for item in view.helm:
        if item["verdict"] == "foreign_name":
            found.append(
                Finding(
                    "foreign_name",
                    BLOCK,
                    f"the chart is installed under another name: {item['installed']['namespace']}/"
                    f"{item['installed']['name']}.",
                    f"A second {item['chart']} would fight with the first.",
                    item["fix"],
                    ("Secrets sh.helm.release.v1.*",),
                )
            )
    # What goes to drained nodes one by one takes nothing from running machines.
    upgraded = [
        item["chart"]
        for item in view.helm
        if item["verdict"] == "upgrade" and not item["on_delete"] and not by_label(item)
    ]
    busy = sorted({pod["node"] for pod in view.facts["gpu_pods"] if pod["node"] in view.kata})
    if busy and upgraded:
        effect = (
            "Changed operands restart vfio-manager, which unbinds the GPUs of running virtual machines."
            if "gpu-operator" in upgraded
            else "A changed kata-deploy replaces the runtime below running virtual machines and restarts containerd."
        )
        found.append(
            Finding(
                "C07",
                BLOCK,
                f"GPU pods run on {some(busy)}, and the Helm release of {' and '.join(upgraded)} would change.",
                effect,
                "delete or drain these pods, then run again"
                + (", or set katagpu_operand_update: on_delete." if upgraded == ["gpu-operator"] else "."),
                tuple(f"pod {pod['namespace']}/{pod['name']}" for pod in view.facts["gpu_pods"] if pod["node"] in busy),
            )
        )
    return found


def owner_change(view: ClusterView) -> list[Finding]:
    """Without its vfio-manager the operator unbinds all GPUs of all nodes at once, and with a new one it takes them."""
    chart = next((item for item in view.helm if item["chart"] == "gpu-operator"), None)
    policy = view.facts["cluster_policies"].get(view.release["gpu_operator"]["cluster_policy"])
    blocks = set(_owner.operands(view.release))
    if chart is None or policy is None or not blocks or not _passed_through(view, blocks):
        return []
    wanted, now = (_owner.HOST if blocks <= set(found["disabled"]) else _owner.OPERATOR for found in (chart, policy))
    if wanted == now:
        return []
    space, name = chart["namespace"], chart["name"]
    return [
        Finding(
            "vfio_owner",
            BLOCK,
            f"{_owner.VARIABLE} is {wanted}, and the GPU Operator of this cluster is installed for {now}.",
            "The change would take the GPUs of all Kata nodes at once from whoever uses them."
            if now == _owner.OPERATOR
            else "vfio-manager would take the GPUs of all Kata nodes at once, also from running virtual machines.",
            f"set {_owner.VARIABLE}: {now} again. To change it, end all GPU pods, uninstall the chart (helm uninstall {name} -n"
            f" {space}) and wait until its operands are gone. Then run site.yml with katagpu_reboot_ok: hosts whose GPUs have to"
            " be bound again are drained and rebooted one after the other, and the operator is installed for the new owner.",
            (
                f"ClusterPolicy {view.release['gpu_operator']['cluster_policy']} .spec.{', .spec.'.join(sorted(blocks))}",
            ),
        )
    ]


def _passed_through(view: ClusterView, blocks: set[str]) -> bool:
    """Whether any node, also one that nobody named, has GPUs that a vfio-manager binds or would bind."""
    workload = view.release["labels"]["workload"]
    keys = {one["deploy_label"] for one in view.release["operands"]["kata"] if one.get("enabled_by") in blocks}
    return any(
        node["labels"].get(workload["key"]) == workload["kata"]
        or any(node["labels"].get(key) == "true" for key in keys)
        for node in view.nodes.values()
    )


def _pending(namespace: str, name: str, revision: int, status: str) -> Finding:
    return Finding(
        "F16",
        BLOCK,
        f"the Helm release {namespace}/{name} is {status} (revision {revision}).",
        "Helm refuses every operation on it: another one is at work or was interrupted.",
        f"wait if it is still at work, else {_helm.way_back(namespace, name, revision, status)}, then run again.",
        (f"Secret {namespace}/sh.helm.release.v1.{name}.v{revision}",),
    )


def half_installed(view: ClusterView) -> list[Finding]:
    return [
        Finding(
            "D12",
            BLOCK,
            f"the CcRuntime {name} is being deleted and keeps its finalizer.",
            "A new one cannot be created until it is gone.",
            "wait until it is gone; where it does not go, look at the uninstall DaemonSets of the CoCo operator.",
            (f"CcRuntime {name}",),
        )
        for name, item in view.facts["cc_runtimes"].items()
        if item["deleting"]
    ]
