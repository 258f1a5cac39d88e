# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import readiness
from tests.unit.fake_api import node


def daemonset(desired: int, updated: int, available: int, generation: int = 1, observed: int = 1) -> dict[str, Any]:
    status = {
        "desiredNumberScheduled": desired,
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "observedGeneration": observed,
    }
    return {"metadata": {"name": "d", "generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("found", "until", "ready"),
    [
        (daemonset(0, 0, 0), {}, False),
        (daemonset(0, 0, 0), {"min_ready": 0}, True),
        (daemonset(1, 1, 1), {}, True),
        (daemonset(1, 1, 1), {"nodes": ["a", "b"]}, False),
        (daemonset(2, 2, 2), {"nodes": ["a", "b"]}, True),
        (daemonset(2, 1, 2), {}, False),
        (daemonset(2, 2, 1), {}, False),
        (daemonset(1, 1, 1, generation=2), {}, False),
    ],
)
def test_daemonset(found: dict[str, Any], until: dict[str, Any], ready: bool) -> None:
    assert readiness.judge("DaemonSet", found, until).ready is ready


def daemonset_pod(
    on: str, ready: str = "True", generation: str = "3", uid: str = "u", **metadata: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"d-{on}",
            "labels": {"pod-template-generation": generation},
            "ownerReferences": [{"uid": uid}],
            **metadata,
        },
        "spec": {"nodeName": on},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def with_selector(found: dict[str, Any]) -> dict[str, Any]:
    annotations = {"deprecated.daemonset.template.generation": "3"}
    found["metadata"].update(uid="u", namespace="s", annotations=annotations)
    found["spec"] = {"selector": {"matchLabels": {"name": "d", "app": "x"}}}
    return found


@pytest.mark.parametrize(
    ("found", "until", "selector"),
    [
        (daemonset(3, 3, 2), {"nodes": ["a", "b"]}, "app=x,name=d"),
        # A node without the label has no pod, and another one would hide that from the counts.
        (daemonset(2, 2, 2), {"nodes": ["a", "b"]}, "app=x,name=d"),
        (daemonset(3, 3, 1), {"nodes": ["a", "b"]}, None),
        (daemonset(3, 3, 2), {}, None),
        (daemonset(3, 3, 2, generation=2), {"nodes": ["a", "b"]}, None),
    ],
)
def test_pods_decide_where_nodes_are_named_and_enough_are_available(
    found: dict[str, Any], until: dict[str, Any], selector: str | None
) -> None:
    assert readiness.ask_for_pods("DaemonSet", with_selector(found), until) == selector
    assert readiness.ask_for_pods("DaemonSet", None, until) is None


@pytest.mark.parametrize(
    ("pods", "ready"),
    [
        ([daemonset_pod("a"), daemonset_pod("b"), daemonset_pod("dead", "False")], True),
        ([daemonset_pod("a"), daemonset_pod("other")], False),
        ([daemonset_pod("a"), daemonset_pod("b", "False")], False),
        ([daemonset_pod("a"), daemonset_pod("b", generation="2")], False),
        ([daemonset_pod("a"), daemonset_pod("b", uid="another")], False),
        ([daemonset_pod("a"), daemonset_pod("b", deletionTimestamp="now")], False),
    ],
)
def test_a_dead_node_does_not_hold_up_the_others(pods: list[dict[str, Any]], ready: bool) -> None:
    found = with_selector(daemonset(3, 3, 2))
    assert readiness.judge_by_pods(found, {"nodes": ["a", "b"]}, pods).ready is ready


def policy(state: str, reason: str, status: str = "True") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": status, "reason": reason}]
    return {"metadata": {"name": "cluster-policy"}, "status": {"state": state, "conditions": conditions}}


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        (policy("ready", "Reconciled"), True),
        # Both are also set when there is nothing to do, which is not what was waited for.
        (policy("ready", "NFDLabelsMissing"), False),
        (policy("ready", "NoGPUNodes"), False),
        (policy("notReady", "OperandNotReady", "False"), False),
        ({"metadata": {}, "status": {}}, False),
    ],
)
def test_cluster_policy(found: dict[str, Any], ready: bool) -> None:
    assert readiness.judge("ClusterPolicy", found, {}).ready is ready


def cc_runtime(total: int, completed: int, finalizer: bool = True, names: str = "") -> dict[str, Any]:
    done = {"completedNodesCount": completed, "completedNodesList": names.split()}
    return {
        "metadata": {"name": "c", "finalizers": [readiness.CC_FINALIZER] if finalizer else []},
        "status": {"totalNodesCount": total, "installationStatus": {"completed": done}},
    }


