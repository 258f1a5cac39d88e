# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import waiting
from tests.unit.fake_api import FakeApi, node, nodes

CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


def runtime_class(name: str) -> dict[str, Any]:
    return {"api_version": "node.k8s.io/v1", "kind": "RuntimeClass", "name": name}


def wait(api: FakeApi, *objects: dict[str, Any], timeout: float = 5.0) -> list[waiting.Outcome]:
    assert waiting.problems(objects) == []
    return waiting.Wait(api, waiting.targets(objects)).run(timeout)


def test_ready_objects_are_not_waited_for() -> None:
    api = FakeApi({f"{CLASSES}/kata": {"metadata": {"name": "kata"}}})
    started = time.monotonic()
    assert [outcome.ready for outcome in wait(api, runtime_class("kata"))] == [True]
    assert time.monotonic() - started < 1


def test_an_object_that_appears_ends_the_wait_at_once() -> None:
    api = FakeApi()
    api.collections.add(CLASSES)
    threading.Timer(0.5, api.put, (f"{CLASSES}/kata", {"metadata": {"name": "kata"}})).start()
    started = time.monotonic()
    outcome = wait(api, runtime_class("kata"))[0]
    assert outcome.ready
    assert time.monotonic() - started < 0.5 + 2


def test_a_kind_that_does_not_exist_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "RETRY_SECONDS", 0.05)
    api = FakeApi()
    policy = {"api_version": "nvidia.com/v1", "kind": "ClusterPolicy", "name": "p"}
    condition = {"type": "Ready", "status": "True", "reason": "Reconciled"}
    ready = {"metadata": {"name": "p"}, "status": {"state": "ready", "conditions": [condition]}}
    threading.Timer(0.3, api.put, ("/apis/nvidia.com/v1/clusterpolicies/p", ready)).start()
    assert wait(api, policy)[0].ready


def test_objects_of_one_kind_share_a_watch() -> None:
    names = [f"n{index}" for index in range(30)]
    api = FakeApi(nodes(*(node(name) for name in names)))
    outcomes = wait(api, *({"api_version": "v1", "kind": "Node", "name": name} for name in names))
    assert all(outcome.ready for outcome in outcomes)
    assert [call[0] for call in api.calls].count("GET") == 1


def test_timeout_says_what_is_missing() -> None:
    api = FakeApi(nodes(node("a", ready="False")))
    outcome = wait(api, {"api_version": "v1", "kind": "Node", "name": "a"}, timeout=0.4)[0]
    assert not outcome.ready
    assert outcome.reason == "Ready is False"


def test_a_pod_that_failed_is_not_waited_for() -> None:
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Failed"}}
    api = FakeApi({"/api/v1/namespaces/x/pods/p": pod})
    wanted = {"api_version": "v1", "kind": "Pod", "name": "p", "namespace": "x", "until": {"phase": "Succeeded"}}
    started = time.monotonic()
    assert wait(api, wanted)[0].hopeless
    assert time.monotonic() - started < 2


def test_an_api_that_refuses_is_named_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "RETRY_SECONDS", 0.05)
    api = FakeApi()
    api.refuse[CLASSES] = 500
    current = waiting.Wait(api, waiting.targets([runtime_class("kata")]))
    assert not current.run(0.4)[0].ready
    assert "500" in current.errors()[0]
    assert len(api.calls) > 2


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ({"kind": "Node", "name": "a"}, "api_version is missing"),
        ({"api_version": "v1", "kind": "Node", "name": "a", "untl": {}}, "unknown keys: untl"),
        ({"api_version": "v1", "kind": "Node", "name": "a", "until": {"phase": "x"}}, "phase unknown for Node"),
    ],
)
def test_mistakes_are_found_before_anything_is_asked(item: dict[str, Any], part: str) -> None:
    assert part in waiting.problems([item])[0]


def test_a_daemonset_is_judged_by_the_pods_of_the_nodes_waited_for() -> None:
    status = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}
    metadata = {"name": "d", "uid": "u", "annotations": {"deprecated.daemonset.template.generation": "1"}}
    found = {"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": "d"}}}, "status": status}
    pod = {
        "metadata": {"name": "p", "labels": {"pod-template-generation": "1"}, "ownerReferences": [{"uid": "u"}]},
        "spec": {"nodeName": "alive"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    api = FakeApi({"/apis/apps/v1/namespaces/s/daemonsets/d": found, "/api/v1/namespaces/s/pods/p": pod})

    def outcome(name: str) -> waiting.Outcome:
        until = {"nodes": [name]}
        target = {"api_version": "apps/v1", "kind": "DaemonSet", "namespace": "s", "name": "d", "until": until}
        return wait(api, target, timeout=0.5)[0]

    assert outcome("alive").ready
    assert not outcome("dead").ready
    assert outcome("dead").reason == "no ready, current pod on dead"
