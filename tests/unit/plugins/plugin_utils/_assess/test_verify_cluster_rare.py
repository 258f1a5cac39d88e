# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a provisioned cluster in ways that are rarely seen, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.assess_cluster import (
    CC,
    CLASSES,
    CURRENT,
    NAMED,
    POLICIES,
    RELEASE,
    api,
    ask,
    ask_current,
    current_node,
)
from tests.unit.fake_api import FakeApi, node
from tests.unit.plugins.plugin_utils._assess.test_rolls import CHART, VALUES, secret
from tests.unit.plugins.plugin_utils._assess.test_verify_cluster import complete

COCO = RELEASE["coco_operator"]
OPERAND = "/apis/apps/v1/namespaces/gpu-operator/daemonsets/nvidia-vfio-manager"


def evidence(answer: Mapping[str, Any], part: str) -> str:
    (found,) = [item["evidence"] for item in answer["checks"] if part in item["title"] and item["result"] == "failed"]
    return str(found)


def asked(cluster: FakeApi, part: str) -> str:
    return evidence(ask(cluster, verify=True), part)


def test_a_deployment_that_is_not_there_is_named() -> None:
    cluster = complete(missing=COCO["deployment"])
    assert (
        asked(cluster, "The CoCo operator") == f"the Deployment {COCO['namespace']}/{COCO['deployment']} does not exist"
    )


def test_a_deployment_without_available_replicas_is_told_with_its_counts() -> None:
    cluster = complete()
    path = f"/apis/apps/v1/namespaces/{COCO['namespace']}/deployments/{COCO['deployment']}"
    cluster.objects[path]["status"] = {"availableReplicas": 0}
    assert "has 0 of 1 available, 2 containers" in asked(cluster, "The CoCo operator")


def test_a_complete_runtime_without_its_finalizer_would_leave_its_work_behind() -> None:
    cluster = complete()
    cluster.objects[f"{CC}/{COCO['ccruntime']}"]["metadata"]["finalizers"] = []
    assert asked(cluster, "CcRuntime") == f"the finalizer {COCO['finalizer']} is missing"


def test_an_operand_whose_controller_is_behind() -> None:
    cluster = complete()
    cluster.objects[OPERAND]["metadata"]["generation"] = 5
    assert asked(cluster, "nvidia-vfio-manager") == "its controller has not seen the last change"


def test_an_operand_on_more_nodes_than_this_run_has_needs_one_pod_for_each_of_ours() -> None:
    cluster = complete()
    counts = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3}
    cluster.objects[OPERAND]["status"] = {**counts, "numberAvailable": 0}
    assert asked(cluster, "nvidia-vfio-manager") == "desired 3, updated 3, available 0, wanted on 1 nodes"
    cluster.objects[OPERAND]["status"] = {**counts, "numberAvailable": 1}
    assert "nvidia-vfio-manager" not in str(
        [item for item in ask(cluster, verify=True)["checks"] if item["result"] == "failed"]
    )


def test_a_node_without_an_operands_label_is_named() -> None:
    cluster = complete(labels={"nvidia.com/gpu.deploy.vfio-manager": "false"})
    assert asked(cluster, "nvidia-vfio-manager") == "the label nvidia.com/gpu.deploy.vfio-manager is missing on b"


def test_a_policy_that_waits_for_nodes_of_others_is_no_failure() -> None:
    cluster = complete(reason="NFDLabelsMissing")
    cluster.objects["/api/v1/nodes/later"] = node("later", {"nvidia.com/gpu.deploy.operands": "false"})
    named = {**NAMED, "later": {"role": "kata"}}
    answer = ask(cluster, nodes=named, eligible=["a", "b"], verify=True)
    (skipped,) = [item for item in answer["checks"] if item["title"] == "The ClusterPolicy is ready"]
    assert skipped["result"] == "skipped"
    assert skipped["evidence"] == (
        "state ready, Ready is True NFDLabelsMissing; later is not part of this run and may hold it back"
    )


