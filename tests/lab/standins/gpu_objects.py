# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that the GPU Operator makes, built from the facts of its release (`table`) and the ClusterPolicy."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.lab.standins import facts, gpu_labels
from tests.lab.standins.actions import Object, labels_of, owner_of

# These two come from spec.daemonsets.labels, which the chart fills in.
_FROM_SPEC = ("helm.sh/chart", "app.kubernetes.io/managed-by")
_KATA_HASH = "nvidia.com/kata-manager.last-applied-hash"


def digest(content: Any) -> str:
    """A short stable hash."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def operand_rows(table: str) -> list[dict[str, Any]]:
    """DaemonSets of the operator itself (the NFD worker belongs to the chart), in the order of its states."""
    order: list[str] = facts.value(table, "states.order")
    rows = [one for one in facts.prefixed(table, "daemonset.") if isinstance(one, dict) and "state" in one]
    return sorted(rows, key=lambda one: order.index(one["state"]))


def image(block: dict[str, Any]) -> str:
    """repository/image:version of a component."""
    return f"{block.get('repository', '')}/{block.get('image', '')}:{block.get('version', '')}"


def _init_image(table: str, container: str, fact: dict[str, Any], spec: dict[str, Any]) -> str:
    """Row daemonset.init-images."""
    block = spec.get(fact["image_block"]) or {}
    if container == "k8s-driver-manager":
        return image(block.get("driverManager") or block.get("manager") or {})
    own = facts.value(table, "daemonset.init-images").get(container)
    return image(spec.get(own or "validator") or {})


def os_tag(table: str, nodes: list[Object]) -> str:
    """What is appended to the tag of the driver image (row driver.tag): of the first GPU node by name."""
    fact = facts.value(table, "driver.tag")
    for node in sorted(nodes, key=lambda one: str(one["metadata"]["name"])):
        labels = labels_of(node)
        name, version = (labels.get(fact[key], "") for key in ("id_label", "version_label"))
        if gpu_labels.has_gpu_label(table, labels) and name and version:
            return name + (version.partition(".")[0] if name in fact["major_only"] else version)
    return ""


def at(spec: dict[str, Any], path: str) -> Any:
    """A field of the ClusterPolicy by its dotted path; None where it is absent."""
    value: Any = spec
    for word in path.split("."):
        value = value.get(word) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _own_fields() -> list[Object]:
    fields = {"NODE_NAME": "spec.nodeName", "OPERATOR_NAMESPACE": "metadata.namespace"}
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]


def _env(table: str, fact: dict[str, Any], spec: dict[str, Any], container: str) -> list[Object]:
    """Rows daemonset.env and daemonset.env-from-spec; a variable of the block replaces one of those."""
    env = _own_fields()
    block = spec.get(fact["image_block"]) or {}
    plain: dict[str, str] = dict(facts.find(table, "daemonset.env", {}).get(container, {}))
    for variable, path in facts.find(table, "daemonset.env-from-spec", {}).get(container, {}).items():
        if at(spec, path):
            plain[variable] = _text(at(spec, path))
    if fact["name"] == "nvidia-kata-manager":
        variable = facts.value(table, "daemonset.kata-manager.env")["artifacts_env"]
        plain[variable] = kata_config(table, spec)["artifactsDir"]
    given = {one["name"]: str(one.get("value", "")) for one in block.get("env") or []}
    return env + [{"name": name, "value": text} for name, text in {**plain, **given}.items()]


def _container(table: str, name: str, fact: dict[str, Any], spec: dict[str, Any], tag: str) -> Object:
    block = spec.get(fact["image_block"]) or {}
    suffix = f"-{tag}" if tag and name == facts.value(table, "driver.tag")["container"] else ""
    container: Object = {
        "name": name,
        "image": image(block) + suffix,
        "imagePullPolicy": block.get("imagePullPolicy") or "IfNotPresent",
        "env": _env(table, fact, spec, name),
        "securityContext": {"privileged": True},
        **facts.find(table, "daemonset.command", {}).get(name, {}),
    }
    if block.get("args"):
        container["args"] = list(block["args"])
    if block.get("resources"):
        container["resources"] = block["resources"]
    if name in fact["pre_stop"]:
        container["lifecycle"] = {"preStop": {"exec": {"command": fact["pre_stop"][name]}}}
    return container


def _init_container(table: str, name: str, fact: dict[str, Any], spec: dict[str, Any]) -> Object:
    env = _own_fields()
    block = spec.get(fact["image_block"]) or {}
    if name == "k8s-driver-manager":
        # Those of the operand itself stay with its own container.
        env += (block.get("driverManager") or block.get("manager") or {}).get("env") or []
    if name in facts.value(table, "validator.default-workload-in").get(fact["name"], []):
        variable = facts.value(table, "validator.default-workload")
        env.append({"name": variable, "value": gpu_labels.default_workload(table, spec)})
    return {
        "name": name,
        "image": _init_image(table, name, fact, spec),
        "env": env,
        "securityContext": {"privileged": True},
        **facts.find(table, "daemonset.command", {}).get(name, {}),
    }


def switched_on(table: str, state: str, spec: dict[str, Any]) -> bool:
    """The key enabled of the block of a state (row states.enabled-by)."""
    block, unset = facts.value(table, "states.enabled-by").get(state, ("", True))
    return bool((spec.get(block) or {}).get("enabled", unset)) if block else True


def _init_names(table: str, fact: dict[str, Any], spec: dict[str, Any]) -> list[str]:
    """Row daemonset.init-if."""
    states: dict[str, str] = facts.find(table, "daemonset.init-if", {})
    return [one for one in fact["init_containers"] if one not in states or switched_on(table, states[one], spec)]


def daemonset(table: str, fact: dict[str, Any], policy: Object, namespace: str, tag: str = "") -> Object:
    """One operand DaemonSet; `tag` is the operating system in the tag of the driver image."""
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
        "initContainers": [_init_container(table, name, fact, spec) for name in _init_names(table, fact, spec)],
        "containers": [_container(table, name, fact, spec, tag) for name in fact["containers"]],
    }
    if fact["host_pid"]:
        pod["hostPID"] = True
    if (spec.get(fact["image_block"]) or {}).get("hostNetwork"):
        pod["hostNetwork"] = True
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
        annotations[_KATA_HASH] = digest(kata_config(table, spec))
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
    key = facts.value(table, "daemonset.hash")
    body["metadata"]["annotations"] = dict(common.get("annotations") or {}) | {key: digest(body)}
    return body


def _strategy(fact: dict[str, Any], common: dict[str, Any]) -> Object:
    if "OnDelete" in (fact["update_strategy"], common.get("updateStrategy")):
        return {"type": "OnDelete"}
    limit = str((common.get("rollingUpdate") or {}).get("maxUnavailable") or "1")
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": limit if "%" in limit else int(limit)}}


def kata_config(table: str, spec: dict[str, Any]) -> dict[str, Any]:
    """kataManager.config with its default directory."""
    config = dict((spec.get("kataManager") or {}).get("config") or {})
    fallback = facts.value(table, "values.kata-manager")["config"]["artifactsDir"]
    return {
        "artifactsDir": config.get("artifactsDir") or fallback,
        "runtimeClasses": config.get("runtimeClasses") or [],
    }


def kata_config_map(table: str, policy: Object, namespace: str) -> Object:
    """The manager's configuration; written as JSON, which is YAML too, because the node agent has no YAML reader."""
    names = facts.value(table, "daemonset.kata-manager.env")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names["config_map"],
            "namespace": namespace,
            "labels": {"app": "nvidia-kata-manager"},
            "ownerReferences": owner_of(policy),
        },
        "data": {names["config_key"]: json.dumps(kata_config(table, policy["spec"]), indent=1, sort_keys=True)},
    }


