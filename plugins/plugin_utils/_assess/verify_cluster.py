# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a provisioned cluster: evidence for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.readiness import describe, passthrough_gpus
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import ClusterView, some
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.verify_host import check


def checks_of(view: ClusterView, namespaces: Mapping[str, str]) -> list[dict[str, Any]]:
    """C(namespaces) maps each part of the stack to where it is installed."""
    checks = [
        _runtime_classes(view),
        *_coco(view, namespaces["coco_operator"]),
        *_kata_deploy(view, namespaces["kata_deploy"]),
        _policy(view),
    ]
    for role, names in (("kata", view.in_run(view.kata)), ("container", view.in_run(view.container))):
        if names:
            checks += _operands(view, role, names, namespaces["gpu_operator"])
        for name in names:
            checks += _node(view, role, name)
    checks.append(_limit(view))
    return checks


def _wanted_classes(view: ClusterView) -> list[str]:
    parts = [view.release.get(part) or {} for part in ("coco_operator", "kata_deploy")]
    kata = [name for part in parts for name in part.get("runtime_classes") or []]
    names = view.in_run(view.kata)
    variants = _confidential.runtime_classes(view.release, map(view.confidential, names))
    return [*kata, *variants, *_operator_classes(view)] if names else []


def _operator_classes(view: ClusterView) -> list[str]:
    """As the ClusterPolicy names them: an inventory may have classes of its own."""
    policy = view.facts["cluster_policies"].get(view.release["gpu_operator"]["cluster_policy"]) or {}
    wanted: list[str] = view.release["runtime_classes"]["operator"]
    return (policy.get("kata_classes") or wanted) if wanted and "kataManager" not in policy.get("disabled", ()) else []


def _runtime_classes(view: ClusterView) -> dict[str, Any]:
    wanted = _wanted_classes(view)
    present = view.facts["runtime_classes"]
    problems = [f"RuntimeClass {name} does not exist" for name in wanted if name not in present]
    skip = "" if wanted else "there is no Kata node"
    return check("V9", "", "The RuntimeClasses exist", problems, ", ".join(wanted), skip)


def _coco(view: ClusterView, namespace: str) -> list[dict[str, Any]]:
    coco = view.release.get("coco_operator")
    kata = view.in_run(view.kata)
    if not coco or not kata:
        return []
    deployment = view.facts["deployments"].get(namespace, {}).get(coco["deployment"])
    problems = []
    seen = ""
    if deployment is None:
        problems.append(f"the Deployment {namespace}/{coco['deployment']} does not exist")
    else:
        seen = f"{deployment['available']} of {deployment['replicas']} available, {deployment['containers']} containers"
        if not deployment["available"] or deployment["available"] < deployment["replicas"]:
            problems.append(f"the Deployment {coco['deployment']} has {seen}")
        if deployment["containers"] != coco["containers"]:
            problems.append(f"{coco['deployment']} has {seen}, {coco['containers']} wanted in a pod")
    if coco["service"] not in view.facts["services"].get(namespace, ()):
        problems.append(f"the Service {namespace}/{coco['service']} does not exist")
    first = check(
        "coco_operator", "", "The CoCo operator and its service run", problems, f"{coco['deployment']}: {seen}"
    )
    runtime = view.facts["cc_runtimes"].get(coco["ccruntime"])
    if runtime is None:
        return [first, check("cc_runtime", "", "The CcRuntime is complete", ["it does not exist"], "")]
    text = f"{coco['ccruntime']}: {runtime['completed']} of {runtime['total']} nodes, {runtime['failed']} failed"
    problems = []
    # Its counters only grow, also for nodes that are gone, so the nodes themselves say what they run.
    missing = [name for name in kata if name not in runtime["completed_nodes"]]
    if missing:
        problems.append(f"{text}; not completed on {', '.join(missing)}")
    elif runtime["completed"] == runtime["total"] and coco["finalizer"] not in runtime["finalizers"]:
        problems.append(f"the finalizer {coco['finalizer']} is missing")
    problems += _labels_missing(view, kata, coco["done_label"])
    problems += [
        f"{name} runs {view.nodes[name]['container_runtime']}, wanted {coco['containerd_version']}"
        for name in kata
        if view.nodes[name]["container_runtime"] != coco["containerd_version"]
    ]
    return [first, check("cc_runtime", "", "The CcRuntime is complete", problems, text)]


