# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for GPU Operator 26.7 as a pure function, where it differs from 23.9."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.standins import facts, gpu_labels, gpu_objects, gpu_operator
from tests.lab.standins.actions import Action, Create, Delete, Note, Patch, Replace, Requeue

T = facts.GPU_OPERATOR_26
GPU = {"feature.node.kubernetes.io/pci-10de.present": "true"}
KATA = {**GPU, "nvidia.com/gpu.workload.config": "vm-passthrough"}
NOW = "2026-11-23T06:00:00Z"
DEPLOY = "nvidia.com/gpu.deploy."
PLUGIN, KUBEVIRT = "nvidia-kata-sandbox-device-plugin-daemonset", "nvidia-sandbox-device-plugin-daemonset"


def node(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def policy(mode: str = "kata", **spec: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "sandboxWorkloads": {"enabled": True, "defaultWorkload": "container", "mode": mode},
        "operator": {"runtimeClass": "nvidia"},
        "daemonsets": {
            "labels": {"helm.sh/chart": "gpu-operator-v26.7.0", "app.kubernetes.io/managed-by": "gpu-operator"}
        },
        "kataManager": {"enabled": True},
        "vfioManager": {"enabled": True, "repository": "r", "image": "k8s-driver-manager", "version": "v0.12.0"},
        "sandboxDevicePlugin": {"enabled": True},
        "kataSandboxDevicePlugin": {"enabled": True, "env": [{"name": "P_GPU_ALIAS", "value": "gpu"}]},
        "vgpuDeviceManager": {"enabled": True},
        "ccManager": {"enabled": True, "defaultMode": "on"},
        "cdi": {"enabled": True},
    }
    return {
        "apiVersion": "nvidia.com/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "cluster-policy", "uid": "u1"},
        "spec": content | spec,
    }


def state(owner: dict[str, Any] | None = None, **more: Any) -> gpu_operator.GpuState:
    nodes = more.pop("nodes", [node("kata-1", KATA)])
    return gpu_operator.GpuState(
        table=T, policy=owner or policy(), nodes=nodes, namespace="gpu-operator", now=NOW, **more
    )


def created(actions: list[Action], kind: str) -> list[str]:
    return [one.body["metadata"]["name"] for one in actions if isinstance(one, Create) and one.body["kind"] == kind]


def conditions(actions: list[Action]) -> tuple[str, dict[str, dict[str, Any]]]:
    patch = next(one for one in actions if isinstance(one, Patch) and one.subresource == "status")
    status = patch.patch["status"]
    return status["state"], {one["type"]: one for one in status["conditions"]}


def test_without_the_vfio_manager_the_validator_and_the_plugin_are_deployed_all_the_same() -> None:
    """states.enabled-by, states.disabled-deleted: the init containers of both wait for a file of the validator, not for a pod."""
    owner = policy(vfioManager={"enabled": False})
    assert set(created(gpu_operator.reconcile(state()), "DaemonSet")) - set(
        created(gpu_operator.reconcile(state(owner)), "DaemonSet")
    ) == {"nvidia-vfio-manager"}
    actions = gpu_operator.reconcile(state(owner, daemonsets=existing()))
    assert [one.name for one in actions if isinstance(one, Delete)] == ["nvidia-vfio-manager"]
    assert conditions(gpu_operator.reconcile(state(owner, daemonsets=existing(owner))))[0] == "ready"


def existing(owner: dict[str, Any] | None = None, status: dict[str, int] | None = None) -> dict[str, Any]:
    """All operand DaemonSets of mode kata as the API shows them when everything runs."""
    found = {}
    for fact in gpu_objects.operand_rows(T):
        if not gpu_operator.state_enabled(T, fact["state"], (owner or policy())["spec"]):
            continue
        body = gpu_objects.daemonset(T, fact, owner or policy(), "gpu-operator")
        body["metadata"]["generation"] = 1
        counters = ("desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
        body["status"] = {**dict.fromkeys(counters, 1), "observedGeneration": 1, **(status or {})}
        found[fact["name"]] = body
    return found


# Labels


@pytest.mark.parametrize(("mode", "other"), [("kata", "kubevirt"), ("kubevirt", "kata")])
def test_the_mode_decides_about_the_label_of_the_plugin(mode: str, other: str) -> None:
    """nodes.mode-labels"""
    labels = facts.value(T, "nodes.mode-labels")
    spec = policy(mode)["spec"]
    after = gpu_labels.wanted_labels(T, {**KATA, **dict.fromkeys(labels[other], "true")}, spec)
    assert set(labels[mode]) <= set(after) and not set(labels[other]) & set(after)


def test_without_a_mode_it_is_kubevirt() -> None:
    """nodes.mode-labels: the default of the schema."""
    spec = policy(sandboxWorkloads={"enabled": True})["spec"]
    after = gpu_labels.wanted_labels(T, KATA, spec)
    assert f"{DEPLOY}sandbox-device-plugin" in after and f"{DEPLOY}kata-sandbox-device-plugin" not in after


def test_labels_of_both_nodes_are_those_of_the_observed_installation() -> None:
    """nodes.observed-labels, nodes.all-labelled"""
    observed = facts.value(T, "nodes.observed-labels")
    actions, nfd, count = gpu_labels.plan(T, [node("kata-1", KATA), node("gpu-unnamed", GPU)], policy(), {})
    assert (nfd, count) == (True, 2)
    patches = {one.name: one.patch["metadata"]["labels"] for one in actions if isinstance(one, Patch)}
    assert patches["gpu-unnamed"] == observed["gpu-unnamed"]
    assert {**patches["kata-1"], "nvidia.com/gpu.workload.config": "vm-passthrough"} == observed["kata-1"]


@pytest.mark.parametrize(("value", "after"), [("", "true"), ("paused-for-cc-mode-change", None), ("false", None)])
def test_an_empty_deploy_label_is_filled_and_others_are_kept(value: str, after: str | None) -> None:
    """nodes.deploy-labels-kept"""
    found = gpu_labels.wanted_labels(T, {**KATA, f"{DEPLOY}vfio-manager": value}, policy()["spec"])
    assert found[f"{DEPLOY}vfio-manager"] == (value if after is None else after)


def test_labels_of_the_other_stack_are_swept_and_nvsm_is_nobodys() -> None:
    """nodes.swept-labels, reschedule.nvsm"""
    swept = facts.value(T, "nodes.swept-labels")
    nvsm = facts.value(facts.DRIVER_MANAGER, "reschedule.nvsm")
    found = gpu_labels.wanted_labels(T, {**KATA, **dict.fromkeys([*swept, nvsm], "")}, policy()["spec"])
    assert not set(swept) & set(found) and found[nvsm] == ""


def test_an_invalid_workload_label_means_the_default_not_container() -> None:
    """nodes.workload-default"""
    spec = policy(sandboxWorkloads={"enabled": True, "mode": "kata", "defaultWorkload": "vm-passthrough"})["spec"]
    labels = {**GPU, "nvidia.com/gpu.workload.config": "kata"}
    assert f"{DEPLOY}vfio-manager" in gpu_labels.wanted_labels(T, labels, spec)
    actions, _, _ = gpu_labels.plan(T, [node("n", labels)], policy(), {})
    changes = next(one for one in actions if isinstance(one, Patch)).patch["metadata"]["labels"]
    assert changes[f"{DEPLOY}driver"] == "true"
    assert any(isinstance(one, Note) and "Invalid GPU workload config: kata" in one.text for one in actions)


def test_operands_false_removes_every_deploy_label() -> None:
    """nodes.operands-disabled"""
    before = gpu_labels.wanted_labels(T, KATA, policy()["spec"]) | {f"{DEPLOY}operands": "false"}
    after = gpu_labels.wanted_labels(T, before, policy()["spec"])
    assert [key for key in after if ".deploy." in key] == [f"{DEPLOY}operands"]


# States


def test_all_operands_appear_in_one_reconcile_and_none_is_ready() -> None:
    """states.order, ready.missing-daemonset, status.not-ready, status.requeue"""
    actions = gpu_operator.reconcile(state())
    names = created(actions, "DaemonSet")
    assert PLUGIN in names and "nvidia-cc-manager" in names
    assert KUBEVIRT not in names and "nvidia-kata-manager" not in names
    found, by_type = conditions(actions)
    assert (found, by_type["Ready"]["reason"], by_type["Error"]["reason"]) == ("notReady", "Error", "OperandNotReady")
    assert by_type["Error"]["message"].startswith("ClusterPolicy is not ready; states not ready: [state-driver ")
    assert by_type["Error"]["message"].endswith("state-vfio-manager state-kata-device-plugin state-cc-manager]")
    assert Requeue(5) in actions


def test_mode_kubevirt_has_neither_cc_manager_nor_the_plugin_of_kata() -> None:
    """states.mode"""
    there = existing()
    actions = gpu_operator.reconcile(state(policy("kubevirt"), daemonsets=there))
    gone = {one.name for one in actions if isinstance(one, Delete)}
    assert gone == {PLUGIN, "nvidia-cc-manager"} and created(actions, "DaemonSet") == [KUBEVIRT]


def test_kata_manager_is_never_on_and_its_leftovers_go() -> None:
    """states.never, runtimeclass.kata-deleted"""
    marker = facts.value(T, "runtimeclass.kata-deleted")
    old = {"kata-qemu-nvidia-gpu": {"metadata": {"name": "kata-qemu-nvidia-gpu", "labels": marker}}}
    ours = {
        "kata-qemu-nvidia-gpu-snp": {
            "metadata": {"name": "x", "labels": {"app.kubernetes.io/managed-by": "kata-deploy"}}
        }
    }
    there = {**existing(), "nvidia-kata-manager": {"metadata": {"name": "nvidia-kata-manager"}}}
    actions = gpu_operator.reconcile(state(daemonsets=there, runtime_classes={**old, **ours}))
    gone = {(one.kind, one.name) for one in actions if isinstance(one, Delete)}
    assert gone == {("DaemonSet", "nvidia-kata-manager"), ("RuntimeClass", "kata-qemu-nvidia-gpu")}
    assert created(actions, "ConfigMap") == []


def test_runtime_classes_are_those_observed_and_two_of_them_follow_cdi() -> None:
    """runtimeclass.observed, runtimeclass.own"""
    made = [
        {
            "name": one["metadata"]["name"],
            "handler": one["handler"],
            "labels": one["metadata"]["labels"],
            "scheduling": one.get("scheduling"),
            "overhead": one.get("overhead"),
        }
        for one in gpu_objects.runtime_classes(T, policy())
    ]
    assert made == facts.value(T, "runtimeclass.observed")
    there = {one["metadata"]["name"]: one for one in gpu_objects.runtime_classes(T, policy())}
    actions = gpu_operator.reconcile(state(policy(cdi={"enabled": False}), runtime_classes=there))
    gone = [one.name for one in actions if isinstance(one, Delete) and one.kind == "RuntimeClass"]
    assert gone == facts.value(T, "runtimeclass.own")["cdi"]


# Readiness


def test_a_missing_daemonset_is_not_ready_and_is_made_again() -> None:
    """ready.missing-daemonset"""
    there = existing()
    del there["nvidia-vfio-manager"]
    actions = gpu_operator.reconcile(state(daemonsets=there))
    assert created(actions, "DaemonSet") == ["nvidia-vfio-manager"]
    assert conditions(actions)[1]["Error"]["message"].endswith("[state-vfio-manager]")


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({}, True),
        ({"observedGeneration": 0}, False),
        ({"updatedNumberScheduled": 0}, False),
        ({"numberAvailable": 0}, False),
        ({"numberUnavailable": 1}, False),
        ({"desiredNumberScheduled": 0, "numberAvailable": 0, "observedGeneration": 0}, True),
    ],
)
def test_generations_count_unless_nothing_is_desired(status: dict[str, int], ready: bool) -> None:
    """ready.generations, ready.only-unavailable, ready.desired-zero"""
    current = existing(status=status)["nvidia-vfio-manager"]
    assert gpu_operator.daemonset_ready(T, current) is ready


