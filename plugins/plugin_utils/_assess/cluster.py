# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API tells about whether this stack can be installed here, and on which nodes."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import (
    cc_mode,
    permissions,
    ranges,
    rolls,
    takeover,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import PREVIEW, ClusterView, some
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.stack import (
    generations,
    half_installed,
    helm_state,
    owner_change,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.workloads import VM_VGPU, label_flips, protection
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    BLOCK,
    INFO,
    WARN,
    WILL_BE_FIXED_BY,
    Finding,
)

Judge = Callable[[ClusterView], list[Finding]]


def kubernetes_range(view: ClusterView) -> list[Finding]:
    version, allowed = view.facts["server_version"], view.release["kubernetes"]
    if ranges.inside(version, allowed) is not False:
        return []
    return [
        Finding(
            "kubernetes_range",
            BLOCK,
            f"the cluster runs Kubernetes {version}; the release {view.release['name']} is for {ranges.shown(allowed)}.",
            "Nobody has validated this combination.",
            "choose the release that fits the cluster (katagpu_release), or accept the finding with a reason.",
            ("GET /version",),
            acceptable=True,
        )
    ]


def container_runtime(view: ClusterView) -> list[Finding]:
    found = []
    allowed = view.release["containerd"]
    for name in view.kata:
        runtime = str(view.nodes[name].get("container_runtime") or "")
        engine, _separator, version = runtime.partition("://")
        if runtime and engine != "containerd":
            found.append(
                Finding(
                    "container_runtime",
                    BLOCK,
                    f"the container runtime is {runtime}.",
                    "Kata with GPUs is supported on containerd only.",
                    "take the node out of kata_nodes, or give it containerd.",
                    (f"Node {name} .status.nodeInfo.containerRuntimeVersion",),
                    node=name,
                )
            )
        elif ranges.inside(version, allowed) is False:
            # Another major version has another configuration, which nobody could accept into working.
            acceptable = version.partition(".")[0] == str(allowed["max"]).partition(".")[0]
            found.append(
                Finding(
                    "containerd_range",
                    BLOCK,
                    f"the node runs containerd {version}; the release {view.release['name']} is for"
                    f" {ranges.shown(allowed)}.",
                    "The runtime would be written to a configuration that this containerd does not read.",
                    "install a containerd of that range, or choose a release for this one (katagpu_release)"
                    + (", or accept the finding with a reason." if acceptable else "."),
                    (f"Node {name} .status.nodeInfo.containerRuntimeVersion",),
                    node=name,
                    acceptable=acceptable,
                )
            )
    return found


def openshift(view: ClusterView) -> list[Finding]:
    if "clusterversions.config.openshift.io" not in view.facts["crds"]:
        return []
    return [
        Finding(
            "openshift",
            BLOCK,
            "this is an OpenShift cluster.",
            "Its nodes are configured by the Machine Config Operator and run CRI-O; what this collection writes would be undone.",
            "use OpenShift sandboxed containers and NVIDIA's documentation for them.",
            ("CRD clusterversions.config.openshift.io",),
        )
    ]


def guest_memory(view: ClusterView) -> list[Finding]:
    overhead = int(view.release["guest"]["overhead_mib"])
    needed = view.workload_memory_mib + overhead
    return [
        Finding(
            "guest_memory",
            BLOCK,
            f"the node can give pods {view.nodes[name]['memory_mib']} MiB; a GPU pod with {view.workload_memory_mib} MiB and the"
            f" overhead of its class, {overhead} MiB, needs {needed} MiB.",
            "Such a pod would stay Pending for ever, and memory of a virtual machine with a GPU cannot be overcommitted.",
            "lower verify_workload_memory_mib, or accept the finding with a reason if the node is for smaller pods.",
            (f"Node {name} .status.allocatable.memory",),
            node=name,
            acceptable=True,
        )
        for name in view.kata
        if view.workload_memory_mib and (view.nodes[name]["memory_mib"] or needed) < needed
    ]