def service_account(name: str, policy: Object, namespace: str) -> Object:
    """ServiceAccount of an operand."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": owner_of(policy)},
    }


def runtime_classes(table: str, policy: Object) -> list[Object]:
    """The operator's own (row runtimeclass.own), and up to 25.10 the Kata classes of kataManager.config while it is
    enabled (row runtimeclass.kata-template)."""
    spec = policy["spec"]
    component = {"app.kubernetes.io/component": "gpu-operator"}
    names = [(spec.get("operator") or {}).get("runtimeClass") or "nvidia"]
    if (spec.get("cdi") or {}).get("enabled", True):
        names += facts.find(table, "runtimeclass.own", {}).get("cdi", [])
    made = [_runtime_class(name, component, None, policy) for name in names]
    template = facts.find(table, "runtimeclass.kata-template", None)
    if template is None or not (spec.get("kataManager") or {}).get("enabled"):
        return made
    for one in kata_config(table, spec)["runtimeClasses"]:
        selector = template["nodeSelector"] | dict(one.get("nodeSelector") or {})
        made.append(_runtime_class(one["name"], template["labels"], selector, policy))
    return made


def retired_classes(table: str) -> tuple[dict[str, str], set[str]]:
    """Which existing classes go when they are not wanted: those with these labels (rows runtimeclass.kata-deleted and
    runtimeclass.kata-template), and those of these names."""
    template = facts.find(table, "runtimeclass.kata-template", {"labels": {}})["labels"]
    marker = {key: text for key, text in template.items() if key.startswith("nvidia.com/")}
    return (
        facts.find(table, "runtimeclass.kata-deleted", marker),
        set(facts.find(table, "runtimeclass.own", {}).get("cdi", [])),
    )


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