def test_on_delete_looks_at_revisions() -> None:
    """ready.on-delete"""
    current = existing(status={"updatedNumberScheduled": 0})["nvidia-vfio-manager"]
    current["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert not gpu_operator.daemonset_ready(T, current)


def test_ready_is_said_without_nfd_labels_and_without_gpu_nodes() -> None:
    """status.nfd-labels-missing, status.no-gpu-nodes, states.no-gpu-nodes"""
    actions = gpu_operator.reconcile(state(nodes=[node("n", {})]))
    found, by_type = conditions(actions)
    assert (found, by_type["Ready"]["status"], by_type["Ready"]["reason"]) == ("ready", "True", "NFDLabelsMissing")
    assert created(actions, "DaemonSet") == [] and Requeue(45) in actions
    found, by_type = conditions(gpu_operator.reconcile(state(nodes=[node("n", {f"{gpu_prefix()}x": "y"})])))
    assert (found, by_type["Ready"]["status"], by_type["Ready"]["reason"]) == ("ready", "True", "NoGPUNodes")


def gpu_prefix() -> str:
    return str(facts.value(T, "nodes.nfd-prefix"))


def test_a_converged_cluster_needs_no_write() -> None:
    """status.ready, status.no-observed-generation, daemonset.hash"""
    owner = policy()
    labels = gpu_labels.wanted_labels(T, KATA, owner["spec"])
    later = state(owner, nodes=[node("k", labels)], daemonsets=existing(owner))
    later.service_accounts = {one["service_account"] for one in gpu_objects.operand_rows(T)}
    later.runtime_classes = {one["metadata"]["name"]: one for one in gpu_objects.runtime_classes(T, owner)}
    actions = gpu_operator.reconcile(later)
    assert [type(one) for one in actions] == [Patch], "the status, and nothing else"
    owner["status"] = actions[0].patch["status"]  # type: ignore[union-attr]
    assert sorted(owner["status"]) == facts.value(T, "status.no-observed-generation")
    assert owner["status"]["conditions"][0]["reason"] == "Reconciled"
    assert gpu_operator.reconcile(later) == []


# Objects


def container(owner: dict[str, Any], daemonset: str, name: str) -> dict[str, Any]:
    fact = next(one for one in gpu_objects.operand_rows(T) if one["name"] == daemonset)
    pod = gpu_objects.daemonset(T, fact, owner, "gpu-operator")["spec"]["template"]["spec"]
    found: dict[str, Any] = next(one for one in pod["initContainers"] + pod["containers"] if one["name"] == name)
    return found


def env(item: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in item["env"] if "value" in one}


def test_variables_come_from_the_policy() -> None:
    """daemonset.env, daemonset.env-from-spec, daemonset.command"""
    vfio = container(policy(), "nvidia-vfio-manager", "nvidia-vfio-manager")
    assert env(vfio)["HOST_ROOT"] == "/host" and "vfio-manage bind --all" in vfio["args"][0]
    assert vfio["image"] == "r/k8s-driver-manager:v0.12.0"
    assert env(container(policy(), "nvidia-cc-manager", "nvidia-cc-manager"))["DEFAULT_CC_MODE"] == "on"
    assert env(container(policy(), PLUGIN, "nvidia-kata-sandbox-device-plugin-ctr"))["P_GPU_ALIAS"] == "gpu"
    toolkit = ("nvidia-container-toolkit-daemonset", "nvidia-container-toolkit-ctr")
    assert env(container(policy(), *toolkit))["CDI_ENABLED"] == "true"
    assert "CDI_ENABLED" not in env(container(policy(cdi={"enabled": False}), *toolkit))
    own = policy(vfioManager={"enabled": True, "hostNetwork": True, "env": [{"name": "HOST_ROOT", "value": "/x"}]})
    assert env(container(own, "nvidia-vfio-manager", "nvidia-vfio-manager"))["HOST_ROOT"] == "/x"


def test_cc_validation_is_left_out_without_a_cc_manager() -> None:
    """daemonset.init-if"""
    fact = next(one for one in gpu_objects.operand_rows(T) if one["name"] == "nvidia-sandbox-validator")

    def names(owner: dict[str, Any]) -> list[str]:
        pod = gpu_objects.daemonset(T, fact, owner, "gpu-operator")["spec"]["template"]["spec"]
        return [one["name"] for one in pod["initContainers"]]

    assert names(policy())[0] == "cc-manager-validation"
    assert "cc-manager-validation" not in names(policy(ccManager={"enabled": False}))


def test_a_changed_value_replaces_the_daemonset_it_concerns() -> None:
    """daemonset.hash"""
    owner = policy(ccManager={"enabled": True, "defaultMode": "off"})
    actions = gpu_operator.reconcile(state(owner, daemonsets=existing()))
    assert [one.body["metadata"]["name"] for one in actions if isinstance(one, Replace)] == ["nvidia-cc-manager"]


def made(name: str, tag: str = "") -> dict[str, Any]:
    (row,) = [one for one in gpu_objects.operand_rows(T) if one["name"] == name]
    owner = policy(driver={"repository": "d", "image": "driver", "version": "1"}, devicePlugin={"image": "plugin"})
    pod: dict[str, Any] = gpu_objects.daemonset(T, row, owner, "gpu-operator", tag)["spec"]["template"]["spec"]
    return pod


def test_only_validators_of_sandbox_nodes_are_told_the_default_workload() -> None:
    """validator.default-workload-in"""
    for row in gpu_objects.operand_rows(T):
        told = [
            one["name"]
            for one in made(row["name"])["initContainers"]
            if "DEFAULT_GPU_WORKLOAD_CONFIG" in {item["name"] for item in one["env"]}
        ]
        assert told == facts.value(T, "validator.default-workload-in").get(row["name"], []), row["name"]


def test_the_image_of_the_driver_ends_in_the_operating_system() -> None:
    """driver.tag"""
    release = "feature.node.kubernetes.io/system-os_release"
    other = node("a", {f"{release}.ID": "debian", f"{release}.VERSION_ID": "13"})
    gpu = node("b", {**GPU, f"{release}.ID": "rhel", f"{release}.VERSION_ID": "9.4"})
    assert gpu_objects.os_tag(T, [gpu, other]) == "rhel9"
    assert gpu_objects.os_tag(T, [other, node("c", GPU)]) == ""
    (container,) = made("nvidia-driver-daemonset", "ubuntu24.04")["containers"]
    assert container["image"] == "d/driver:1-ubuntu24.04"


def test_init_container_of_the_mps_daemon_uses_the_image_of_the_plugin() -> None:
    """daemonset.init-images"""
    images = {one["name"]: one["image"] for one in made("nvidia-device-plugin-mps-control-daemon")["initContainers"]}
    assert "plugin" in images["mps-control-daemon-mounts"] and "plugin" not in images["toolkit-validation"]


def test_variables_of_an_operand_stay_with_its_own_container() -> None:
    (row,) = [one for one in gpu_objects.operand_rows(T) if one["name"] == "nvidia-vfio-manager"]
    manager = {"env": [{"name": "B", "value": "2"}]}
    owner = policy(vfioManager={"enabled": True, "env": [{"name": "A", "value": "1"}], "driverManager": manager})
    pod = gpu_objects.daemonset(T, row, owner, "gpu-operator")["spec"]["template"]["spec"]
    given = {
        one["name"]: {item["name"] for item in one["env"] if item["name"] in "AB"}
        for one in [*pod["initContainers"], *pod["containers"]]
    }
    assert given == {"k8s-driver-manager": {"B"}, "nvidia-vfio-manager": {"A"}}
