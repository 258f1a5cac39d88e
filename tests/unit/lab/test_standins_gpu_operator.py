# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for GPU Operator 23.9 as a pure function: each bad habit with the fact row that it cites."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.standins import facts, gpu_labels, gpu_objects, gpu_operator
from tests.lab.standins.actions import Action, Create, Delete, Note, Patch, Replace, Requeue

T = facts.GPU_OPERATOR
GPU = {"feature.node.kubernetes.io/pci-10de.present": "true"}
KATA = {**GPU, "nvidia.com/gpu.workload.config": "vm-passthrough"}
NOW = "2026-11-23T06:00:00Z"


def node(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def policy(**spec: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "sandboxWorkloads": {"enabled": True, "defaultWorkload": "container"},
        "operator": {"runtimeClass": "nvidia"},
        "daemonsets": {
            "labels": {"helm.sh/chart": "gpu-operator-v23.9.2", "app.kubernetes.io/managed-by": "gpu-operator"}
        },
        "kataManager": facts.value(T, "values.kata-manager") | {"enabled": True},
        "vfioManager": {"enabled": True},
        "sandboxDevicePlugin": {"enabled": True},
        "vgpuDeviceManager": {"enabled": True},
    }
    return {
        "apiVersion": "nvidia.com/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "cluster-policy", "uid": "u1"},
        "spec": content | spec,
    }


def state(nodes: list[dict[str, Any]], owner: dict[str, Any] | None = None, **more: Any) -> gpu_operator.GpuState:
    return gpu_operator.GpuState(
        table=T, policy=owner or policy(), nodes=nodes, namespace="gpu-operator", now=NOW, **more
    )


def created(actions: list[Action], kind: str) -> list[str]:
    return [one.body["metadata"]["name"] for one in actions if isinstance(one, Create) and one.body["kind"] == kind]


def status_of(actions: list[Action]) -> dict[str, Any]:
    patches = [one for one in actions if isinstance(one, Patch) and one.subresource == "status"]
    assert len(patches) == 1
    found: dict[str, Any] = patches[0].patch["status"]
    return found


def reason(status: dict[str, Any]) -> tuple[str, str, str]:
    conditions = {one["type"]: one for one in status["conditions"]}
    return status["state"], conditions["Ready"]["reason"], conditions["Error"]["reason"]


def existing(unavailable: dict[str, int] | None = None, desired: int = 1) -> dict[str, Any]:
    """All operand DaemonSets as the API would show them."""
    found = {}
    for fact in gpu_objects.operand_rows(T):
        body = gpu_objects.daemonset(T, fact, policy(), "gpu-operator")
        off = (unavailable or {}).get(fact["name"], 0)
        body["status"] = {
            "desiredNumberScheduled": desired,
            "numberUnavailable": off,
            "numberReady": desired - off,
            "updatedNumberScheduled": desired,
        }
        found[fact["name"]] = body
    return found


# Labels


@pytest.mark.parametrize("kind", ["container", "vm-passthrough", "vm-vgpu"])
def test_deploy_labels_follow_the_workload_label(kind: str) -> None:
    """nodes.deploy-labels"""
    after = gpu_labels.wanted_labels(T, {**GPU, "nvidia.com/gpu.workload.config": kind}, policy()["spec"])
    deployed = sorted(key for key in after if ".deploy." in key)
    assert deployed == sorted(facts.value(T, "nodes.deploy-labels")[kind])


def test_labels_of_both_nodes_are_those_of_the_observed_installation() -> None:
    """nodes.observed-labels, nodes.all-labelled: nobody named the second node, and it is labelled all the same."""
    observed = facts.value(T, "nodes.observed-labels")
    actions, nfd, count = gpu_labels.plan(T, [node("kata-1", KATA), node("gpu-unnamed", GPU)], policy(), {})
    assert (nfd, count) == (True, 2)
    patches = {one.name: one.patch["metadata"]["labels"] for one in actions if isinstance(one, Patch)}
    assert patches["gpu-unnamed"] == observed["gpu-unnamed"]
    assert {**patches["kata-1"], "nvidia.com/gpu.workload.config": "vm-passthrough"} == observed["kata-1"]


def test_an_invalid_workload_label_silently_becomes_the_default() -> None:
    """nodes.workload-default"""
    labels = {**KATA, "nvidia.com/gpu.present": "true", "nvidia.com/gpu.deploy.vfio-manager": "true"}
    labels["nvidia.com/gpu.workload.config"] = "kata"
    actions, _, _ = gpu_labels.plan(T, [node("n", labels)], policy(), {})
    changes = next(one for one in actions if isinstance(one, Patch)).patch["metadata"]["labels"]
    assert changes["nvidia.com/gpu.deploy.vfio-manager"] is None
    assert changes["nvidia.com/gpu.deploy.driver"] == "true"
    assert any(isinstance(one, Note) and "Invalid GPU workload config: kata" in one.text for one in actions)


def test_default_workload_moves_nodes_that_nobody_named_and_writes_no_workload_label() -> None:
    """nodes.workload-default, nodes.workload-not-written"""
    spec = policy(sandboxWorkloads={"enabled": True, "defaultWorkload": "vm-passthrough"})["spec"]
    after = gpu_labels.wanted_labels(T, GPU, spec)
    assert after["nvidia.com/gpu.deploy.vfio-manager"] == "true"
    assert "nvidia.com/gpu.workload.config" not in after


def test_without_sandbox_workloads_the_workload_label_means_nothing() -> None:
    """nodes.workload-default"""
    after = gpu_labels.wanted_labels(T, KATA, policy(sandboxWorkloads={"enabled": False})["spec"])
    assert "nvidia.com/gpu.deploy.driver" in after and "nvidia.com/gpu.deploy.vfio-manager" not in after


@pytest.mark.parametrize("kept", ["", "paused-for-driver-upgrade"])
def test_a_deploy_label_that_exists_is_kept(kept: str) -> None:
    """nodes.deploy-labels-kept"""
    after = gpu_labels.wanted_labels(T, {**KATA, "nvidia.com/gpu.deploy.sandbox-validator": kept}, policy()["spec"])
    assert after["nvidia.com/gpu.deploy.sandbox-validator"] == kept


def test_operands_false_removes_every_deploy_label() -> None:
    """nodes.operands-disabled"""
    before = gpu_labels.wanted_labels(T, KATA, policy()["spec"]) | {"nvidia.com/gpu.deploy.operands": "false"}
    after = gpu_labels.wanted_labels(T, before, policy()["spec"])
    assert [key for key in after if ".deploy." in key] == ["nvidia.com/gpu.deploy.operands"]


def test_a_node_that_lost_its_gpu_is_marked_false() -> None:
    """nodes.present-label"""
    before = gpu_labels.wanted_labels(T, KATA, policy()["spec"])
    del before["feature.node.kubernetes.io/pci-10de.present"]
    after = gpu_labels.wanted_labels(T, before, policy()["spec"])
    assert after == {"nvidia.com/gpu.present": "false", "nvidia.com/gpu.workload.config": "vm-passthrough"}


# One reconcile


def test_all_operands_appear_in_one_reconcile_and_the_policy_is_ready_at_once() -> None:
    """states.order, ready.missing-daemonset: what was only just created counts as ready."""
    actions = gpu_operator.reconcile(state([node("kata-1", KATA)]))
    assert created(actions, "DaemonSet") == [one["name"] for one in gpu_objects.operand_rows(T)]
    assert reason(status_of(actions)) == ("ready", "Reconciled", "Ready")
    expected = facts.value(T, "status.ready")
    assert status_of(actions)["conditions"][0] == {"type": "Ready", **expected["Ready"], "lastTransitionTime": NOW}


def test_a_missing_daemonset_counts_as_ready_and_is_made_again() -> None:
    """ready.missing-daemonset"""
    there = existing()
    del there["nvidia-vfio-manager"]
    actions = gpu_operator.reconcile(state([node("kata-1", KATA)], daemonsets=there))
    assert created(actions, "DaemonSet") == ["nvidia-vfio-manager"]
    assert reason(status_of(actions)) == ("ready", "Reconciled", "Ready")


def test_desired_zero_counts_as_ready() -> None:
    """ready.desired-zero"""
    there = existing(dict.fromkeys(["nvidia-vfio-manager"], 1), desired=0)
    assert reason(status_of(gpu_operator.reconcile(state([node("k", KATA)], daemonsets=there))))[0] == "ready"


def test_unavailable_pods_make_it_not_ready_with_all_states_in_one_message() -> None:
    """ready.only-unavailable, status.not-ready, status.requeue"""
    there = existing({"nvidia-vfio-manager": 1, "nvidia-kata-manager": 1})
    actions = gpu_operator.reconcile(state([node("k", KATA)], daemonsets=there))
    status = status_of(actions)
    assert reason(status) == ("notReady", "Error", "OperandNotReady")
    assert status["conditions"][1]["message"].endswith("states not ready: [state-vfio-manager state-kata-manager]")
    assert Requeue(5) in actions


def test_an_old_revision_counts_as_ready_unless_the_strategy_is_on_delete() -> None:
    """ready.only-unavailable, ready.on-delete"""
    current = existing()["nvidia-vfio-manager"]
    current["status"]["updatedNumberScheduled"] = 0
    assert gpu_operator.daemonset_ready(T, current)
    current["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert not gpu_operator.daemonset_ready(T, current)


def test_ready_is_said_without_nfd_labels_and_without_gpu_nodes() -> None:
    """status.nfd-labels-missing, status.no-gpu-nodes, states.no-gpu-nodes"""
    actions = gpu_operator.reconcile(state([node("n", {})]))
    assert reason(status_of(actions)) == ("ready", "NFDLabelsMissing", "Ready")
    assert created(actions, "DaemonSet") == [] and Requeue(45) in actions
    actions = gpu_operator.reconcile(state([node("n", {"feature.node.kubernetes.io/pci-1af4.present": "true"})]))
    assert reason(status_of(actions)) == ("ready", "NoGPUNodes", "Ready")
    assert created(actions, "DaemonSet") == []


def test_status_has_no_observed_generation() -> None:
    """status.no-observed-generation"""
    status = status_of(gpu_operator.reconcile(state([node("k", KATA)])))
    assert sorted(status) == facts.value(T, "status.no-observed-generation")


def test_transition_time_moves_only_with_the_status() -> None:
    """status.not-ready"""
    owner = policy()
    owner["status"] = status_of(gpu_operator.reconcile(state([node("k", KATA)])))
    later = state([node("k", gpu_labels.wanted_labels(T, KATA, owner["spec"]))], owner, daemonsets=existing())
    later.now = "2026-11-23T07:00:00Z"
    later.service_accounts = {one["service_account"] for one in gpu_objects.operand_rows(T)}
    later.runtime_classes = {one["metadata"]["name"]: one for one in gpu_objects.runtime_classes(T, owner)}
    config = gpu_objects.kata_config_map(T, owner, "gpu-operator")
    later.config_maps = {config["metadata"]["name"]: config}
    assert gpu_operator.reconcile(later) == [], "a converged cluster needs no write"
    later.daemonsets = existing({"nvidia-vfio-manager": 1})
    assert {one["lastTransitionTime"] for one in status_of(gpu_operator.reconcile(later))["conditions"]} == {later.now}


def test_disabled_states_are_deleted() -> None:
    """states.disabled-deleted, states.sandbox"""
    owner = policy(sandboxWorkloads={"enabled": False})
    actions = gpu_operator.reconcile(state([node("k", KATA)], owner, daemonsets=existing()))
    gone = {one.name for one in actions if isinstance(one, Delete)}
    sandbox = set(facts.value(T, "states.sandbox"))
    assert gone == {one["name"] for one in gpu_objects.operand_rows(T) if one["state"] in sandbox}
    # runtimeclass.kata-without-sandbox
    assert "kata-qemu-nvidia-gpu" in created(actions, "RuntimeClass")


def test_a_changed_value_replaces_the_daemonset_it_concerns() -> None:
    """daemonset.hash"""
    owner = policy(vfioManager={"enabled": True, "version": "other"})
    actions = gpu_operator.reconcile(state([node("k", KATA)], owner, daemonsets=existing()))
    assert [one.body["metadata"]["name"] for one in actions if isinstance(one, Replace)] == ["nvidia-vfio-manager"]


def test_runtime_classes_are_those_observed() -> None:
    """runtimeclass.observed, runtimeclass.kata-template"""
    made = [
        {
            "name": one["metadata"]["name"],
            "handler": one["handler"],
            "labels": one["metadata"]["labels"],
            "scheduling": one.get("scheduling"),
            "overhead": None,
        }
        for one in gpu_objects.runtime_classes(T, policy())
    ]
    assert sorted(made, key=lambda one: str(one["name"])) == facts.value(T, "runtimeclass.observed")
    assert all(one["metadata"]["ownerReferences"][0]["uid"] == "u1" for one in gpu_objects.runtime_classes(T, policy()))


def test_kata_classes_that_are_no_longer_configured_are_deleted_and_a_clash_is_an_error() -> None:
    """runtimeclass.kata-template, runtimeclass.conflict"""
    classes = {one["metadata"]["name"]: one for one in gpu_objects.runtime_classes(T, policy())}
    owner = policy(kataManager={"enabled": False})
    actions = gpu_operator.reconcile(state([node("k", KATA)], owner, runtime_classes=classes))
    gone = [one.name for one in actions if isinstance(one, Delete) and one.kind == "RuntimeClass"]
    assert gone == ["kata-qemu-nvidia-gpu", "kata-qemu-nvidia-gpu-snp"]
    clash = policy(
        kataManager={"enabled": True, "config": {"runtimeClasses": [{"name": "nvidia", "artifacts": {"url": "x"}}]}}
    )
    assert reason(status_of(gpu_operator.reconcile(state([node("k", KATA)], clash))))[2] == "ReconcileFailed"
