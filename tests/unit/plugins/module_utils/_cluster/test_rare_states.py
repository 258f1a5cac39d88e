# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States of objects that are rarely seen, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import labels, paths, readiness
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import ApiError
from tests.unit.fake_api import FakeApi, node


def crd(**conditions: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions.items()]}}


@pytest.mark.parametrize(
    ("found", "ready", "detail"),
    [
        (crd(NamesAccepted="True", Established="True"), True, "Established is True"),
        (crd(NamesAccepted="True"), False, "Established is not set"),
        (crd(NamesAccepted="False", Established="True"), False, "Established is True"),
        ({}, False, "Established is not set"),
    ],
)
def test_a_kind_is_known_when_both_conditions_say_so(found: dict[str, Any], ready: bool, detail: str) -> None:
    assert readiness.judge("CustomResourceDefinition", found, {}) == readiness.Verdict(ready, detail)


def pod(phase: str, ready: str = "False", **status: Any) -> dict[str, Any]:
    return {"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}], **status}}


@pytest.mark.parametrize(
    ("found", "until", "ready", "hopeless"),
    [
        (pod("Running", "True"), {}, True, False),
        (pod("Running"), {}, False, False),
        (pod("Failed"), {}, False, True),
        (pod("Succeeded"), {}, False, True),
        (pod("Succeeded"), {"phase": "Succeeded"}, True, False),
        (pod("Failed"), {"phase": "Succeeded"}, False, True),
        (pod("Running"), {"phase": "Succeeded"}, False, False),
    ],
)
def test_a_pod_that_has_ended_will_not_get_ready(
    found: dict[str, Any], until: dict[str, Any], ready: bool, hopeless: bool
) -> None:
    verdict = readiness.judge("Pod", found, until)
    assert (verdict.ready, verdict.hopeless) == (ready, hopeless)
    assert verdict.reason == f"phase {found['status']['phase']}"


def test_why_containers_do_not_run() -> None:
    status = {
        "initContainerStatuses": [{"name": "i", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}],
        "containerStatuses": [
            {"name": "a", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            {"name": "b", "state": {"terminated": {"reason": "Error", "exitCode": 2}}},
            {"name": "c", "state": {"running": {}}},
        ],
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node fits"}],
    }
    assert readiness.container_states({"status": status}) == [
        "container a waiting: ImagePullBackOff no such image",
        "container b terminated: Error (exit code 2)",
        "not scheduled: no node fits",
    ]


def job(**conditions: dict[str, str]) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, **condition} for kind, condition in conditions.items()]}}


def test_a_job_that_failed_is_hopeless() -> None:
    failed = job(Failed={"status": "True", "reason": "BackoffLimitExceeded", "message": "too often"})
    verdict = readiness.judge("Job", failed, {})
    assert verdict == readiness.Verdict(False, "failed: True BackoffLimitExceeded too often", True)
    assert readiness.judge("Job", job(Complete={"status": "True"}), {}).ready
    assert readiness.judge("Job", {}, {}) == readiness.Verdict(False, "Complete is not set")


def test_conditions_that_are_waited_for() -> None:
    found = {"metadata": {"labels": {"a": "1"}}, **job(Synced={"status": "Unknown"})}
    wanted = {"labels": {"a": "2", "b": ""}, "conditions": {"Synced": "True", "Other": "False"}}
    assert readiness.judge("Thing", found, wanted).reason == (
        "label a is '1', wanted '2'; label b is None, wanted ''; "
        "condition Synced is Unknown, wanted True; condition Other is not set, wanted False"
    )
    met = {"labels": {"a": "1"}, "conditions": {"Synced": "Unknown"}}
    assert readiness.judge("Thing", found, met) == readiness.Verdict(True, "exists")


def test_an_error_of_the_policy_is_told() -> None:
    error = {"status": "True", "reason": "ReconcileFailed"}
    found = job(Ready={"status": "False"}, Error=error)
    found["status"]["state"] = "notReady"
    assert readiness.judge("ClusterPolicy", found, {}) == readiness.Verdict(
        False, "state notReady, Ready is False, Error is True ReconcileFailed"
    )


def cc_runtime(completed: int, total: int, **more: Any) -> dict[str, Any]:
    install = {"completed": {"completedNodesCount": completed}, "failed": {"failedNodesCount": 0}}
    return {"status": {"totalNodesCount": total, "installationStatus": install}, **more}


