# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.action.cluster_info import answer_without_api, inform
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding
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
    return [item["id"] for item in answer["findings"] if item["state"] == state]


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


def policy(reason: str = "Reconciled", chart: str = "gpu-operator-v23.9.2") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True", "reason": reason}]
    status = {"state": "ready", "conditions": conditions}
    return {"metadata": {"name": "cluster-policy", "labels": {"helm.sh/chart": chart}}, "status": status}


def test_after_the_install_foreign_gpu_nodes_are_a_warning() -> None:
    cluster = api(node("a"), node("b"), node("c", {NFD: "true"}), **{f"{POLICIES}/cluster-policy": policy()})
    answer = ask(cluster)
    assert [item["severity"] for item in answer["findings"]] == ["warn"]


def test_a_misspelt_workload_label_is_fixed_on_our_nodes_and_told_of_others() -> None:
    labels = {WORKLOAD: "vm-passthough"}
    answer = ask(api(node("a"), node("b", labels), node("c", {**labels, "feature.node.kubernetes.io/x": "1"})))
    states = {item["node"]: (item["severity"], item["state"]) for item in answer["findings"]}
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


def gpu_pod(name: str = "p", amount: str = "1", phase: str = "Running") -> dict[str, Any]:
    containers = [{"name": "c", "resources": {"limits": {"nvidia.com/GA102GL_A10": amount}}}]
    return {
        "metadata": {"name": name, "namespace": "x"},
        "spec": {"nodeName": "b", "containers": containers},
        "status": {"phase": phase},
    }


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


ELIGIBLE = {"eligible": ["a"]}
OFF = {"nvidia.com/gpu.deploy.operands": "false"}


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


def test_a_runtime_does_not_come_to_nodes_that_are_not_eligible() -> None:
    """Neither to a host with a block that got its label earlier, nor to a node nobody named."""
    labels = {WORKLOAD: "vm-passthrough"}
    answer = ask(api(node("a"), node("b", labels), node("kubevirt", labels)), **ELIGIBLE)
    found = next(item for item in answer["findings"] if item["id"] == "selected_not_eligible")
    assert "b, kubevirt are not eligible" in found["fact"] and not found["node"] and not found["acceptable"]
    assert answer["summary"]["blocked"]
    there = ask(api(node("a"), node("b", labels), **runtime(["b"])), **ELIGIBLE)
    assert "selected_not_eligible" not in ids(there), "it has gone there already"


def test_a_selector_of_ones_own_is_looked_at() -> None:
    cluster = api(node("a"), node("b"), node("c", {"example.com/kata": "yes"}))
    assert "selected_not_eligible" in ids(ask(cluster, kata_selector={"example.com/kata": "yes"}, **ELIGIBLE))
    assert "selected_not_eligible" not in ids(ask(cluster, **ELIGIBLE))


def test_a_runtime_of_somebody_else_is_not_moved() -> None:
    cluster = api(node("a"), node("b"), **runtime(["x"], worker=""))
    assert "cc_runtime_selector" in ids(ask(cluster))
    assert "cc_runtime_selector" not in ids(ask(api(**runtime([]))))
    assert "cc_runtime_selector" not in ids(ask(cluster, kata_selector={"worker": ""}))


def test_an_operator_of_another_helm_release_is_seen_before_anything_is_written() -> None:
    foreign = policy()
    names = {"release-name": "gpu-operator-1690000000", "release-namespace": "nvidia-gpu"}
    foreign["metadata"]["annotations"] = {f"meta.helm.sh/{key}": value for key, value in names.items()}
    cluster = api(**{f"{POLICIES}/cluster-policy": foreign})
    found = next(item for item in ask(cluster)["findings"] if item["id"] == "foreign_name")
    assert (
        "nvidia-gpu/gpu-operator-1690000000" in found["fact"] and "gpu_operator_namespace: nvidia-gpu" in found["fix"]
    )
    same = {"gpu_operator_namespace": "nvidia-gpu", "gpu_operator_name": "gpu-operator-1690000000"}
    assert "foreign_name" not in ids(ask(cluster, **same))


