# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.action.cluster_info import answer_without_api
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding
from tests.unit.assess_cluster import (
    CLASSES,
    ELIGIBLE,
    HELM,
    NFD,
    OFF,
    POLICIES,
    WORKLOAD,
    api,
    ask,
    gpu_pod,
    ids,
    policy,
    release_secret,
    runtime,
)
from tests.unit.fake_api import node


def test_a_fitting_empty_cluster_has_a_plan_and_no_findings() -> None:
    answer = ask(api(), helm=[HELM])
    assert ids(answer) == []
    assert answer["plan"]["node_labels"]["nodes"] == {"a": {WORKLOAD: "container"}, "b": {WORKLOAD: "vm-passthrough"}}
    assert answer["plan"]["coco_operator"]["version"] == "v0.7.0"
    assert answer["helm"][0]["verdict"] == "install"
    assert answer["summary"] == {"blocked": False, "blocked_nodes": [], "messages": []}


@pytest.mark.parametrize(
    ("version", "found"),
    [("v1.24.0", []), ("v1.27.16+rke2r1", []), ("v1.23.9", ["kubernetes_range"]), ("v1.37.2", ["kubernetes_range"])],
)
def test_kubernetes_range(version: str, found: list[str]) -> None:
    assert ids(ask(api(version=version))) == found
    accepted = ask(api(version=version), {"kubernetes_range": "lab"})
    assert ids(accepted) == []
    assert ids(accepted, "accepted") == found
    assert not accepted["summary"]["blocked"]


@pytest.mark.parametrize(
    ("runtime", "found"),
    [
        ("containerd://1.6.8.2", []),
        ("containerd://1.7.24", []),
        ("containerd://2.1.0", ["containerd_range"]),
        ("cri-o://1.27.0", ["container_runtime"]),
    ],
)
def test_container_runtime_of_kata_nodes_only(runtime: str, found: list[str]) -> None:
    answer = ask(api(node("a", runtime="cri-o://1"), node("b", runtime=runtime)))
    assert ids(answer) == found
    assert answer["summary"]["blocked"] is False, "a block of a node ends that node, not the run"
    assert answer["summary"]["blocked_nodes"] == (["b"] if found else [])


def test_a_missing_node_is_named_with_the_nearest_name() -> None:
    answer = ask(
        api(node("a"), node("gpu-node-02")), nodes={"gpu-node-2": {"role": "kata"}, "a": {"role": "container"}}
    )
    assert answer["missing_nodes"] == ["gpu-node-2"]
    assert "Did you mean gpu-node-02?" in answer["summary"]["messages"][0]


def test_an_address_of_another_node_is_an_identity_block() -> None:
    cluster = api(node("a", address="192.0.2.1"), node("b", address="192.0.2.2"))
    wrong = ask(cluster, nodes={"b": {"role": "kata", "addresses": ["192.0.2.1"]}, "a": {"role": "container"}})
    assert ids(wrong) == ["node_identity"]
    unknown = ask(cluster, nodes={"b": {"role": "kata", "addresses": ["bastion.example", "198.51.100.1"]}, "a": {}})
    assert ids(unknown) == []


def test_machine_ids_are_compared() -> None:
    cluster = api(node("a"), node("b", machine_id="0" * 32))
    assert ids(ask(cluster, nodes={"a": {}, "b": {"role": "kata", "machine_id": "1" * 32}})) == ["node_identity"]


def test_gpu_nodes_that_nobody_named_block_the_first_install() -> None:
    cluster = api(node("a"), node("b"), node("c", {NFD: "true"}))
    answer = ask(cluster)
    assert ids(answer) == ["foreign_gpu_nodes"]
    assert answer["foreign_gpu_nodes"] == ["c"]
    assert ids(ask(cluster, {"foreign_gpu_nodes": "they may get the driver"})) == []


def test_with_operands_off_a_foreign_gpu_node_is_none() -> None:
    labels = {NFD: "true", "nvidia.com/gpu.deploy.operands": "false"}
    assert ids(ask(api(node("a"), node("b"), node("c", labels)))) == []


def test_all_nodes_as_vm_nodes_is_not_acceptable_with_foreign_gpu_nodes() -> None:
    cluster = api(node("a"), node("b"), node("c", {NFD: "true"}))
    answer = ask(cluster, {"foreign_gpu_nodes": "please"}, default_workload="vm-passthrough")
    assert ids(answer) == ["foreign_gpu_nodes"]


def test_nodes_of_which_nothing_is_known_block_the_first_install() -> None:
    cluster = api(node("a"), node("b"), node("control-plane"))
    assert ids(ask(cluster)) == ["gpu_nodes_unknown"]
    assert ids(ask(cluster, {"gpu_nodes_unknown": "no GPUs there"})) == []
    seen = api(node("a"), node("b"), node("control-plane", {"feature.node.kubernetes.io/cpu-model.id": "1"}))
    assert ids(ask(seen)) == []


