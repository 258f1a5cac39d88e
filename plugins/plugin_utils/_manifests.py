# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects and values that the roles hand to the API: built from release data and role inputs, nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.readiness import TEMPLATE_LABEL
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential
from ansible_collections.katagpu.cluster.plugins.plugin_utils._cluster_read import HELM_RELEASE
from ansible_collections.katagpu.cluster.plugins.plugin_utils._resources import gpu_resources

# What eviction leaves alone: DaemonSet pods come back by themselves, mirror pods belong to the kubelet.
_MIRROR = "kubernetes.io/config.mirror"

# What the collection creates for a while carries this label, and only that is ever deleted.
OWNED = {"app.kubernetes.io/managed-by": "katagpu.cluster"}


def named_nodes(
    hostvars: Mapping[str, Any], kata: Sequence[str], container: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The nodes that the inventory names, by their name in Kubernetes."""
    both = sorted(set(kata) & set(container))
    if both:
        raise KatagpuError(
            f"in kata_nodes and in container_nodes at once: {', '.join(both)}. A node has one workload; name it once."
        )
    nodes: dict[str, dict[str, Any]] = {}
    for role, hosts in (("kata", kata), ("container", container)):
        for host in hosts:
            variables = hostvars[host]
            name = str(variables.get("katagpu_node_name") or host)
            if name in nodes:
                raise KatagpuError(f"two hosts of the inventory are node {name}: correct katagpu_node_name of {host}.")
            record = variables.get("katagpu_record") or {}
            address = variables.get("ansible_host")
            consent = variables.get("node_maintenance_reboot_ok", variables.get("katagpu_reboot_ok"))
            node: dict[str, Any] = {
                "role": role,
                "host": host,
                "addresses": [str(address)] if address else [],
                "maintenance_ok": boolean(consent or False, strict=False),
            }
            node.update({key: record[key] for key in ("boot_id", "machine_id", "gpu_count") if record.get(key)})
            mode = _confidential.mode_of(variables)
            if role == "kata" and mode != _confidential.NONE:
                node["confidential"] = mode
            nodes[name] = node
    return nodes


def cc_runtime_manifests(
    manifests: Iterable[Mapping[str, Any]], node_selector: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The manifests with every CcRuntime restricted to the nodes of the selector.

    The upstream selector is replaced and not extended: a node needs all labels of a selector.
    """
    if not node_selector:
        raise KatagpuError(
            "the node selector of the CcRuntime is empty: containerd of every node would be replaced. Name a label."
        )
    result = []
    found = False
    for manifest in manifests:
        patched = copy.deepcopy(dict(manifest))
        if patched.get("kind") == "CcRuntime":
            found = True
            patched.setdefault("spec", {})["ccNodeSelector"] = {"matchLabels": dict(node_selector)}
        result.append(patched)
    if not found:
        raise KatagpuError("the runtime manifests contain no CcRuntime: check coco_operator_runtime_ref.")
    return result


def replaced_images(manifests: Iterable[Mapping[str, Any]], images: Mapping[str, str]) -> list[dict[str, Any]]:
    """The manifests with images taken from elsewhere: C(images) maps a name without tag to another one."""
    result = []
    for manifest in manifests:
        patched = copy.deepcopy(dict(manifest))
        template = ((patched.get("spec") or {}).get("template") or {}).get("spec") or {}
        for container in [*(template.get("initContainers") or []), *(template.get("containers") or [])]:
            for name, other in images.items():
                rest = str(container.get("image", "")).removeprefix(name)
                if rest != container.get("image") and rest[:1] in ("", ":", "@"):
                    container["image"] = other + rest
        result.append(patched)
    return result


def runtime_class_waits(names: Iterable[str]) -> list[dict[str, Any]]:
    """Each RuntimeClass as something to wait for."""
    return [{"api_version": "node.k8s.io/v1", "kind": "RuntimeClass", "name": name} for name in names]


def gpu_operator_waits(
    stack: Mapping[str, Any],
    namespace: str,
    kata: Sequence[str],
    container: Sequence[str],
    values: Mapping[str, Any] | None = None,
    confidential: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """What must be true before the GPU Operator counts as ready, per operand and per node.

    What the values of the chart switch off is not waited for, and RuntimeClasses of one's own take the place of the chart's.
    """
    values = values or {}
    operator = stack["gpu_operator"]
    waits: list[dict[str, Any]] = [
        {"api_version": "apps/v1", "kind": "Deployment", "namespace": namespace, "name": operator["deployment"]},
        {"api_version": "nvidia.com/v1", "kind": "ClusterPolicy", "name": operator["cluster_policy"]},
    ]
    for workload, nodes in (("kata", kata), ("container", container)):
        waits.extend(
            {
                "api_version": "apps/v1",
                "kind": "DaemonSet",
                "namespace": namespace,
                "name": operand["daemonset"],
                "until": {"nodes": list(nodes)},
            }
            for operand in stack["operands"][workload]
            if nodes and _switched_on(values, operand.get("enabled_by"))
        )
    if kata and stack["runtime_classes"]["operator"] and _switched_on(values, "kataManager"):
        waits.extend(runtime_class_waits(kata_classes(values) or stack["runtime_classes"]["operator"]))
    for name in kata:
        labels = _confidential.ready_labels(stack, (confidential or {}).get(name, _confidential.NONE))
        waits.append(_node_wait(name, labels=labels, allocatable_gpus=1))
    return waits


def _switched_on(values: Mapping[str, Any], block: str | None) -> bool:
    return (values.get(block or "") or {}).get("enabled") is not False


def kata_classes(values: Mapping[str, Any]) -> list[str]:
    """The RuntimeClasses that the values name for the Kata manager; none where they leave them to the chart."""
    config = (values.get("kataManager") or {}).get("config") or {}
    return [str(entry["name"]) for entry in config.get("runtimeClasses") or []]


def coco_operator_waits(stack: Mapping[str, Any], nodes: Sequence[str]) -> list[dict[str, Any]]:
    """What must be true before the CoCo runtime counts as installed.

    The status of the CcRuntime remembers nodes for ever, so what each node says of itself is waited for too; the DaemonSets
    are there for the reason when their pods cannot start.
    """
    coco = stack["coco_operator"]
    daemonset = {"api_version": "apps/v1", "kind": "DaemonSet", "namespace": coco["namespace"]}
    return [
        {
            "api_version": coco["api_version"],
            "kind": "CcRuntime",
            "name": coco["ccruntime"],
            "until": {"nodes": list(nodes)},
        },
        *({**daemonset, "name": name, "until": {"nodes": list(nodes)}} for name in coco["daemonsets"]),
        *(
            _node_wait(name, labels=coco["done_label"], container_runtime=coco["containerd_version"], ready=True)
            for name in nodes
        ),
        *runtime_class_waits(coco["runtime_classes"]),
    ]


def kata_deploy_waits(
    stack: Mapping[str, Any],
    namespace: str,
    nodes: Sequence[str],
    values: Mapping[str, Any] | None = None,
    confidential: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """What must be true before Kata counts as installed: a ready DaemonSet only says that the installer runs.

    In job mode there is none, and its Jobs are removed some time after they have ended; the label of the node says it all.
    """
    kata, modes = stack["kata_deploy"], confidential or {}
    jobs = (values or {}).get("deploymentMode") == "job"
    daemonset = {"api_version": "apps/v1", "kind": "DaemonSet", "namespace": namespace, "name": kata["daemonset"]}
    return [
        *([] if jobs else [{**daemonset, "until": {"nodes": list(nodes)}}]),
        *runtime_class_waits([*kata["runtime_classes"], *_confidential.runtime_classes(stack, modes.values())]),
        *(
            _node_wait(
                name,
                labels={
                    **kata["done_label"],
                    **_confidential.node_labels(stack, modes.get(name, _confidential.NONE)),
                },
                ready=True,
            )
            for name in nodes
        ),
    ]


def helm_namespace(name: str, release: str) -> dict[str, Any]:
    """A namespace whose pods may be privileged, as those of operands and installers are, with the note that the Helm release
    in it is ours."""
    metadata = {
        "name": name,
        "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
        "annotations": {f"{HELM_RELEASE}{release}": "managed"},
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _node_wait(name: str, **until: Any) -> dict[str, Any]:
    return {
        "api_version": "v1",
        "kind": "Node",
        "name": name,
        "until": {key: value for key, value in until.items() if value},
    }


def workload_pod(
    stack: Mapping[str, Any],
    node: str,
    resources: Mapping[str, Any],
    image: str,
    namespace: str,
    memory_mib: int,
    runtime_class: str,
    annotations: Mapping[str, str],
    timeout_seconds: int | None = None,
    taints: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The sample workload for one node, with the resource that the node really offers."""
    workload = stack["workload"]
    if not resources:
        raise KatagpuError(
            f"{node} offers no passthrough GPU resource (nvidia.com/*): the device plugin has found no bound GPU there."
        )
    limits = {sorted(resources)[0]: "1"}
    memory: dict[str, str] = {}
    # The legacy stack sizes the machine by an annotation, which the classes of the current one refuse.
    if "memory_annotation" in workload:
        memory[workload["memory_annotation"]] = str(memory_mib)
    else:
        limits["memory"] = f"{memory_mib}Mi"
    # The label kubernetes.io/hostname need not be the name of the node; this field always is.
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": workload["name"],
            "namespace": namespace,
            "labels": dict(OWNED),
            "annotations": {**workload["annotations"], **memory, **annotations},
        },
        "spec": {
            "runtimeClassName": runtime_class,
            "restartPolicy": workload["restart_policy"],
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
            },
            **({"activeDeadlineSeconds": timeout_seconds} if timeout_seconds else {}),
            **({"tolerations": [_toleration(taint) for taint in taints]} if taints else {}),
            "containers": [{"name": workload["container"], "image": image, "resources": {"limits": limits}}],
        },
    }


def _toleration(taint: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": taint["key"], "operator": "Exists", "effect": taint["effect"]}


def skipped_workloads(
    stack: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> list[dict[str, Any]]:
    """Results for nodes on which the sample workload would prove nothing: an annotation names a GPU by its index there, and
    the device plugin may have given the pod another one."""
    workload = stack["workload"]
    if not any("=" in str(value) for value in workload["annotations"].values()):
        return []
    amounts = {name: sum(gpu_resources(nodes.get(name, {}).get("allocatable") or {}).values()) for name in names}
    return [
        {
            "node": name,
            "name": workload["name"],
            "runtime_class": stack["runtime_classes"]["gpu"],
            "result": "skipped",
            "log": f"The node offers {amount} GPUs. The annotation of this release names GPU 0, and the pod may get another one.",
        }
        for name, amount in amounts.items()
        if amount > 1
    ]


def undrained_pods(pods: Iterable[Mapping[str, Any]]) -> list[str]:
    """The pods that should be gone from a drained node: neither finished, nor of a DaemonSet, nor mirrors.

    A pod whose DaemonSet was removed without it has no owner any more, but still the label by which k8s_drain passes it over.
    """
    left = []
    for pod in pods:
        metadata = pod["metadata"]
        owners = {owner["kind"] for owner in metadata.get("ownerReferences") or []}
        finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        of_daemonset = "DaemonSet" in owners or TEMPLATE_LABEL in (metadata.get("labels") or {})
        if finished or of_daemonset or _MIRROR in (metadata.get("annotations") or {}):
            continue
        left.append(f"{metadata['namespace']}/{metadata['name']}")
    return sorted(left)