def test_a_kata_deploy_of_another_helm_release_is_seen_in_any_namespace() -> None:
    labels = {"app.kubernetes.io/managed-by": "kata-deploy"}
    names = {"meta.helm.sh/release-name": "kata", "meta.helm.sh/release-namespace": "kube-system"}
    item = {"metadata": {"name": "kata-qemu", "labels": labels, "annotations": names}}
    cluster = api(node("a"), current_node("b"), version="v1.35.0", **{f"{CLASSES}/kata-qemu": item})
    found = next(item for item in ask_current(cluster)["findings"] if item["id"] == "foreign_name")
    assert "set kata_deploy_namespace: kube-system and kata_deploy_name: kata" in found["fix"]
    named = {"kata_deploy_namespace": "kube-system", "kata_deploy_name": "kata"}
    assert "foreign_name" not in ids(ask_current(cluster, **named))


def test_values_of_a_release_that_is_not_ours_are_not_dropped() -> None:
    values = {"driver": {"enabled": False}, "toolkit": {"enabled": False}}
    objects = {"/api/v1/namespaces/gpu-operator/secrets/x": release_secret("deployed", **values)}
    found = next(item for item in ask(api(**objects), helm=[HELM])["findings"] if item["id"] == "foreign_values")
    assert "driver, toolkit" in found["fact"] and "gpu_operator_values" in found["fix"]
    repeated = {**HELM, "values": {**values, "sandboxWorkloads": {"enabled": True}}}
    assert "foreign_values" not in ids(ask(api(**objects), helm=[repeated]))


def test_a_node_that_somebody_else_keeps_the_operator_off_cannot_be_provisioned() -> None:
    off = {"nvidia.com/gpu.deploy.operands": "false"}
    theirs = ask(api(node("a"), node("b", off)))
    assert ids(theirs) == ["operands_off"] and theirs["summary"]["blocked_nodes"] == ["b"]
    note = {"katagpu.io/owned-labels": '["nvidia.com/gpu.deploy.operands"]'}
    assert ids(ask(api(node("a"), node("b", off, annotations=note)))) == []


def tainted(name: str, *taints: Mapping[str, str]) -> dict[str, Any]:
    item = node(name)
    item["spec"]["taints"] = list(taints)
    return item


def test_a_taint_that_a_part_of_the_stack_does_not_tolerate_blocks_the_node() -> None:
    gpu = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    own = {"key": "team", "value": "ml", "effect": "NoExecute"}
    passing = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
    soft = {"key": "team", "effect": "PreferNoSchedule"}
    answer = ask(api(tainted("a", gpu), tainted("b", gpu, passing, soft)))
    assert [(item["id"], item["node"]) for item in answer["findings"]] == [("taint", "b")]
    assert "coco_operator does not tolerate" in answer["findings"][0]["fact"]
    answer = ask(api(tainted("a", own), node("b")))
    assert answer["summary"]["blocked_nodes"] == ["a"]
    tolerations = {"gpu_operator": [{"key": "team", "value": "ml"}]}
    assert ids(ask(api(tainted("a", own), node("b")), tolerations=tolerations)) == []
    assert ids(ask(api(tainted("a", own), node("b")), tolerations={"gpu_operator": [{"operator": "Exists"}]})) == []


def test_a_second_node_feature_discovery_is_refused() -> None:
    path = "/apis/apps/v1/daemonsets"
    there = {f"{path}/worker": {"metadata": {"name": "worker", "namespace": "nfd"}}}
    assert "E02" in ids(ask(api(**there), helm=[HELM]))
    without = {**HELM, "values": {"nfd": {"enabled": False}}}
    assert "E02" not in ids(ask(api(**there), helm=[without]))
    own = {f"{path}/worker": {"metadata": {"name": "worker", "namespace": "gpu-operator"}}}
    assert "E02" not in ids(ask(api(**own), helm=[HELM]))