def test_after_the_install_foreign_gpu_nodes_are_a_warning() -> None:
    cluster = api(node("a"), node("b"), node("c", {NFD: "true"}), **{f"{POLICIES}/cluster-policy": policy()})
    answer = ask(cluster)
    assert [item["severity"] for item in answer["findings"] if item["id"] == "foreign_gpu_nodes"] == ["warn"]
    assert not answer["summary"]["blocked"]


def test_a_misspelt_workload_label_is_fixed_on_our_nodes_and_told_of_others() -> None:
    labels = {WORKLOAD: "vm-passthough"}
    answer = ask(api(node("a"), node("b", labels), node("c", {**labels, "feature.node.kubernetes.io/x": "1"})))
    states = {item["node"]: (item["severity"], item["state"]) for item in answer["findings"] if item["node"]}
    assert states == {"b": ("block", "will_be_fixed_by"), "c": ("warn", "open")}


def test_nodes_for_virtual_gpus_are_left_alone() -> None:
    answer = ask(api(node("a"), node("b", {WORKLOAD: "vm-vgpu"})))
    assert ids(answer) == ["vm_vgpu"]
    assert answer["summary"]["blocked_nodes"] == ["b"]


def test_another_version_of_the_operator_is_not_upgraded_in_place() -> None:
    cluster = api(**{f"{POLICIES}/cluster-policy": policy(chart="gpu-operator-v24.6.2")})
    answer = ask(cluster)
    assert ids(answer) == ["two_generations"]
    assert answer["generation"]["name"] == "unknown"


def test_our_own_version_is_recognised() -> None:
    answer = ask(api(**{f"{POLICIES}/cluster-policy": policy()}))
    assert answer["generation"]["name"] == "23.9"
    assert ids(answer) == []


def test_kata_deploy_and_this_release_do_not_mix() -> None:
    labels = {"app.kubernetes.io/managed-by": "kata-deploy"}
    cluster = api(
        **{f"{CLASSES}/kata-qemu": {"metadata": {"name": "kata-qemu", "labels": labels}, "handler": "kata-qemu"}}
    )
    assert ids(ask(cluster)) == ["two_generations"]


def test_missing_permissions_are_named() -> None:
    cluster = api()
    cluster.allowed = False
    answer = ask(cluster)
    assert ids(answer) == ["permissions"]
    assert "patch nodes" in answer["summary"]["messages"][0]
    assert ids(ask(cluster, permissions=False)) == []


def test_what_may_not_be_read_is_named() -> None:
    cluster = api()
    cluster.refuse["/api/v1/namespaces/gpu-operator/secrets"] = 403
    answer = ask(cluster)
    assert answer["denied"] == ["helm gpu-operator"]
    assert ids(answer) == ["permissions"]


def test_running_gpu_pods_are_told_and_finished_ones_are_not() -> None:
    labelled = (node("a"), node("b", {WORKLOAD: "vm-passthrough"}))
    assert ids(ask(api(*labelled, **{"/api/v1/pods/p": gpu_pod()}))) == ["gpu_pods_running"]
    assert ids(ask(api(*labelled, **{"/api/v1/pods/p": gpu_pod(phase="Succeeded")}))) == []


@pytest.mark.parametrize(
    ("label", "role", "default", "found"),
    [
        ("container", "kata", "container", ["C07"]),
        (None, "kata", "container", ["C07"]),
        ("vm-passthrough", "container", "container", ["C07"]),
        ("vm-passthrough", "kata", "container", []),
        # The operator takes it for a container node already, so nothing flips.
        (None, "container", "container", []),
        (None, "container", "vm-passthrough", ["C07"]),
        ("vm-vgpu", "container", "container", ["vm_vgpu"]),
    ],
)
def test_a_workload_does_not_change_under_running_pods(
    label: str | None, role: str, default: str, found: list[str]
) -> None:
    cluster = api(node("b", {WORKLOAD: label} if label else {}), **{"/api/v1/pods/p": gpu_pod()})
    answer = ask(cluster, nodes={"b": {"role": role}}, default_workload=default)
    assert [name for name in ids(answer) if name != "gpu_pods_running"] == found
    assert answer["summary"]["blocked_nodes"] == (["b"] if found else [])
    idle = ask(
        api(node("b", {WORKLOAD: label} if label else {})), nodes={"b": {"role": role}}, default_workload=default
    )
    assert "C07" not in ids(idle)


@pytest.mark.parametrize(
    ("status", "values", "pods", "found"),
    [
        ("deployed", {}, True, []),
        ("deployed", {"driver": {"enabled": False}}, True, ["C07"]),
        ("deployed", {"driver": {"enabled": False}}, False, []),
        ("failed", {}, True, ["C07"]),
        ("pending-upgrade", {}, False, ["F16"]),
        ("uninstalling", {}, False, ["F16"]),
    ],
)
def test_the_helm_release_does_not_change_under_running_pods(
    status: str, values: dict[str, Any], pods: bool, found: list[str]
) -> None:
    space = "/api/v1/namespaces/gpu-operator/secrets"
    objects: dict[str, Any] = {f"{space}/x": release_secret(status, **values)}
    if pods:
        objects["/api/v1/pods/p"] = gpu_pod()
    labels = {WORKLOAD: "vm-passthrough"}
    ours = {"metadata": {"name": "gpu-operator", "annotations": {"katagpu.io/helm-gpu-operator": "managed"}}}
    objects["/api/v1/namespaces/gpu-operator"] = ours
    answer = ask(api(node("a"), node("b", labels), **objects), helm=[HELM])
    assert [name for name in ids(answer) if name != "gpu_pods_running"] == found
    assert answer["summary"]["blocked"] is bool(found)


