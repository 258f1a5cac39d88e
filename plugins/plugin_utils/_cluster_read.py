# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads of the Kubernetes API for C(cluster_info): raw objects in, compact facts out; nothing is judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import (
    METADATA_LIST,
    Api,
    ApiError,
    list_all,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.paths import Kinds, identity
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.readiness import (
    TEMPLATE_ANNOTATION,
    TEMPLATE_LABEL,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _compare, _helm, _permissions
from ansible_collections.katagpu.cluster.plugins.plugin_utils._rights import NEW_NAMESPACE, Review

_CRD_GROUPS = (
    "nvidia.com",
    "confidentialcontainers.org",
    "nfd.k8s-sigs.io",
    "nfd.kubernetes.io",
    "config.openshift.io",
)
_VENDOR_FEATURES = ".feature.node.kubernetes.io"
_LABELS = (
    "katagpu.io/",
    "nvidia.com/",
    "katacontainers.io/",
    "node.kubernetes.io/",
    "node-role.kubernetes.io/",
    "cc-",
    "kubernetes.io/",
)
_CC_RUNTIMES = "/apis/confidentialcontainers.org/v1beta1/ccruntimes"
_POLICIES = "/apis/nvidia.com/v1/clusterpolicies"
_WORKERS = 8
_UNITS: dict[str, int] = {"": 1, "k": 1000, **{unit: 1000**power for power, unit in enumerate("MGT", 2)}}
_UNITS.update({f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)})
# With the name of a Helm release: an annotation of its namespace that says that the release is ours.
HELM_RELEASE = "katagpu.io/helm-"