CURRENT = _releases.lookup("26.7")


def current_node(name: str, labels: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return node(name, labels, runtime="containerd://2.2.1", **more)


def ask_current(answering: FakeApi, **given: Any) -> dict[str, Any]:
    return inform(answering, CURRENT, {"nodes": NAMED, **given}, {})


def test_openshift_is_left_alone() -> None:
    crd = {"metadata": {"name": "clusterversions.config.openshift.io"}}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusterversions.config.openshift.io"
    answer = ask(api(**{path: crd}), accepted={"openshift": "I know"})
    assert ids(answer) == ["openshift"] and answer["summary"]["blocked"]


def test_another_major_version_of_containerd_cannot_be_accepted() -> None:
    answer = ask(api(node("a"), node("b", runtime="containerd://2.1.0")), {"containerd_range": "I know"})
    assert ids(answer) == ["containerd_range"]
    assert "or accept" not in answer["findings"][0]["fix"]
    answer = ask(api(node("a"), node("b", runtime="containerd://1.8.0")), {"containerd_range": "I know"})
    assert ids(answer) == []


def test_a_confidential_mode_that_somebody_set_is_not_switched_off() -> None:
    cluster = api(node("a"), current_node("b", {"nvidia.com/cc.mode": "on"}), version="v1.35.0")
    answer = ask_current(cluster)
    assert ids(answer) == ["cc_mode"] and answer["summary"]["blocked_nodes"] == ["b"]
    note = {"katagpu.io/owned-labels": '["nvidia.com/cc.mode"]'}
    assert (
        ids(
            ask_current(
                api(node("a"), current_node("b", {"nvidia.com/cc.mode": "on"}, annotations=note), version="v1.35.0")
            )
        )
        == []
    )
    assert ids(ask_current(api(node("a"), current_node("b", {"nvidia.com/cc.mode": "off"}), version="v1.35.0"))) == []


@pytest.mark.parametrize(
    ("memory", "found"),
    [("26Gi", []), ("27262976Ki", []), ("27262975Ki", ["guest_memory"]), ("16Gi", ["guest_memory"]), ("", [])],
)
def test_a_gpu_pod_and_the_overhead_of_its_class_have_to_fit(memory: str, found: list[str]) -> None:
    cluster = api(node("a"), current_node("b", allocatable={"memory": memory}), version="v1.35.0")
    assert ids(ask_current(cluster, workload_memory_mib=16384)) == found
    assert ids(ask_current(cluster)) == []


def test_only_what_the_release_needs_has_to_be_allowed() -> None:
    assert "create ccruntimes.confidentialcontainers.org" in ask(api())["permissions"]
    assert "create ccruntimes.confidentialcontainers.org" not in ask_current(api())["permissions"]


def test_the_current_stack_does_not_join_the_legacy_one() -> None:
    """And the other way round: each replaces the configuration of containerd."""
    legacy = api(**runtime(["b"]))
    answer = inform(legacy, CURRENT, {"nodes": NAMED}, {})
    assert "two_generations" in ids(answer) and "kata-deploy" in answer["summary"]["messages"][-1]
    labels = {"app.kubernetes.io/managed-by": "kata-deploy"}
    current = {f"{CLASSES}/kata-qemu-nvidia-gpu": {"metadata": {"name": "x", "labels": labels}}}
    assert "two_generations" in ids(ask(api(**current)))
    assert "two_generations" not in ids(inform(api(version="v1.35.1", **current), CURRENT, {"nodes": NAMED}, {}))


def test_before_the_decision_nobody_is_called_ineligible() -> None:
    answer = ask(api())
    assert (answer["unprotected"], answer["labelled_not_eligible"]) == ([], [])
    assert answer["named"]["b"] == {"role": "kata", "workload": None, "labelled": False, "exposed": True}


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