def missing_nodes(view: ClusterView) -> list[Finding]:
    found = []
    for name in view.missing:
        near = difflib.get_close_matches(name, view.nodes, 1, 0.6)
        hint = f" Did you mean {near[0]}?" if near else ""
        known = ", ".join(sorted(view.nodes)[:PREVIEW]) or "none"
        found.append(
            Finding(
                "node_missing",
                BLOCK,
                f"the cluster has no node of this name.{hint}",
                "It can neither be labelled nor drained.",
                f"set katagpu_node_name to the name that kubectl get nodes shows ({known}).",
                ("GET /api/v1/nodes",),
                node=name,
            )
        )
    return found


def not_ready(view: ClusterView) -> list[Finding]:
    return [
        Finding(
            "node_not_ready",
            WARN,
            "the Node is not Ready.",
            "Operands do not start on it until it is.",
            "look whether its kubelet runs.",
            (f"Node {name} .status.conditions",),
            node=name,
        )
        for name in [*view.kata, *view.container]
        if not view.nodes[name]["ready"]
    ]


def node_identity(view: ClusterView) -> list[Finding]:
    owners = {
        address: name
        for name, node in view.nodes.items()
        for addresses in node["addresses"].values()
        for address in addresses
    }
    found = []
    for name in [*view.kata, *view.container]:
        wanted = view.named[name]
        for address in wanted.get("addresses") or []:
            owner = owners.get(str(address))
            if owner and owner != name and _is_ip(str(address)):
                found.append(_identity(name, f"the host's address {address} belongs to the Node {owner}."))
        mine = str(wanted.get("machine_id") or "").replace("-", "").lower()
        theirs = str(view.nodes[name].get("machine_id") or "").replace("-", "").lower()
        if mine and theirs and mine != theirs:
            found.append(_identity(name, f"the host has machine id {mine}, the Node has {theirs}."))
    return found


def _identity(name: str, fact: str) -> Finding:
    return Finding(
        "node_identity",
        BLOCK,
        fact,
        "Host and Node are different machines: another node would be drained than is rebooted.",
        "correct katagpu_node_name or ansible_host of this host.",
        (f"Node {name} .status.addresses, .status.nodeInfo",),
        node=name,
    )


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def foreign_gpu_nodes(view: ClusterView) -> list[Finding]:
    found = []
    foreign = view.foreign_gpu_nodes
    everyone = view.default_workload == view.release["labels"]["workload"]["kata"]
    if foreign:
        effect = "bound to VFIO" if everyone else "given the operator's driver"
        found.append(
            Finding(
                "foreign_gpu_nodes",
                # Where an operator runs already it has labelled them; a changed default or changed values hit them again.
                WARN if view.installed and not everyone and not view.operator_changes else BLOCK,
                f"the GPU nodes {some(foreign)} are not in the inventory.",
                f"The GPU Operator labels every GPU node of the cluster, so their GPUs would be {effect}.",
                "name them in kata_nodes or container_nodes, label them nvidia.com/gpu.deploy.operands=false, or accept"
                " the finding with a reason.",
                ("GET /api/v1/nodes",),
                # With all nodes being VM nodes, accepting would take GPUs away from hosts nobody named.
                acceptable=not everyone,
            )
        )
    unknown = sorted(name for name, node in view.nodes.items() if name not in view.named and not node["nfd"])
    if unknown and not view.installed:
        found.append(
            Finding(
                "gpu_nodes_unknown",
                BLOCK,
                f"whether the nodes {some(unknown)} have GPUs is not known: Node Feature Discovery has not labelled them,"
                " and they are not in the inventory.",
                "The GPU Operator brings Node Feature Discovery and then labels every node that has a GPU.",
                "name those with GPUs in the inventory, and accept the finding with a reason if the rest has none.",
                ("label feature.node.kubernetes.io/*",),
                acceptable=not everyone,
            )
        )
    return found