@pytest.mark.parametrize(
    ("labels", "exposed"),
    [
        ({}, True),
        ({WORKLOAD: "container"}, True),
        ({WORKLOAD: "vm-passthough"}, True),
        ({WORKLOAD: "vm-passthrough"}, False),
        ({WORKLOAD: "vm-vgpu"}, False),
        (OFF, False),
    ],
)
@pytest.mark.parametrize("default", ["container", "vm-passthrough"])
def test_a_kata_node_that_is_not_eligible_is_not_left_to_the_operator(
    labels: dict[str, str], exposed: bool, default: str
) -> None:
    answer = ask(api(node("a", {WORKLOAD: "container"}), node("b", labels)), default_workload=default, **ELIGIBLE)
    assert answer["unprotected"] == (["b"] if exposed else [])
    assert ("unprotected_nodes" in ids(answer)) is exposed
    assert answer["to_protect"] == []
    if exposed:
        assert answer["summary"]["blocked"]
        assert "katagpu_protect_ineligible: true" in " ".join(answer["summary"]["messages"])


def test_consent_lets_the_labels_protect_it_unless_pods_use_its_gpus() -> None:
    answer = ask(api(), protect=True, **ELIGIBLE)
    assert (answer["to_protect"], answer["summary"]["blocked"]) == (["b"], False)
    assert ids(answer, "will_be_fixed_by") == ["unprotected_nodes"]
    busy = ask(api(**{"/api/v1/pods/p": gpu_pod()}), protect=True, **ELIGIBLE)
    assert (busy["to_protect"], busy["summary"]["blocked"]) == ([], True)
    assert "end the GPU pods" in " ".join(busy["summary"]["messages"])


def test_an_operator_that_stays_as_it_is_makes_it_a_warning() -> None:
    space = "/api/v1/namespaces/gpu-operator/secrets"
    objects = {f"{POLICIES}/cluster-policy": policy(), f"{space}/x": release_secret("deployed")}
    assert not ask(api(**objects), helm=[HELM], **ELIGIBLE)["summary"]["blocked"]
    changed = {**objects, f"{space}/x": release_secret("deployed", driver={"enabled": False})}
    assert ask(api(**changed), helm=[HELM], **ELIGIBLE)["summary"]["blocked"]


def test_a_container_node_is_exposed_only_where_the_default_is_another() -> None:
    given = {"nodes": {"a": {"role": "container"}}, "eligible": []}
    assert ask(api(node("a")), **given)["unprotected"] == []
    assert ask(api(node("a")), **given, default_workload="vm-passthrough")["unprotected"] == ["a"]


def test_a_label_that_outlives_eligibility_is_told() -> None:
    answer = ask(api(node("a"), node("b", {WORKLOAD: "vm-passthrough"}), **runtime(["b"])), **ELIGIBLE)
    assert [(item["id"], item["severity"], item["node"]) for item in answer["findings"]] == [
        ("labelled_not_eligible", "warn", "b")
    ]
    assert answer["labelled_not_eligible"] == ["b"]


def test_before_the_decision_nobody_is_called_ineligible() -> None:
    answer = ask(api())
    assert (answer["unprotected"], answer["labelled_not_eligible"]) == ([], [])
    found = {"role": "kata", "workload": None, "labelled": False, "exposed": True}
    assert answer["named"]["b"] == {**found, "runtime_class": "kata-qemu-nvidia-gpu"}
    assert "runtime_class" not in answer["named"]["a"]


def test_all_nodes_as_vm_nodes_is_refused_after_the_install_too() -> None:
    cluster = api(node("a"), node("b"), node("c", {NFD: "true"}), **{f"{POLICIES}/cluster-policy": policy()})
    assert ask(cluster, default_workload="vm-passthrough")["summary"]["blocked"]
    assert not ask(cluster)["summary"]["blocked"]


def test_objects_are_compared_in_their_order() -> None:
    kata = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "kata"}
    cluster = api(**{f"{CLASSES}/kata": {**kata, "uid": "1"}})
    cluster.collections.add(CLASSES)
    wanted = [
        kata,
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "other"},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}},
        {"apiVersion": "confidentialcontainers.org/v1beta1", "kind": "CcRuntime", "metadata": {"name": "c"}},
        {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "c"}},
    ]
    answer = ask(cluster, objects=wanted)["objects"]
    assert [item["verdict"] for item in answer] == ["same", "differs", "absent", "kind_unknown", "kind_unknown"]
    assert answer[1]["paths"] == ["handler"]


def test_without_an_api_the_shape_is_the_same() -> None:
    empty = answer_without_api([Finding("api_unreachable", BLOCK, "x")], {})
    assert set(empty) == set(ask(api()))
    assert empty["summary"]["blocked"]
