# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that the roles hand to Helm: those of the release, then the inputs of the roles, then what the user says last."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential, _owner
from ansible_collections.katagpu.cluster.plugins.plugin_utils._labels import RUNTIME
from ansible_collections.katagpu.cluster.plugins.plugin_utils._releases import merge

# A changed operand stays as it is until its pod is deleted, which the roll does on a drained node.
ON_DELETE = "on_delete"

_KATA_MANAGER_KEYS = {
    "enabled": "enabled",
    "repository": "repository",
    "image": "image",
    "version": "version",
    "image_pull_policy": "imagePullPolicy",
    "image_pull_secrets": "imagePullSecrets",
    "env": "env",
    "resources": "resources",
}


def kata_manager_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """The block kataManager of the chart from the role's options; what is not given keeps the chart's default."""
    known = {*_KATA_MANAGER_KEYS, "artifacts_dir", "runtime_classes"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise KatagpuError(
            f"gpu_operator_kata_manager: unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}."
        )
    values = {
        target: options[source] for source, target in _KATA_MANAGER_KEYS.items() if options.get(source) is not None
    }
    config: dict[str, Any] = {}
    if options.get("artifacts_dir") is not None:
        config["artifactsDir"] = options["artifacts_dir"]
    if options.get("runtime_classes") is not None:
        config["runtimeClasses"] = [_kata_runtime_class(entry) for entry in options["runtime_classes"]]
    if config:
        values["config"] = config
    return values


def _kata_runtime_class(entry: Mapping[str, Any]) -> dict[str, Any]:
    artifacts = entry.get("artifacts") or {}
    if not entry.get("name") or not artifacts.get("url"):
        raise KatagpuError("gpu_operator_kata_manager.runtime_classes: each entry needs a name and artifacts.url.")
    return {
        "name": entry["name"],
        "nodeSelector": dict(entry.get("node_selector") or {}),
        "artifacts": {"url": artifacts["url"], "pullSecret": artifacts.get("pull_secret") or ""},
    }


def nested(path: str, value: Any) -> dict[str, Any]:
    """A value at a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def gpu_operator_values(
    stack: Mapping[str, Any],
    values: Mapping[str, Any],
    kata_manager: Mapping[str, Any] | None = None,
    default_workload: str | None = None,
    operand_update: str | None = None,
    vfio_owner: str | None = None,
) -> dict[str, Any]:
    """The values of the release, then the inputs of the role, then what the user says last."""
    inputs: dict[str, Any] = {"kataManager": kata_manager_values(kata_manager or {})} if kata_manager else {}
    if default_workload:
        inputs["sandboxWorkloads"] = {"defaultWorkload": default_workload}
    if operand_update == ON_DELETE:
        inputs["daemonsets"] = {"updateStrategy": "OnDelete"}
    inputs = merge(inputs, _owner.chart_values(stack, vfio_owner))
    return merge(merge(stack["gpu_operator"]["values"], inputs), values)


def wanted_charts(
    stack: Mapping[str, Any], gpu_operator: Mapping[str, Any], kata_deploy: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The Helm releases that a run would make, for a look at them before it begins. What is nothing is the release's."""
    given = {"gpu_operator": gpu_operator, "kata_deploy": kata_deploy}
    wanted = []
    for part in stack["install_order"]:
        if part not in given:
            continue
        own = {key: value for key, value in given[part].items() if value not in (None, "")}
        pins = {key: own.get(key, stack[part][key]) for key in ("name", "namespace", "chart_version")}
        wanted.append({**pins, "chart": part.replace("_", "-"), "values": _CHART_VALUES[part](stack, own)})
    return wanted


def _wanted_gpu_operator(stack: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    choices = (own.get("default_workload"), own.get("operand_update"), own.get("vfio_owner"))
    return gpu_operator_values(stack, own.get("values") or {}, own.get("kata_manager"), *choices)


def _wanted_kata_deploy(stack: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    selector = own.get("node_selector") or stack["kata_deploy"]["node_selector"]
    distribution = own.get("distribution") or "k8s"
    return kata_deploy_values(
        stack,
        distribution,
        selector,
        own.get("tolerations") or [],
        own.get("values") or {},
        own.get("chart_version"),
        own.get("confidential") or {},
    )


_CHART_VALUES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]] = {
    "gpu_operator": _wanted_gpu_operator,
    "kata_deploy": _wanted_kata_deploy,
}


def kata_deploy_values(
    stack: Mapping[str, Any],
    distribution: str,
    node_selector: Mapping[str, str],
    tolerations: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
    chart_version: str | None = None,
    confidential: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The values of the release, those of its variants that are asked for, the inputs of the role, what the user says last; and
    the mark of all of it.

    The mark is a label that nodes get one by one: a changed chart goes to no node by itself. Jobs are made by Helm for all
    nodes at once, so job mode has none.
    """
    base = merge(stack["kata_deploy"]["values"], _confidential.kata_deploy_values(stack, (confidential or {}).values()))
    inputs: dict[str, Any] = {"k8sDistribution": distribution, "nodeSelector": dict(node_selector)}
    if tolerations:
        inputs["tolerations"] = [dict(item) for item in tolerations]
    if values.get("deploymentMode") == "job":
        for path in stack["kata_deploy"].get("job_node_selectors") or []:
            inputs = merge(inputs, nested(path, dict(node_selector)))
    merged = merge(merge(base, inputs), values)
    if not merged["nodeSelector"]:
        raise KatagpuError(
            "the node selector of kata-deploy is empty: containerd of every node would be restarted. Name a label in"
            " kata_deploy_node_selector."
        )
    if merged.get("deploymentMode") != "job":
        mark = _runtime_mark(chart_version or stack["kata_deploy"]["chart_version"], merged)
        merged["nodeSelector"] = {**merged["nodeSelector"], RUNTIME: mark}
    return merged


def _runtime_mark(version: str, values: Mapping[str, Any]) -> str:
    """The value of a label: the version, and a digest of all values, because each restart of the installer restarts containerd."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]
    return f"{re.sub('[^A-Za-z0-9._-]', '-', version)[:40]}-{digest}"