@pytest.mark.parametrize(
    ("found", "until", "ready"),
    [
        (cc_runtime(0, 0), {}, False),
        (cc_runtime(2, 2), {"completed": 2}, True),
        (cc_runtime(2, 2), {"completed": 3}, False),
        (cc_runtime(2, 1), {}, False),
        (cc_runtime(2, 2, finalizer=False), {}, False),
        (cc_runtime(2, 2, names="a b"), {"nodes": ["a"]}, True),
        (cc_runtime(2, 2, finalizer=False, names="a b"), {"nodes": ["a"]}, False),
        (cc_runtime(3, 2, finalizer=False, names="a b"), {"nodes": ["a", "b"]}, True),
        (cc_runtime(3, 2, names="a dead"), {"nodes": ["a", "b"]}, False),
        (cc_runtime(2, 2), {"nodes": ["a", "b"]}, False),
    ],
)
def test_cc_runtime(found: dict[str, Any], until: dict[str, Any], ready: bool) -> None:
    assert readiness.judge("CcRuntime", found, until).ready is ready


@pytest.mark.parametrize(
    ("until", "ready"),
    [
        ({}, True),
        ({"boot_id": "NEW"}, True),
        ({"boot_id": "old"}, False),
        ({"not_boot_id": "new"}, False),
        ({"allocatable_gpus": 1}, True),
        ({"allocatable_gpus": 2}, False),
        ({"allocatable": {"nvidia.com/GA102GL_A10": 1}}, True),
        ({"labels": {"x": "1"}}, True),
        ({"labels": {"x": None}}, False),
        ({"labels": {"y": None}}, True),
        ({"container_runtime": "containerd://1.6.8.2"}, False),
        ({"conditions": {"Ready": "False"}}, False),
        ({"absent": True}, False),
    ],
)
def test_node(until: dict[str, Any], ready: bool) -> None:
    found = node("n", {"x": "1"}, boot_id="new", allocatable={"nvidia.com/GA102GL_A10": "1", "nvidia.com/gpu": "4"})
    assert readiness.judge("Node", found, until).ready is ready


def test_node_that_is_not_ready_may_be_waited_for_without_readiness() -> None:
    found = node("n", ready="Unknown", boot_id="new")
    assert not readiness.judge("Node", found, {}).ready
    assert readiness.judge("Node", found, {"ready": False, "boot_id": "new"}).ready


def test_old_heartbeat_does_not_count() -> None:
    found = node("n")
    found["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:00:00Z"
    assert not readiness.judge("Node", found, {"heartbeat_after": "2026-01-01T00:00:01Z"}).ready
    assert readiness.judge("Node", found, {"heartbeat_after": "2025-12-31T23:59:59Z"}).ready


def pod(phase: str) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": {"phase": phase, "conditions": []}}


@pytest.mark.parametrize(
    ("phase", "until", "ready", "hopeless"),
    [
        ("Succeeded", {"phase": "Succeeded"}, True, False),
        ("Running", {"phase": "Succeeded"}, False, False),
        ("Failed", {"phase": "Succeeded"}, False, True),
        ("Failed", {}, False, True),
    ],
)
def test_pod(phase: str, until: dict[str, Any], ready: bool, hopeless: bool) -> None:
    verdict = readiness.judge("Pod", pod(phase), until)
    assert (verdict.ready, verdict.hopeless) == (ready, hopeless)


def test_what_containers_wait_for_is_told() -> None:
    found = pod("Pending")
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    found["status"]["containerStatuses"] = [{"name": "c", "state": state}]
    assert "ImagePullBackOff no such image" in readiness.judge("Pod", found, {}).reason


def test_object_that_is_being_deleted_is_neither_ready_nor_gone() -> None:
    found = {"metadata": {"name": "r", "deletionTimestamp": "now", "finalizers": ["f"]}}
    assert not readiness.judge("RuntimeClass", found, {}).ready
    assert not readiness.judge("RuntimeClass", found, {"absent": True}).ready
    assert readiness.judge("RuntimeClass", None, {"absent": True}).ready


def test_crd_needs_both_conditions() -> None:
    established = {"type": "Established", "status": "True"}
    found: dict[str, Any] = {"metadata": {"name": "c"}, "status": {"conditions": [established]}}
    assert not readiness.judge("CustomResourceDefinition", found, {}).ready
    found["status"]["conditions"].append({"type": "NamesAccepted", "status": "True"})
    assert readiness.judge("CustomResourceDefinition", found, {}).ready


@pytest.mark.parametrize(
    ("replicas", "available", "observed", "ready"),
    [(1, 1, 1, True), (1, 0, 1, False), (0, 0, 1, False), (1, 1, 0, False)],
)
def test_deployment(replicas: int, available: int, observed: int, ready: bool) -> None:
    status = {
        "replicas": available,
        "updatedReplicas": available,
        "availableReplicas": available,
        "observedGeneration": observed,
    }
    found = {"metadata": {"name": "d", "generation": 1}, "spec": {"replicas": replicas}, "status": status}
    assert readiness.judge("Deployment", found, {}).ready is ready
