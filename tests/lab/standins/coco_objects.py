# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DaemonSets and RuntimeClasses of the Confidential Containers operator v0.7.0, built from the fact table."""

from __future__ import annotations

from typing import Any

from tests.lab.standins import facts
from tests.lab.standins.actions import Object, owner_of

_T = facts.COCO_OPERATOR
DEFAULT_SELECTOR = {"node.kubernetes.io/worker": ""}
_NODE_NAME = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}


def selector(runtime: Object) -> dict[str, str]:
    """matchLabels of ccNodeSelector; matchExpressions are not looked at."""
    given = runtime["spec"].get("ccNodeSelector")
    return dict(DEFAULT_SELECTOR) if given is None else dict(given.get("matchLabels") or {})


def daemonset(operation: str, runtime: Object, namespace: str) -> Object:
    """DaemonSet of one operation: pre-install, install, uninstall or post-uninstall (rows daemonset.*)."""
    fact = facts.value(_T, f"daemonset.{operation}")
    config = runtime["spec"]["config"]
    labels = {"name": fact["name"]}
    pick = (
        selector(runtime) if fact["node_selector"] == "ccNodeSelector" else dict(config.get("uninstallDoneLabel") or {})
    )
    if fact["owned"]:
        container = _payload(operation, config)
        volumes = config.get("installerVolumes")
    else:
        hook = config.get("preInstall" if operation == "pre-install" else "postUninstall") or {}
        container = _hook(operation, hook)
        volumes = hook.get("volumes")
    container |= {
        "name": fact["container"],
        "imagePullPolicy": fact["image_pull_policy"],
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    pod: Object = {
        "serviceAccountName": fact["service_account"],
        "nodeSelector": pick,
        "containers": [container],
        "volumes": volumes or [],
    }
    metadata: Object = {"name": fact["name"], "namespace": namespace}
    if fact["owned"]:
        metadata["ownerReferences"] = owner_of(runtime)
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": fact["update_strategy"], "rollingUpdate": {"maxUnavailable": 1}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _payload(operation: str, config: dict[str, Any]) -> Object:
    container: Object = {
        "image": config["payloadImage"],
        "command": config.get("installCmd" if operation == "install" else "uninstallCmd") or [],
        "env": config.get("environmentVariables") or [],
        "volumeMounts": config.get("installerVolumeMounts") or [],
    }
    if operation == "install":
        container["lifecycle"] = {"preStop": {"exec": {"command": config.get("cleanupCmd") or []}}}
    return container


def _hook(operation: str, hook: dict[str, Any]) -> Object:
    return {
        "image": hook.get("image", ""),
        "command": ["/bin/sh", "-c", f"/opt/confidential-containers-pre-install-artifacts/scripts/{operation}.sh"],
        "env": [_NODE_NAME, *(hook.get("environmentVariables") or [])],
        "volumeMounts": hook.get("volumeMounts") or [],
    }


def class_names(runtime: Object) -> list[str]:
    """Names from the CcRuntime, or the three built-in ones."""
    names = runtime["spec"]["config"].get("runtimeClassNames")
    return ["kata-clh", "kata-qemu", "kata"] if names is None else list(names)


def runtime_class(name: str, runtime: Object) -> Object:
    """Row classes.form."""
    return {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": name, "ownerReferences": owner_of(runtime)},
        "handler": name,
        "scheduling": {"nodeSelector": selector(runtime)},
    }