def workload_labels(view: ClusterView) -> list[Finding]:
    workload = view.release["labels"]["workload"]
    found = []
    for name, node in view.nodes.items():
        value = node["labels"].get(workload["key"])
        ours = view.named.get(name)
        if value is None or value in workload["allowed"]:
            if value == VM_VGPU and ours is not None:
                found.append(_vgpu(name))
            continue
        found.append(
            Finding(
                "E01",
                BLOCK if ours is not None else WARN,
                f"the label {workload['key']} has the value {value!r}, which the GPU Operator does not know.",
                f"The operator silently takes the node for a {view.default_workload} node.",
                f"set one of {', '.join(workload['allowed'])}.",
                (f"Node {name} .metadata.labels",),
                node=name,
                state=WILL_BE_FIXED_BY if ours is not None else "open",
                by="node_labels" if ours is not None else "",
            )
        )
    return found


def _vgpu(name: str) -> Finding:
    return Finding(
        "vm_vgpu",
        BLOCK,
        "the node is labelled vm-vgpu.",
        "Nodes with virtual GPUs are left alone; Kata and containers need the whole GPU.",
        "remove that label by hand once nothing uses the virtual GPUs, then run again.",
        (f"Node {name} .metadata.labels",),
        node=name,
    )


def running_pods(view: ClusterView) -> list[Finding]:
    busy = [pod for pod in view.facts["gpu_pods"] if pod["node"] in view.kata]
    if not busy:
        return []
    names = some([f"{pod['namespace']}/{pod['name']}" for pod in busy])
    return [Finding("gpu_pods_running", INFO, f"pods use GPUs of Kata nodes: {names}.", evidence=("GET /api/v1/pods",))]


JUDGES: tuple[Judge, ...] = (
    kubernetes_range,
    container_runtime,
    missing_nodes,
    not_ready,
    node_identity,
    foreign_gpu_nodes,
    workload_labels,
    label_flips,
    protection,
    generations,
    helm_state,
    owner_change,
    openshift,
    cc_mode.cc_mode,
    cc_mode.mode_change,
    guest_memory,
    takeover.foreign_operator,
    takeover.foreign_values,
    takeover.foreign_runtime,
    takeover.selected_not_eligible,
    takeover.operands_off,
    takeover.taints,
    takeover.node_feature_discovery,
    permissions.permissions,
    half_installed,
    running_pods,
    rolls.restarts,
)


def plan(view: ClusterView) -> dict[str, Any]:
    """By phase, what differs; empty where nothing is to do."""
    workload = view.release["labels"]["workload"]
    labels = {}
    for names, value in ((view.kata, workload["kata"]), (view.container, workload["container"])):
        for name in names:
            if view.nodes[name]["labels"].get(workload["key"]) != value:
                labels[name] = {workload["key"]: value}
    coco = view.release.get("coco_operator") or {}
    runtime = view.facts["cc_runtimes"].get(coco.get("ccruntime", ""))
    complete = bool(runtime) and set(view.kata) <= set(runtime["completed_nodes"])
    kata = view.release.get("kata_deploy") or {}
    undone = [
        name
        for name in view.kata
        for key, value in kata.get("done_label", {}).items()
        if view.nodes[name]["labels"].get(key) != value
    ]
    operator = view.release["gpu_operator"]
    policy = view.facts["cluster_policies"].get(operator["cluster_policy"])
    helm = [item for item in view.helm if item["verdict"] != "same" and item["chart"] != "kata-deploy"]
    coco_plan: dict[str, Any] = {}
    if coco and view.kata and not complete:
        coco_plan = {"version": coco["version"], "crd": coco["crd"] in view.facts["crds"], "runtime": bool(runtime)}
    operator_plan: dict[str, Any] = {}
    if policy is None or helm:
        operator_plan = {
            "chart_version": operator["chart_version"],
            "installed": policy is not None,
            "helm": [{"name": item["name"], "verdict": item["verdict"]} for item in helm],
        }
    return {
        "node_labels": {"nodes": labels} if labels else {},
        "coco_operator": coco_plan,
        "kata_deploy": {"chart_version": kata["chart_version"], "nodes": undone} if undone else {},
        "gpu_operator": operator_plan,
    }
