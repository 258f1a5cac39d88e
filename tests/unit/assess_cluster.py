# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster to judge, and what is asked of it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.action.cluster_info import inform
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.unit.fake_api import FakeApi, node, nodes

RELEASE = _releases.lookup("23.9")
WORKLOAD = RELEASE["labels"]["workload"]["key"]
NFD = "feature.node.kubernetes.io/pci-10de.present"
NAMED = {"a": {"role": "container"}, "b": {"role": "kata", "gpu_count": 1}}
HELM = {"name": "gpu-operator", "namespace": "gpu-operator", "chart_version": "v23.9.2", "values": {}}
POLICIES = "/apis/nvidia.com/v1/clusterpolicies"
CC = "/apis/confidentialcontainers.org/v1beta1/ccruntimes"
CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


def api(*items: Mapping[str, Any], version: Any = "v1.27.3", **more: Any) -> FakeApi:
    found = nodes(*(items or (node("a"), node("b"))))
    return FakeApi({"/version": {"gitVersion": version}, **found, **more})


def ask(answering: FakeApi, accepted: Mapping[str, str] | None = None, **given: Any) -> dict[str, Any]:
    return inform(answering, RELEASE, {"nodes": NAMED, **given}, accepted or {})


def ids(answer: Mapping[str, Any], state: str = "open") -> list[str]:
    """Without that of the restart, which every node has that is not provisioned yet and which has tests of its own."""
    return [item["id"] for item in answer["findings"] if item["state"] == state and item["id"] != "runtime_restart"]


def policy(reason: str = "Reconciled", chart: str = "gpu-operator-v23.9.2") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True", "reason": reason}]
    status = {"state": "ready", "conditions": conditions}
    return {"metadata": {"name": "cluster-policy", "labels": {"helm.sh/chart": chart}}, "status": status}


def gpu_pod(name: str = "p", amount: str = "1", phase: str = "Running") -> dict[str, Any]:
    containers = [{"name": "c", "resources": {"limits": {"nvidia.com/GA102GL_A10": amount}}}]
    return {
        "metadata": {"name": name, "namespace": "x"},
        "spec": {"nodeName": "b", "containers": containers},
        "status": {"phase": phase},
    }


def release_secret(status: str, version: str = "v23.9.2", **values: Any) -> dict[str, Any]:
    data = {
        "name": "gpu-operator",
        "namespace": "gpu-operator",
        "version": 1,
        "info": {"status": status},
        "chart": {"metadata": {"name": "gpu-operator", "version": version}},
        "config": values,
    }
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(data).encode()))).decode()
    return {"metadata": {"name": "sh.helm.release.v1.gpu-operator.v1"}, "data": {"release": packed}}


ELIGIBLE = {"eligible": ["a"]}
OFF = {"nvidia.com/gpu.deploy.operands": "false"}


def runtime(completed: list[str], **selector: str) -> dict[str, Any]:
    coco = RELEASE["coco_operator"]
    wanted = selector or coco["node_selector"]
    status = {"completedNodesCount": len(completed), "completedNodesList": completed}
    return {
        f"{CC}/{coco['ccruntime']}": {
            "metadata": {"name": coco["ccruntime"], "finalizers": [coco["finalizer"]]},
            "spec": {"ccNodeSelector": {"matchLabels": wanted}},
            "status": {"totalNodesCount": len(completed), "installationStatus": {"completed": status}},
        }
    }


CURRENT = _releases.lookup("26.7")


def current_node(name: str, labels: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return node(name, labels, runtime="containerd://2.2.1", **more)


def ask_current(answering: FakeApi, **given: Any) -> dict[str, Any]:
    return inform(answering, CURRENT, {"nodes": NAMED, **given}, {})