def _labels_missing(view: ClusterView, names: Iterable[str], wanted: Mapping[str, str]) -> list[str]:
    return [
        f"{name}: {key} is {view.nodes[name]['labels'].get(key)!r}, wanted {value!r}"
        for name in names
        for key, value in wanted.items()
        if view.nodes[name]["labels"].get(key) != value
    ]


def _kata_deploy(view: ClusterView, namespace: str) -> list[dict[str, Any]]:
    kata, names = view.release.get("kata_deploy"), view.in_run(view.kata)
    if not kata or not names:
        return []
    title = "kata-deploy has installed its runtime on every Kata node"
    found = view.facts["daemonsets"].get(namespace, {}).get(kata["daemonset"])
    if found is None and _by_jobs(view, namespace):
        return [check("kata_deploy", "", title, _labels_missing(view, names, kata["done_label"]), "installed by Jobs")]
    if found is None:
        return [check("kata_deploy", "", title, [f"the DaemonSet {namespace}/{kata['daemonset']} does not exist"], "")]
    text = f"desired {found['desired']}, updated {found['updated']}, available {found['available']}"
    problems = [] if found["current"] and found["available"] >= len(names) else [text]
    # Ready only means that the installer runs; the label says that it has come to its end.
    problems += _labels_missing(view, names, kata["done_label"])
    return [check("kata_deploy", "", title, problems, text)]


def _by_jobs(view: ClusterView, namespace: str) -> bool:
    releases = [item for item in view.facts["helm_releases"] if item["chart"] == "kata-deploy"]
    return any(item["namespace"] == namespace and item["values"].get("deploymentMode") == "job" for item in releases)


def _policy(view: ClusterView) -> dict[str, Any]:
    name = view.release["gpu_operator"]["cluster_policy"]
    policy = view.facts["cluster_policies"].get(name)
    title = "The ClusterPolicy is ready"
    if policy is None:
        return check("V11", "", title, [f"the ClusterPolicy {name} does not exist"], "")
    conditions = {item.get("type"): item for item in policy["conditions"]}
    ready = conditions.get("Ready") or {}
    wanted = view.release["readiness"]["cluster_policy"]
    text = f"state {policy['state']}, Ready is {describe(ready)}"
    good = (
        policy["state"] == wanted["state"] and ready.get("status") == "True" and ready.get("reason") == wanted["reason"]
    )
    others = [name for name in [*view.kata, *view.container] if name not in view.in_run([name])]
    others += view.foreign_gpu_nodes
    if not good and others:
        # The operands of the nodes of this run are checked by name.
        skip = f"{text}; {some(others)} {'is' if len(others) == 1 else 'are'} not part of this run and may hold it back"
        return check("V11", "", title, [], "", skip)
    return check("V11", "", title, [] if good else [text], text)


def _operands(view: ClusterView, role: str, names: list[str], namespace: str) -> Iterable[dict[str, Any]]:
    daemonsets = view.facts["daemonsets"].get(namespace, {})
    policy = view.facts["cluster_policies"].get(view.release["gpu_operator"]["cluster_policy"]) or {}
    for operand in view.release["operands"][role]:
        name = operand["daemonset"]
        title = f"Operand {name} runs on the {role} nodes"
        found = daemonsets.get(name)
        if operand.get("enabled_by") in policy.get("disabled", ()):
            off = f"{operand['enabled_by']} is switched off in the ClusterPolicy"
            there = [f"{off}, and the DaemonSet {namespace}/{name} is still there"] if found is not None else []
            yield check("V11", "", title, there, "", off)
            continue
        if found is None:
            yield check("V11", "", title, [f"the DaemonSet {namespace}/{name} does not exist"], "")
            continue
        text = f"desired {found['desired']}, updated {found['updated']}, available {found['available']}"
        problems = [] if found["current"] else ["its controller has not seen the last change"]
        labelled = [node for node, item in view.nodes.items() if item["labels"].get(operand["deploy_label"]) == "true"]
        unlabelled = [node for node in names if node not in labelled]
        if unlabelled:
            problems.append(f"the label {operand['deploy_label']} is missing on {', '.join(unlabelled)}")
        if found["desired"] < max(1, len(names)):
            problems.append(f"{text}, wanted on {len(names)} nodes")
        elif not found["updated"] == found["available"] == found["desired"] and len(names) == found["desired"]:
            problems.append(text)
        elif found["available"] < len(names):
            problems.append(f"{text}, wanted on {len(names)} nodes")
        yield check("V11", "", title, problems, text)