def test_a_policy_that_is_not_there() -> None:
    cluster = complete()
    del cluster.objects[f"{POLICIES}/cluster-policy"]
    assert asked(cluster, "ClusterPolicy") == "the ClusterPolicy cluster-policy does not exist"


@pytest.mark.parametrize("value", ["0", "many"])
def test_a_container_node_needs_a_whole_number_of_gpus(value: str) -> None:
    cluster = complete()
    for part in ("allocatable", "capacity"):
        cluster.objects["/api/v1/nodes/a"]["status"][part] = {"nvidia.com/gpu": value}
    assert asked(cluster, "allocatable") == f"nvidia.com/gpu={value}; wanted at least 1 nvidia.com/gpu"


def test_capacity_that_is_not_allocatable_is_told() -> None:
    cluster = complete()
    cluster.objects["/api/v1/nodes/a"]["status"]["capacity"] = {"nvidia.com/gpu": "2"}
    assert "capacity and allocatable differ: {'nvidia.com/gpu': '2'}" in asked(cluster, "allocatable")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"spec": {"unschedulable": True}}, "the Node is cordoned"),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, "the Node is not Ready"),
    ],
)
def test_a_node_that_takes_no_pods(change: dict[str, Any], part: str) -> None:
    cluster = complete()
    for key, value in change.items():
        cluster.objects["/api/v1/nodes/b"][key].update({**value} if isinstance(value, dict) else value)
    assert asked(cluster, "The Node is Ready") == part


def test_a_class_that_no_node_takes() -> None:
    cluster = complete()
    found = cluster.objects[f"{CLASSES}/kata-qemu-nvidia-gpu"]
    found["scheduling"] = {"nodeSelector": {"x": "y"}}
    found["overhead"] = {"podFixed": {"memory": "1Gi", "x.io/keys": "1"}}
    cluster.objects["/api/v1/nodes/b"]["status"]["runtimeHandlers"] = [{"name": "runc"}]
    assert asked(cluster, "can be scheduled") == (
        "the selector wants x=y, the node has None; "
        "a pod of the class asks for 1 x.io/keys, the node offers none; "
        "the node's runtime has no handler kata-qemu-nvidia-gpu"
    )


DEPLOYED = "/apis/apps/v1/namespaces/kata-system/daemonsets/kata-deploy"
DONE = CURRENT["kata_deploy"]["done_label"]
TITLE = "kata-deploy has installed"


def current(labels: Mapping[str, str] = DONE, **objects: Any) -> FakeApi:
    return api(node("a"), current_node("b", labels), version="v1.35.0", **objects)


def installer(available: int) -> dict[str, Any]:
    status = {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": available}
    return {"metadata": {"name": "kata-deploy"}, "status": status}


def kata_deploy(cluster: FakeApi) -> tuple[str, str]:
    (found,) = [item for item in ask_current(cluster, helm=[CHART], verify=True)["checks"] if TITLE in item["title"]]
    return found["result"], found["evidence"]


def test_an_installer_that_is_not_there() -> None:
    assert kata_deploy(current()) == ("failed", "the DaemonSet kata-system/kata-deploy does not exist")


def test_an_installer_has_come_to_its_end_when_the_label_says_so() -> None:
    text = "desired 1, updated 1, available 1"
    assert kata_deploy(current(**{DEPLOYED: installer(1)})) == ("passed", text)
    assert kata_deploy(current({}, **{DEPLOYED: installer(1)})) == (
        "failed",
        "b: katacontainers.io/kata-runtime is None, wanted 'true'",
    )
    assert kata_deploy(current(**{DEPLOYED: installer(0)})) == ("failed", "desired 1, updated 1, available 0")


def test_jobs_leave_no_daemonset_behind() -> None:
    stored = {"/api/v1/namespaces/kata-system/secrets/r": secret({**VALUES, "deploymentMode": "job"})}
    assert kata_deploy(current(**stored)) == ("passed", "installed by Jobs")
    assert kata_deploy(current({}, **stored))[0] == "failed"
