# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that GPU Operator 23.9 makes, built from the fact table and the ClusterPolicy."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.lab.standins import facts, gpu_labels
from tests.lab.standins.actions import Object, owner_of

_T = facts.GPU_OPERATOR
# These two come from spec.daemonsets.labels, which the chart fills in.
_FROM_SPEC = ("helm.sh/chart", "app.kubernetes.io/managed-by")
_KATA_HASH = "nvidia.com/kata-manager.last-applied-hash"


def digest(content: Any) -> str:
    """A short stable hash."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def operand_rows() -> list[dict[str, Any]]:
    """DaemonSets of the operator itself (the NFD worker belongs to the chart), in the order of its states."""
    order: list[str] = facts.value(_T, "states.order")
    rows = [one for one in facts.prefixed(_T, "daemonset.") if isinstance(one, dict) and "state" in one]
    return sorted(rows, key=lambda one: order.index(one["state"]))


def image(block: dict[str, Any]) -> str:
    """repository/image:version of a component."""
    return f"{block.get('repository', '')}/{block.get('image', '')}:{block.get('version', '')}"


def _init_image(container: str, fact: dict[str, Any], spec: dict[str, Any]) -> str:
    if container == "k8s-driver-manager":
        block = spec.get(fact["image_block"]) or {}
        return image(block.get("driverManager") or block.get("manager") or {})
    return image(spec.get("validator") or {})


def _env(fact: dict[str, Any], spec: dict[str, Any]) -> list[Object]:
    env: list[Object] = [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    env.append({"name": "OPERATOR_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}})
    block = spec.get(fact["image_block"]) or {}
    if fact["name"] == "nvidia-kata-manager":
        variable = facts.value(_T, "daemonset.kata-manager.env")["artifacts_env"]
        env.append({"name": variable, "value": kata_config(spec)["artifactsDir"]})
    return env + [{"name": one["name"], "value": str(one.get("value", ""))} for one in block.get("env") or []]


def _container(name: str, fact: dict[str, Any], spec: dict[str, Any]) -> Object:
    block = spec.get(fact["image_block"]) or {}
    container: Object = {
        "name": name,
        "image": image(block),
        "imagePullPolicy": block.get("imagePullPolicy") or "IfNotPresent",
        "env": _env(fact, spec),
        "securityContext": {"privileged": True},
    }
    if block.get("args"):
        container["args"] = list(block["args"])
    if block.get("resources"):
        container["resources"] = block["resources"]
    if name in fact["pre_stop"]:
        container["lifecycle"] = {"preStop": {"exec": {"command": fact["pre_stop"][name]}}}
    return container


def daemonset(fact: dict[str, Any], policy: Object, namespace: str) -> Object:
    """One operand DaemonSet."""
    spec = policy["spec"]
    common = spec.get("daemonsets") or {}
    given = dict(common.get("labels") or {})

    def labels(observed: dict[str, str], extra: dict[str, str]) -> dict[str, str]:
        return {key: text for key, text in observed.items() if key not in _FROM_SPEC} | extra

    pod: Object = {
        "serviceAccountName": fact["service_account"],
        "nodeSelector": fact["node_selector"],
        "tolerations": common.get("tolerations") or fact["tolerations"],
        "priorityClassName": common.get("priorityClassName") or fact["priority_class"],
        "terminationGracePeriodSeconds": fact["grace_seconds"],
        "initContainers": [
            {
                "name": name,
                "image": _init_image(name, fact, spec),
                "env": [
                    *_env(fact, spec),
                    {"name": "DEFAULT_GPU_WORKLOAD_CONFIG", "value": gpu_labels.default_workload(spec)},
                ],
                "securityContext": {"privileged": True},
            }
            for name in fact["init_containers"]
        ],
        "containers": [_container(name, fact, spec) for name in fact["containers"]],
    }
    if fact["host_pid"]:
        pod["hostPID"] = True
    if fact["runtime_class"]:
        pod["runtimeClassName"] = (spec.get("operator") or {}).get("runtimeClass") or fact["runtime_class"]
    secrets = (spec.get(fact["image_block"]) or {}).get("imagePullSecrets")
    if secrets:
        pod["imagePullSecrets"] = [{"name": one} for one in secrets]
    # "app" and "part-of" stay as they are: the selector is immutable.
    kept = {key: text for key, text in given.items() if key not in ("app", "app.kubernetes.io/part-of")}
    template: Object = {"metadata": {"labels": labels(fact["pod_labels"], kept)}, "spec": pod}
    annotations = dict(common.get("annotations") or {})
    if fact["name"] == "nvidia-kata-manager":
        annotations[_KATA_HASH] = digest(kata_config(spec))
    if annotations:
        template["metadata"]["annotations"] = annotations
    body: Object = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": fact["name"],
            "namespace": namespace,
            "labels": labels(fact["labels"], given),
            "ownerReferences": owner_of(policy),
        },
        "spec": {
            "selector": {"matchLabels": fact["selector"]},
            "updateStrategy": _strategy(fact, common),
            "template": template,
        },
    }
    key = facts.value(_T, "daemonset.hash")
    body["metadata"]["annotations"] = dict(common.get("annotations") or {}) | {key: digest(body)}
    return body


def _strategy(fact: dict[str, Any], common: dict[str, Any]) -> Object:
    if "OnDelete" in (fact["update_strategy"], common.get("updateStrategy")):
        return {"type": "OnDelete"}
    limit = str((common.get("rollingUpdate") or {}).get("maxUnavailable") or "1")
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": limit if "%" in limit else int(limit)}}


def kata_config(spec: dict[str, Any]) -> dict[str, Any]:
    """kataManager.config with its default directory."""
    config = dict((spec.get("kataManager") or {}).get("config") or {})
    fallback = facts.value(_T, "values.kata-manager")["config"]["artifactsDir"]
    return {
        "artifactsDir": config.get("artifactsDir") or fallback,
        "runtimeClasses": config.get("runtimeClasses") or [],
    }


def kata_config_map(policy: Object, namespace: str) -> Object:
    """The manager's configuration; written as JSON, which is YAML too, because the node agent has no YAML reader."""
    names = facts.value(_T, "daemonset.kata-manager.env")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names["config_map"],
            "namespace": namespace,
            "labels": {"app": "nvidia-kata-manager"},
            "ownerReferences": owner_of(policy),
        },
        "data": {names["config_key"]: json.dumps(kata_config(policy["spec"]), indent=1, sort_keys=True)},
    }


def service_account(name: str, policy: Object, namespace: str) -> Object:
    """ServiceAccount of an operand."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": owner_of(policy)},
    }


def runtime_classes(policy: Object) -> list[Object]:
    """nvidia always; the Kata classes of kataManager.config while it is enabled (row runtimeclass.kata-template)."""
    spec = policy["spec"]
    component = {"app.kubernetes.io/component": "gpu-operator"}
    made = [_runtime_class((spec.get("operator") or {}).get("runtimeClass") or "nvidia", component, None, policy)]
    if not (spec.get("kataManager") or {}).get("enabled"):
        return made
    template = facts.value(_T, "runtimeclass.kata-template")
    for one in kata_config(spec)["runtimeClasses"]:
        selector = template["nodeSelector"] | dict(one.get("nodeSelector") or {})
        made.append(_runtime_class(one["name"], template["labels"], selector, policy))
    return made


def _runtime_class(name: str, labels: dict[str, str], selector: dict[str, str] | None, policy: Object) -> Object:
    body: Object = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": name, "labels": dict(labels), "ownerReferences": owner_of(policy)},
        "handler": name,
    }
    if selector is not None:
        body["scheduling"] = {"nodeSelector": selector}
    return body
