# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.action.cluster_info import inform
from tests.unit.assess_cluster import (
    CLASSES,
    CURRENT,
    ELIGIBLE,
    HELM,
    NAMED,
    POLICIES,
    RELEASE,
    api,
    ask,
    ask_current,
    current_node,
    ids,
    policy,
    release_secret,
    runtime,
)
from tests.unit.fake_api import node


def test_a_runtime_does_not_come_to_nodes_that_are_not_eligible() -> None:
    """Neither to a host with a block that got its label earlier, nor to a node nobody named."""
    labels = RELEASE["coco_operator"]["node_selector"]
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
    assert [(item["id"], item["node"]) for item in answer["findings"] if item["node"]] == [("taint", "b")]
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
