# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.assess_cluster import (
    CLASSES,
    NAMED,
    POLICIES,
    RELEASE,
    WORKLOAD,
    api,
    ask,
    gpu_pod,
    ids,
    policy,
    runtime,
)
from tests.unit.fake_api import FakeApi, node


def complete(**change: Any) -> FakeApi:
    """A cluster in which everything is as it should be."""
    operands = RELEASE["operands"]
    kata = {item["deploy_label"]: "true" for item in operands["kata"]}
    container = {item["deploy_label"]: "true" for item in operands["container"]}
    objects: dict[str, Any] = {f"{POLICIES}/cluster-policy": policy(change.get("reason", "Reconciled"))}
    for name in [*RELEASE["coco_operator"]["runtime_classes"], *RELEASE["runtime_classes"]["operator"]]:
        objects[f"{CLASSES}/{name}"] = {"metadata": {"name": name}, "handler": name}
    status = {
        "desiredNumberScheduled": change.get("desired", 1),
        "updatedNumberScheduled": change.get("desired", 1),
        "numberAvailable": change.get("available", change.get("desired", 1)),
    }
    for item in [*operands["kata"], *operands["container"]]:
        path = f"/apis/apps/v1/namespaces/gpu-operator/daemonsets/{item['daemonset']}"
        objects[path] = {"metadata": {"name": item["daemonset"]}, "status": status}
    coco = RELEASE["coco_operator"]
    space = coco["namespace"]
    objects[f"/apis/apps/v1/namespaces/{space}/deployments/{coco['deployment']}"] = {
        "metadata": {"name": coco["deployment"]},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{}] * change.get("containers", 2)}}},
        "status": {"availableReplicas": 1, "updatedReplicas": 1},
    }
    objects[f"/api/v1/namespaces/{space}/services/{coco['service']}"] = {"metadata": {"name": coco["service"]}}
    objects.update(runtime(change.get("completed", ["b"])))
    missing = change.get("missing")
    if missing:
        objects = {path: item for path, item in objects.items() if not path.endswith(f"/{missing}")}
    return api(
        node("a", {**container, WORKLOAD: "container"}, allocatable={"nvidia.com/gpu": "1"}),
        node(
            "b",
            {**kata, **coco["done_label"], WORKLOAD: "vm-passthrough", **change.get("labels", {})},
            allocatable=change.get("gpus", A10),
            runtime=change.get("runtime", coco["containerd_version"]),
        ),
        **objects,
    )


A10 = {"nvidia.com/GA102GL_A10": "1"}


def failed(answer: Mapping[str, Any]) -> list[str]:
    return [item["title"] for item in answer["checks"] if item["result"] == "failed"]


def test_a_provisioned_cluster_passes_every_check() -> None:
    answer = ask(complete(), verify=True)
    assert {item["result"] for item in answer["checks"]} == {"passed"}
    assert answer["plan"] == {"node_labels": {}, "coco_operator": {}, "kata_deploy": {}, "gpu_operator": {}}
    assert ids(answer) == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"missing": "nvidia-vfio-manager"}, "nvidia-vfio-manager"),
        ({"missing": "nvidia-driver-daemonset"}, "nvidia-driver-daemonset"),
        ({"missing": "kata-qemu-nvidia-gpu-snp"}, "RuntimeClasses"),
        ({"missing": "cc-operator-controller-manager-metrics-service"}, "CoCo operator"),
        ({"missing": "ccruntime-sample"}, "CcRuntime"),
        ({"containers": 1}, "CoCo operator"),
        ({"completed": ["gone"]}, "CcRuntime"),
        ({"runtime": "containerd://1.7.24"}, "CcRuntime"),
        ({"labels": {"katacontainers.io/kata-runtime": "cleanup"}}, "CcRuntime"),
        ({"reason": "NFDLabelsMissing"}, "ClusterPolicy"),
        ({"available": 0}, "Operand"),
        ({"desired": 0}, "Operand"),
        ({"gpus": {}}, "allocatable"),
        ({"gpus": {"nvidia.com/GA102GL_A10": "2"}}, "allocatable"),
        ({"labels": {WORKLOAD: "container"}}, "labelled"),
        ({"labels": {"nvidia.com/gpu.deploy.vfio-manager": "paused-for-driver-upgrade"}}, "paused"),
        ({"labels": {"nvidia.com/gpu.deploy.vfio-manager": ""}}, "paused"),
    ],
)
def test_what_is_wrong_in_a_provisioned_cluster_is_seen(change: dict[str, Any], part: str) -> None:
    titles = failed(ask(complete(**change), verify=True))
    assert any(part in title for title in titles)


def test_only_nodes_of_this_run_are_checked() -> None:
    """The recommended first run takes one host of several; the others are not failures."""
    named = {**NAMED, "later": {"role": "kata"}}
    cluster = complete()
    cluster.objects["/api/v1/nodes/later"] = node("later", {"nvidia.com/gpu.deploy.operands": "false"})
    answer = ask(cluster, nodes=named, eligible=["a", "b"], verify=True)
    assert failed(answer) == []
    assert "later" not in {item["node"] for item in answer["checks"]}


def test_what_the_policy_switches_off_and_is_still_there_is_told() -> None:
    cluster = complete()
    cluster.objects[f"{POLICIES}/cluster-policy"]["spec"] = {"vfioManager": {"enabled": False}}
    assert failed(ask(cluster, verify=True)) == ["Operand nvidia-vfio-manager runs on the kata nodes"]


def test_what_the_policy_switches_off_is_not_missed() -> None:
    cluster = complete(missing="nvidia-driver-daemonset")
    cluster.objects[f"{POLICIES}/cluster-policy"]["spec"] = {"driver": {"enabled": False}}
    answer = ask(cluster, verify=True)
    assert failed(answer) == []
    assert [item["evidence"] for item in answer["checks"] if item["result"] == "skipped"] == [
        "driver is switched off in the ClusterPolicy"
    ]


def test_runtime_classes_of_ones_own_take_the_place_of_the_charts() -> None:
    cluster = complete(missing="kata-qemu-nvidia-gpu-snp")
    classes = [{"name": "kata-qemu-nvidia-gpu"}]
    cluster.objects[f"{POLICIES}/cluster-policy"]["spec"] = {"kataManager": {"config": {"runtimeClasses": classes}}}
    assert failed(ask(cluster, verify=True)) == []


def test_a_pod_with_two_passthrough_gpus_is_seen() -> None:
    cluster = complete()
    cluster.objects["/api/v1/pods/p"] = gpu_pod(amount="2")
    assert failed(ask(cluster, verify=True)) == ["No pod asks for more than 1 passthrough GPU"]


def test_an_empty_label_of_an_operand_that_the_release_does_not_have_holds_nothing_back() -> None:
    """The driver manager stamps nvidia.com/gpu.deploy.nvsm, which no operand of this release reads."""
    assert failed(ask(complete(labels={"nvidia.com/gpu.deploy.nvsm": ""}), verify=True)) == []