@pytest.mark.parametrize(
    ("found", "until", "ready", "part"),
    [
        (cc_runtime(0, 0), {}, False, "at least 1 nodes wanted"),
        (cc_runtime(1, 2), {}, False, "1 of 2 nodes completed, 0 failed"),
        (cc_runtime(1, 1), {}, False, "has not added its finalizer yet"),
        (cc_runtime(1, 1), {"finalizer": ""}, True, "1 of 1 nodes completed"),
        (cc_runtime(1, 1, metadata={"finalizers": ["mine"]}), {"finalizer": "mine"}, True, "1 of 1"),
        (cc_runtime(1, 1), {"completed": 2, "finalizer": ""}, False, "at least 2 nodes wanted"),
    ],
)
def test_a_runtime_without_named_nodes_is_counted(
    found: dict[str, Any], until: dict[str, Any], ready: bool, part: str
) -> None:
    verdict = readiness.judge("CcRuntime", found, until)
    assert verdict.ready is ready and part in verdict.reason


def test_labels_that_no_api_server_accepts() -> None:
    wanted = {"a": {"x": 1, "-bad": "v", "ok": "no blank", "p/q/r": None}, "b": "text"}
    assert labels.problems(wanted) == [
        "a: the value of x must be text or null, it is 1",
        "a: '-bad' is not a label key",
        "a: 'no blank' is not a label value (ok)",
        "a: 'p/q/r' is not a label key",
        "b: the labels must be a mapping, they are 'text'",
    ]


@pytest.mark.parametrize("text", ["no json", pytest.param("[" * 100000, id="deep"), '{"a": 1}', "7", ""])
def test_a_note_that_is_not_ours_owns_nothing(text: str) -> None:
    assert labels.owned({"annotations": {labels.OWNED_ANNOTATION: text}}) == []


def test_taking_back_a_label_that_is_gone_only_forgets_it() -> None:
    note = {labels.OWNED_ANNOTATION: '["mine", "other"]'}
    result = labels.plan([node("a", {"other": "x"}, annotations=note)], {"a": {"mine": None}})
    (change,) = result.changes
    assert change.patch == {"metadata": {"annotations": {labels.OWNED_ANNOTATION: '["other"]'}}}
    assert (change.before, change.after) == ({}, {})


def test_a_patch_that_is_refused_is_told_for_its_node() -> None:
    api = FakeApi({"/api/v1/nodes/a": node("a"), "/api/v1/nodes/b": node("b")})
    api.refuse["/api/v1/nodes/b"] = 403
    changes = labels.plan(labels.read(api), {"a": {"x": "1"}, "b": {"x": "1"}}).changes  # type: ignore[arg-type]
    assert labels.apply(api, changes, 4) == {"b": "403 refused"}  # type: ignore[arg-type]


class Discovery:
    def __init__(self, error: ApiError | None = None) -> None:
        self.error, self.asked = error, 0

    def get(self, _path: str) -> dict[str, Any]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        names = [("things", "Thing", True), ("things/status", "Thing", True), ("wholes", "Whole", False)]
        return {"resources": [{"name": name, "kind": kind, "namespaced": space} for name, kind, space in names]}


def test_kinds_are_asked_for_once() -> None:
    api = Discovery()
    kinds = paths.Kinds(api)
    assert kinds.collection("x.io/v1", "Thing", "n") == "/apis/x.io/v1/namespaces/n/things"
    assert kinds.collection("x.io/v1", "Thing", None) == "/apis/x.io/v1/namespaces/default/things"
    assert kinds.collection("x.io/v1", "Whole", "n") == "/apis/x.io/v1/wholes"
    assert kinds.collection("x.io/v1", "Nothing", None) is None and api.asked == 1


def test_a_group_that_is_not_there_may_come() -> None:
    api = Discovery(ApiError(404, "not found", "x"))
    kinds = paths.Kinds(api)
    assert kinds.find("x.io/v1", "Thing") is None and kinds.find("x.io/v1", "Thing") is None and api.asked == 2
    with pytest.raises(ApiError):
        paths.Kinds(Discovery(ApiError(500, "broken", "x"))).find("x.io/v1", "Thing")