def read(
    api: Api, namespaces: Iterable[str], wanted: Sequence[Review] = (), of_manifests: Iterable[str] = ()
) -> dict[str, Any]:
    """One entry for each reader; what may not be read is named in C(denied) and is empty. C(wanted) are rights to ask for.
    Secrets, where Helm keeps its releases, are read in C(namespaces), and Services in those C(of_manifests)."""
    by_helm, by_manifests = set(namespaces), set(of_manifests)
    spaces = sorted(by_helm | by_manifests)
    readers: dict[str, Callable[[], Any]] = {
        "version": lambda: api.get("/version"),
        "nodes": lambda: list_all(api, "/api/v1/nodes"),
        "runtime_classes": lambda: list_all(api, "/apis/node.k8s.io/v1/runtimeclasses"),
        "crds": lambda: list_all(api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", accept=METADATA_LIST),
        "cc_runtimes": lambda: list_all(api, _CC_RUNTIMES),
        "cluster_policies": lambda: list_all(api, _POLICIES),
        "pods": lambda: list_all(api, "/api/v1/pods"),
        # Charts and the manifests of Node Feature Discovery label it differently.
        "nfd": lambda: [
            item
            for selector in ("app.kubernetes.io/name=node-feature-discovery", "app=nfd")
            for item in list_all(api, "/apis/apps/v1/daemonsets", {"labelSelector": selector}, accept=METADATA_LIST)
        ],
    }
    for space in spaces:
        readers[f"namespace {space}"] = _getter(api, f"/api/v1/namespaces/{space}")
        readers[f"daemonsets {space}"] = _lister(api, f"/apis/apps/v1/namespaces/{space}/daemonsets")
        readers[f"deployments {space}"] = _lister(api, f"/apis/apps/v1/namespaces/{space}/deployments")
        if space in by_manifests:
            readers[f"services {space}"] = _lister(api, f"/api/v1/namespaces/{space}/services")
        if space in by_helm:
            query = {"labelSelector": _helm.SELECTOR}
            readers[f"helm {space}"] = _lister(api, f"/api/v1/namespaces/{space}/secrets", query)
    denied: list[str] = []
    with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        results = {name: pool.submit(_guard, name, reader, denied) for name, reader in readers.items()}
        asked = _permissions.ask(api, wanted, pool)
        raw = {name: future.result() for name, future in results.items()}
        granted = _permissions.granted(api, wanted, asked, pool)
    if all(raw[f"namespace {space}"] for space in spaces):
        granted.pop(NEW_NAMESPACE, None)
    return {"raw": raw, "denied": sorted(denied), "permissions": granted, "namespaces": spaces}


def _lister(api: Api, path: str, query: Mapping[str, str] | None = None) -> Callable[[], Any]:
    return lambda: list_all(api, path, query)


def _getter(api: Api, path: str) -> Callable[[], Any]:
    def read_one() -> Any:
        try:
            return api.get(path)
        except ApiError as error:
            if error.status == 404:
                return {}
            raise

    return read_one


def _guard(name: str, reader: Callable[[], Any], denied: list[str]) -> Any:
    try:
        return reader()
    except ApiError as error:
        if error.status != 403:
            raise
        denied.append(name)
        return []


def facts_of(read_result: Mapping[str, Any], labels: Iterable[str] = ()) -> dict[str, Any]:
    """Compact facts out of raw objects; all nodes are still in it, with C(labels) beside those that are always kept."""
    kept = frozenset(labels)
    raw = read_result["raw"]
    version = raw["version"] if isinstance(raw["version"], Mapping) else {}
    spaces = read_result["namespaces"]
    return {
        "server_version": str(version.get("gitVersion", "")).lstrip("v"),
        "nodes": {item["metadata"]["name"]: _node(item, kept) for item in raw["nodes"]},
        "runtime_classes": {item["metadata"]["name"]: _runtime_class(item) for item in raw["runtime_classes"]},
        "crds": sorted(
            item["metadata"]["name"] for item in raw["crds"] if item["metadata"]["name"].endswith(_CRD_GROUPS)
        ),
        "cc_runtimes": {item["metadata"]["name"]: _cc_runtime(item) for item in raw["cc_runtimes"]},
        "cluster_policies": {item["metadata"]["name"]: _policy(item) for item in raw["cluster_policies"]},
        "daemonsets": {space: _by_name(raw[f"daemonsets {space}"], _daemonset) for space in spaces},
        "outdated_pods": {space: _outdated(raw[f"daemonsets {space}"], raw["pods"]) for space in spaces},
        "deployments": {space: _by_name(raw[f"deployments {space}"], _deployment) for space in spaces},
        "services": {
            space: sorted(item["metadata"]["name"] for item in raw.get(f"services {space}", ())) for space in spaces
        },
        "helm_releases": [item for space in spaces for item in _helm.latest(raw.get(f"helm {space}", ()))],
        "gpu_pods": [found for pod in raw["pods"] if (found := _gpu_pod(pod))["resources"]],
        "nfd": sorted(f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}" for item in raw["nfd"]),
        "adopted": sorted(f"{space}/{name}" for space in spaces for name in _adopted(raw[f"namespace {space}"])),
        "permissions": {str(review): allowed for review, allowed in read_result["permissions"].items()},
        "rights": read_result["permissions"],
        "denied": read_result["denied"],
    }


def _by_name(items: Iterable[Mapping[str, Any]], compact: Callable[[Mapping[str, Any]], Any]) -> dict[str, Any]:
    return {item["metadata"]["name"]: compact(item) for item in items}


def _node(item: Mapping[str, Any], kept: frozenset[str]) -> dict[str, Any]:
    metadata, status, spec = item["metadata"], item.get("status") or {}, item.get("spec") or {}
    info = status.get("nodeInfo") or {}
    conditions = {entry["type"]: entry.get("status") for entry in status.get("conditions") or []}
    labels = metadata.get("labels") or {}
    addresses: dict[str, list[str]] = {}
    for entry in status.get("addresses") or []:
        addresses.setdefault(entry["type"], []).append(entry["address"])
    return {
        "ready": conditions.get("Ready") == "True",
        "boot_id": info.get("bootID"),
        "machine_id": info.get("machineID"),
        "kernel": info.get("kernelVersion"),
        "architecture": info.get("architecture"),
        "container_runtime": info.get("containerRuntimeVersion"),
        "kubelet": info.get("kubeletVersion"),
        "addresses": addresses,
        "labels": {key: value for key, value in labels.items() if _is_kept(key) or key in kept},
        "nfd": any(key.startswith("feature.node.kubernetes.io/") for key in labels),
        "annotations": {k: v for k, v in (metadata.get("annotations") or {}).items() if k.startswith("katagpu.io/")},
        "taints": spec.get("taints") or [],
        "unschedulable": bool(spec.get("unschedulable")),
        "allocatable": {k: v for k, v in (status.get("allocatable") or {}).items() if k.startswith("nvidia.com/")},
        "extended": {
            key: value
            for key, value in (status.get("allocatable") or {}).items()
            if "/" in key and not key.startswith("nvidia.com/")
        },
        "memory_mib": memory_mib(str((status.get("allocatable") or {}).get("memory", ""))),
        "capacity": {k: v for k, v in (status.get("capacity") or {}).items() if k.startswith("nvidia.com/")},
        "runtime_handlers": [str(entry.get("name", "")) for entry in status.get("runtimeHandlers") or []],
    }


def memory_mib(quantity: str) -> int | None:
    """Nodes report memory in Ki, and administrators may reserve it in other units."""
    match = re.match(r"^(\d+)([KMGT]i|[kMGT])?$", quantity)
    if match is None:
        return None
    return int(match.group(1)) * _UNITS[match.group(2) or ""] // 1024**2


def _is_kept(key: str) -> bool:
    """Labels of features that a vendor has defined, such as confidential computing, have the vendor before the same domain."""
    return key.startswith(_LABELS) or _is_gpu_label(key) or key.partition("/")[0].endswith(_VENDOR_FEATURES)


def _is_gpu_label(key: str) -> bool:
    return key.startswith("feature.node.kubernetes.io/pci-") and "10de" in key


def _adopted(namespace: Any) -> list[str]:
    """Helm releases that this collection has installed or taken over before."""
    metadata = namespace.get("metadata") or {} if isinstance(namespace, Mapping) else {}
    return [key[len(HELM_RELEASE) :] for key in metadata.get("annotations") or {} if key.startswith(HELM_RELEASE)]


def _runtime_class(item: Mapping[str, Any]) -> dict[str, Any]:
    labels = item["metadata"].get("labels") or {}
    return {
        "handler": item.get("handler"),
        "node_selector": (item.get("scheduling") or {}).get("nodeSelector") or {},
        "overhead": (item.get("overhead") or {}).get("podFixed") or {},
        "managed_by": labels.get("app.kubernetes.io/managed-by", ""),
        "kata_manager": labels.get("nvidia.com/kata-runtime-class") == "true",
        "helm_release": _helm_owner(item["metadata"]),
    }


def _helm_owner(metadata: Mapping[str, Any]) -> str:
    """Namespace and name of the Helm release that made an object, or nothing."""
    annotations = metadata.get("annotations") or {}
    name = annotations.get("meta.helm.sh/release-name")
    return f"{annotations.get('meta.helm.sh/release-namespace', '')}/{name}" if name else ""


def _cc_runtime(item: Mapping[str, Any]) -> dict[str, Any]:
    status = item.get("status") or {}
    install = status.get("installationStatus") or {}
    selector = (item.get("spec") or {}).get("ccNodeSelector") or {}
    return {
        "total": int(status.get("totalNodesCount") or 0),
        "completed": int((install.get("completed") or {}).get("completedNodesCount") or 0),
        "completed_nodes": (install.get("completed") or {}).get("completedNodesList") or [],
        "failed": int((install.get("failed") or {}).get("failedNodesCount") or 0),
        "finalizers": item["metadata"].get("finalizers") or [],
        "node_selector": selector.get("matchLabels") or {},
        "deleting": "deletionTimestamp" in item["metadata"],
    }


def _policy(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata, status, spec = item["metadata"], item.get("status") or {}, item.get("spec") or {}
    kata = spec.get("kataManager") or {}
    return {
        "state": status.get("state"),
        "conditions": status.get("conditions") or [],
        "chart": (metadata.get("labels") or {}).get("helm.sh/chart", ""),
        "helm_release": _helm_owner(metadata),
        "sandbox_workloads": spec.get("sandboxWorkloads") or {},
        "disabled": sorted(
            key for key, block in spec.items() if isinstance(block, Mapping) and block.get("enabled") is False
        ),
        "kata_classes": [
            str(entry.get("name", "")) for entry in (kata.get("config") or {}).get("runtimeClasses") or []
        ],
    }


def _daemonset(item: Mapping[str, Any]) -> dict[str, Any]:
    status, template = item.get("status") or {}, ((item.get("spec") or {}).get("template") or {}).get("spec") or {}
    return {
        "desired": int(status.get("desiredNumberScheduled") or 0),
        "updated": int(status.get("updatedNumberScheduled") or 0),
        "available": int(status.get("numberAvailable") or 0),
        "current": int(status.get("observedGeneration") or 0) >= int(item["metadata"].get("generation") or 0),
        "node_selector": template.get("nodeSelector") or {},
    }


def _outdated(daemonsets: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """By node, pods of an earlier template that stay until somebody deletes them, each with its DaemonSet."""
    waiting = {
        item["metadata"].get("uid"): item["metadata"]
        for item in daemonsets
        if ((item.get("spec") or {}).get("updateStrategy") or {}).get("type") == "OnDelete"
    }
    found: dict[str, dict[str, str]] = {}
    for pod in pods:
        metadata, node = pod["metadata"], (pod.get("spec") or {}).get("nodeName")
        owner = next(
            (waiting[one["uid"]] for one in metadata.get("ownerReferences") or [] if one["uid"] in waiting), None
        )
        if owner is None or not node or "deletionTimestamp" in metadata:
            continue
        if (metadata.get("labels") or {}).get(TEMPLATE_LABEL) != (owner.get("annotations") or {}).get(
            TEMPLATE_ANNOTATION
        ):
            found.setdefault(node, {})[metadata["name"]] = owner["name"]
    return found


def _deployment(item: Mapping[str, Any]) -> dict[str, Any]:
    status = item.get("status") or {}
    template = ((item.get("spec") or {}).get("template") or {}).get("spec") or {}
    return {
        "replicas": int((item.get("spec") or {}).get("replicas") or 0),
        "available": int(status.get("availableReplicas") or 0),
        "updated": int(status.get("updatedReplicas") or 0),
        "containers": len(template.get("containers") or []),
    }


def _gpu_pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    spec = pod.get("spec") or {}
    resources: dict[str, int] = {}
    if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
        for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
            for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
                if name.startswith("nvidia.com/") and str(amount).isdigit():
                    resources[name] = resources.get(name, 0) + int(amount)
    return {
        "namespace": pod["metadata"].get("namespace", ""),
        "name": pod["metadata"]["name"],
        "node": spec.get("nodeName", ""),
        "runtime_class": spec.get("runtimeClassName", ""),
        "resources": resources,
    }


def object_verdicts(api: Api, manifests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each manifest, in its order: is it there, and does it say what is wanted."""
    kinds = Kinds(api)
    with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        return list(pool.map(lambda manifest: _object_verdict(api, kinds, manifest), manifests))


def _object_verdict(api: Api, kinds: Kinds, manifest: Mapping[str, Any]) -> dict[str, Any]:
    api_version, kind, namespace, name = identity(manifest)
    answer: dict[str, Any] = {
        "api_version": api_version,
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "paths": [],
    }
    path = kinds.collection(api_version, kind, namespace)
    if path is None:
        return {**answer, "verdict": _compare.KIND_UNKNOWN}
    try:
        live = api.get(f"{path}/{name}")
    except ApiError as error:
        if error.status != 404:
            raise
        # A kind known by heart whose CRD is missing answers 404 for the whole group.
        known = api_version.count(".") == 0 or _group_exists(api, api_version)
        return {**answer, "verdict": _compare.ABSENT if known else _compare.KIND_UNKNOWN}
    paths = _compare.differences(manifest, live)
    return {**answer, "verdict": _compare.DIFFERS if paths else _compare.SAME, "paths": paths}


def _group_exists(api: Api, api_version: str) -> bool:
    try:
        return bool(api.get(f"/apis/{api_version}").get("resources"))
    except ApiError as error:
        if error.status == 404:
            return False
        raise
