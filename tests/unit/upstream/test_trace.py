# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What remains of the objects of a controller, and what counts as a difference."""

from __future__ import annotations

import copy
from typing import Any

from tests.upstream import trace


def daemonset() -> dict[str, Any]:
    """As the API returns it, with defaults and times."""
    container = {
        "name": "manager",
        "image": "r.example/manager:v1",
        "env": [
            {"name": "MODE", "value": "on"},
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "command": ["/bin/manager"],
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/true"]}}},
    }
    pod = {
        "containers": [container],
        "initContainers": [{"name": "wait", "image": "r.example/wait:v1"}],
        "nodeSelector": {"deploy": "true"},
        "tolerations": [{"key": "a", "operator": "Exists", "value": ""}],
        "serviceAccountName": "manager",
        "terminationGracePeriodSeconds": 30,
    }
    return {
        "metadata": {
            "name": "manager",
            "uid": "1",
            "resourceVersion": "2",
            "labels": {"app": "manager"},
            "ownerReferences": [{"kind": "ClusterPolicy", "name": "p", "uid": "3"}],
        },
        "spec": {
            "selector": {"matchLabels": {"name": "manager"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {"metadata": {"labels": {"name": "manager"}}, "spec": pod},
        },
        "status": {"numberReady": 1},
    }


def test_two_runs_of_the_same_thing_are_the_same() -> None:
    other = copy.deepcopy(daemonset())
    other["metadata"] |= {"uid": "9", "resourceVersion": "9"}
    other["metadata"]["ownerReferences"][0]["uid"] = "9"
    other["status"] = {"numberReady": 0}
    assert trace.daemonset(daemonset()) == trace.daemonset(other)


def test_form_of_a_daemonset() -> None:
    form = trace.daemonset(daemonset())
    assert form["tolerations"] == [{"key": "a", "operator": "Exists"}]
    assert form["env"] == {"wait": {}, "manager": {"MODE": "on"}}
    assert form["pre_stop"] == {"manager": ["/bin/true"]}
    assert (form["host_pid"], form["owned"]) == (False, "ClusterPolicy")


def difference(path: str, value: Any) -> list[str]:
    """Upstream's differs from ours in one place."""
    theirs = trace.daemonset(daemonset())
    inner: Any = theirs
    *words, last = path.split(".")
    for word in words:
        inner = inner[word]
    inner[last] = value
    ours = {"DaemonSet": {"m": trace.daemonset(daemonset())}}
    return list(trace.differences(ours, {"DaemonSet": {"m": theirs}}))


def test_a_label_a_selector_and_an_image_are_differences() -> None:
    for path in ("labels.app", "selector.name", "images.manager", "pre_stop.manager", "node_selector.deploy", "owned"):
        assert len(difference(path, "x")) == 1, path
    assert difference("pod_labels.more", "x") == ["DaemonSet m pod_labels more: only upstream has it, 'x'"]


def test_of_variables_and_commands_only_what_ours_says_is_compared() -> None:
    assert difference("env.manager.MORE", "x") == []
    assert difference("command.wait.args", ["x"]) == []
    assert difference("env.manager.MODE", "off") == ["DaemonSet m env manager MODE: ours 'on', upstream's 'off'"]
    ours = {"env": {"manager": {"MODE": "on"}}}
    assert list(trace.differences(ours, {"env": {}})) == ["env manager: only ours has it, {'MODE': 'on'}"]


def test_objects_that_only_one_side_has() -> None:
    ours: dict[str, Any] = {"DaemonSet": {"a": {}, "b": {}}}
    theirs: dict[str, Any] = {"DaemonSet": {"b": {}, "c": {}}}
    assert [text.partition(",")[0] for text in trace.differences(ours, theirs)] == [
        "DaemonSet a: only ours has it",
        "DaemonSet c: only upstream has it",
    ]


def test_nodes_classes_and_status() -> None:
    node = {"metadata": {"name": "n", "labels": {"nvidia.com/gpu.present": "true", "feature.node/x": "1"}}}
    owner = [{"kind": "ClusterPolicy", "name": "p", "uid": "1"}]
    one = {"handler": "nvidia", "metadata": {"name": "nvidia", "ownerReferences": owner}}
    condition = {"type": "Ready", "status": "True", "reason": "Reconciled", "lastTransitionTime": "now"}
    policy = {"metadata": {"name": "p"}, "status": {"state": "ready", "namespace": "g", "conditions": [condition]}}
    seen = trace.trace([daemonset()], [node], [one], [policy])
    assert seen["Node"] == {"n": {"nvidia.com/gpu.present": "true"}}
    assert seen["RuntimeClass"]["nvidia"]["owned"] == "ClusterPolicy"
    ready = {"status": "True", "reason": "Reconciled", "message": ""}
    assert seen["ClusterPolicy"]["p"] == {"state": "ready", "namespace": "g", "conditions": {"Ready": ready}}
    policy["status"]["observedGeneration"] = 4  # type: ignore[index]
    assert trace.policy(policy)["other_fields"] == ["observedGeneration"]


def test_rows_of_a_fact_table() -> None:
    seen = {"m": trace.daemonset(daemonset())}
    row = {
        "selector": {"name": "manager"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "enabled_by": "manager",
    }
    assert list(trace.against_facts({"m": row}, seen)) == []
    assert len(list(trace.against_facts({"m": {**row, "selector": {"app": "manager"}}}, seen))) == 1
    assert list(trace.against_facts({"gone": row}, seen)) == ["DaemonSet gone: the controller made none"]