def _node(view: ClusterView, role: str, name: str) -> Iterable[dict[str, Any]]:
    node = view.nodes[name]
    labels = node["labels"]
    workload = view.release["labels"]["workload"]
    problems = [] if node["ready"] else ["the Node is not Ready"]
    if node["unschedulable"]:
        problems.append("the Node is cordoned")
    if labels.get(workload["key"]) != workload[role]:
        problems.append(f"{workload['key']} is {labels.get(workload['key'])!r}, wanted {workload[role]!r}")
    yield check("node", name, "The Node is Ready and labelled", problems, f"{workload['key']}={workload[role]}")
    # Only labels of operands count: upstream's driver manager leaves the label of a component that is none empty for ever.
    # Other tools stamp empty deploy labels of operands that this release does not have; those hold nothing back.
    operands = {operand["deploy_label"] for operand in view.release["operands"][role]}
    stuck = [
        f"{key} is {value!r}"
        for key, value in sorted(labels.items())
        if key.startswith("nvidia.com/gpu.deploy.") and ("paused" in value or (not value and key in operands))
    ]
    yield check(
        "V12", name, "No operand is paused on the node", stuck, "no deploy label of an operand is empty or paused"
    )
    yield _allocatable(view, role, name, node)
    if role == "kata":
        yield from _cc_mode(view, name)
        yield _schedulable(view, name, node)


def _cc_mode(view: ClusterView, name: str) -> Iterable[dict[str, Any]]:
    wanted = _confidential.ready_labels(view.release, view.confidential(name))
    if wanted:
        problems = _labels_missing(view, [name], wanted)
        evidence = ", ".join(f"{key}={value}" for key, value in wanted.items())
        yield check("cc_mode", name, "The confidential-computing mode of the GPUs is as wanted", problems, evidence)


def _allocatable(view: ClusterView, role: str, name: str, node: Mapping[str, Any]) -> dict[str, Any]:
    title = "The GPUs of the node are allocatable"
    allocatable, capacity = dict(node["allocatable"]), dict(node["capacity"])
    shown = ", ".join(f"{key}={value}" for key, value in sorted(allocatable.items())) or "no nvidia.com resource"
    problems = [f"capacity and allocatable differ: {capacity} and {allocatable}"] if capacity != allocatable else []
    if role == "kata":
        amount = sum(passthrough_gpus(allocatable).values())
        wanted = view.named[name].get("gpu_count")
        if amount == 0 or (wanted is not None and amount != int(wanted)):
            problems.append(f"{shown}; wanted {wanted if wanted is not None else 'at least 1'} passthrough GPUs")
    else:
        resource = view.release["resource"]["container"]
        if not str(allocatable.get(resource, "0")).isdigit() or int(allocatable.get(resource, 0)) < 1:
            problems.append(f"{shown}; wanted at least 1 {resource}")
    return check("V13", name, title, problems, shown)


def _schedulable(view: ClusterView, name: str, node: Mapping[str, Any]) -> dict[str, Any]:
    class_name, own = _confidential.runtime_class(view.release, view.confidential(name)), _operator_classes(view)
    if own and class_name not in own:
        class_name = own[0]
    title = f"RuntimeClass {class_name} can be scheduled on the node"
    found = view.facts["runtime_classes"].get(class_name)
    if found is None:
        return check("V15", name, title, [f"RuntimeClass {class_name} does not exist"], "")
    problems = [
        f"the selector wants {key}={value}, the node has {node['labels'].get(key)!r}"
        for key, value in found["node_selector"].items()
        if node["labels"].get(key) != value
    ]
    problems += [
        f"a pod of the class asks for {amount} {resource}, the node offers {node['extended'].get(resource, 'none')}"
        for resource, amount in found["overhead"].items()
        if "/" in resource and int(node["extended"].get(resource, 0)) < int(amount)
    ]
    handlers = node["runtime_handlers"]
    if handlers and found["handler"] not in handlers:
        problems.append(f"the node's runtime has no handler {found['handler']}")
    return check("V15", name, title, problems, f"handler {found['handler']}, selector {found['node_selector']}")


def _limit(view: ClusterView) -> dict[str, Any]:
    limit = int(view.release["workload"]["max_gpus"])
    problems = [
        f"pod {pod['namespace']}/{pod['name']} asks for {sum(passthrough_gpus(pod['resources']).values())} GPUs"
        for pod in view.facts["gpu_pods"]
        if sum(passthrough_gpus(pod["resources"]).values()) > limit
    ]
    return check(
        "gpu_limit",
        "",
        f"No pod asks for more than {limit} passthrough GPU",
        problems,
        f"{len(view.facts['gpu_pods'])} GPU pods",
    )
