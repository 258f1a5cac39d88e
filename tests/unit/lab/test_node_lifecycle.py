# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node agent's pod state machine: pure part, rules of the kubelet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.node import lifecycle
from tests.lab.node.behaviour import Outcome, completed, failed, running, waiting
from tests.lab.node.lifecycle import Step

NOW = 1_700_000_000.0


def pod(policy: str = "Always", inits: tuple[str, ...] = (), mains: tuple[str, ...] = ("main",)) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {
            "restartPolicy": policy,
            "initContainers": [{"name": name, "image": "i"} for name in inits],
            "containers": [{"name": name, "image": "i"} for name in mains],
        },
    }


def record_of(description: dict[str, Any]) -> lifecycle.PodRecord:
    record = lifecycle.new_record(description, NOW)
    record.sandbox, record.ip = True, "10.244.1.2"
    return record


def start(record: lifecycle.PodRecord, name: str, outcome: Outcome, now: float = NOW) -> None:
    assert Step("start", name) in lifecycle.decide(record, False, now)
    lifecycle.begin(record, name)
    lifecycle.apply(record, name, "start", outcome, now)


def conditions(record: lifecycle.PodRecord) -> dict[str, str]:
    return {item["type"]: item["status"] for item in lifecycle.pod_status(record, "a", NOW)["conditions"]}


def test_first_comes_the_sandbox() -> None:
    record = lifecycle.new_record(pod(), NOW)
    assert lifecycle.decide(record, False, NOW) == [Step("sandbox")]
    assert lifecycle.phase_of(record) == "Pending"
    assert "podIP" not in lifecycle.pod_status(record, "a", NOW)


def test_init_containers_run_in_order_before_the_others() -> None:
    record = record_of(pod(inits=("a", "b")))
    assert lifecycle.decide(record, False, NOW) == [Step("start", "a")]
    start(record, "a", running())
    assert lifecycle.decide(record, False, NOW) == [Step("tick", "a")]
    status = lifecycle.pod_status(record, "a", NOW)
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert conditions(record)["Initialized"] == "False"
    lifecycle.apply(record, "a", "tick", completed(), NOW)
    start(record, "b", completed())
    assert lifecycle.phase_of(record) == "Pending"
    start(record, "main", running())
    assert lifecycle.phase_of(record) == "Running"
    assert conditions(record)["Initialized"] == conditions(record)["Ready"] == "True"


def test_a_sidecar_lets_the_next_container_start_and_is_restarted() -> None:
    description = pod(policy="Never", inits=("side",))
    description["spec"]["initContainers"][0]["restartPolicy"] = "Always"
    record = record_of(description)
    start(record, "side", running())
    assert Step("start", "main") in lifecycle.decide(record, False, NOW)
    lifecycle.apply(record, "side", "tick", failed("x"), NOW)
    assert lifecycle.decide(record, False, NOW) == [Step("start", "side")]


def test_a_waiting_outcome_keeps_the_pod_pending_with_its_reason() -> None:
    record = record_of(pod())
    start(record, "main", waiting("CreateContainerConfigError", "no such secret"))
    assert lifecycle.phase_of(record) == "Pending"
    state = lifecycle.pod_status(record, "a", NOW)["containerStatuses"][0]["state"]
    assert state == {"waiting": {"reason": "CreateContainerConfigError", "message": "no such secret"}}
    assert lifecycle.decide(record, False, NOW) == [Step("tick", "main")]


def test_running_but_not_ready() -> None:
    record = record_of(pod(mains=("main", "other")))
    start(record, "main", running(ready=False))
    start(record, "other", running())
    status = lifecycle.pod_status(record, "a", NOW)
    ready = next(item for item in status["conditions"] if item["type"] == "Ready")
    assert status["phase"] == "Running"
    assert ready["status"] == "False"
    assert ready["message"] == "containers with unready status: [main]"


@pytest.mark.parametrize(
    ("policy", "outcome", "phase", "restarts"),
    [
        ("Never", completed(), "Succeeded", False),
        ("Never", failed("x"), "Failed", False),
        ("OnFailure", completed(), "Succeeded", False),
        ("OnFailure", failed("x"), "Running", True),
        ("Always", completed(), "Running", True),
        ("Always", failed("x"), "Running", True),
    ],
)
def test_restart_policy(policy: str, outcome: Outcome, phase: str, restarts: bool) -> None:
    record = record_of(pod(policy))
    start(record, "main", running())
    lifecycle.apply(record, "main", "tick", outcome, NOW)
    assert lifecycle.phase_of(record) == phase
    assert bool(lifecycle.decide(record, False, NOW)) is restarts


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    record = record_of(pod("Never", inits=("a",)))
    start(record, "a", failed("x", 3))
    assert lifecycle.phase_of(record) == "Failed"
    assert lifecycle.decide(record, False, NOW) == []


def test_crash_loop_counts_restarts_at_the_start_and_backs_off_up_to_ten_seconds() -> None:
    record, now, delays = record_of(pod()), NOW, []
    for count in range(6):
        start(record, "main", failed("boom"), now)
        run = record.containers["main"]
        assert run.restarts == count
        delays.append(run.restart_after - now)
        assert bool(lifecycle.decide(record, False, run.restart_after - 0.1)) is False
        now = run.restart_after
    assert delays == [0.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    status = lifecycle.pod_status(record, "a", now)["containerStatuses"][0]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["message"] == "boom"


def test_deletion_stops_what_runs_then_removes() -> None:
    record = record_of(pod(mains=("a", "b")))
    start(record, "a", running())
    assert lifecycle.decide(record, True, NOW) == [Step("stop", "a")]
    lifecycle.apply(record, "a", "stop", Outcome("completed"), NOW)
    assert record.containers["a"].state == "terminated"
    assert lifecycle.decide(record, True, NOW) == [Step("remove")]


def test_a_pod_without_sandbox_is_removed_at_once() -> None:
    assert lifecycle.decide(lifecycle.new_record(pod(), NOW), True, NOW) == [Step("remove")]


def taken_over(policy: str, inits: tuple[str, ...] = ()) -> lifecycle.PodRecord:
    description = pod(policy, inits)
    record = record_of(description)
    for name in inits:
        start(record, name, completed())
    start(record, "main", running())
    description["status"] = lifecycle.pod_status(record, "a", NOW)
    return lifecycle.new_record(description, NOW + 60)


def test_after_a_reboot_containers_start_again_with_one_more_restart() -> None:
    record = taken_over("Always", ("a",))
    lifecycle.restart_inits(record)
    record.sandbox = True
    start(record, "a", completed())
    start(record, "main", running())
    assert record.containers["a"].restarts == record.containers["main"].restarts == 1
    assert record.containers["main"].last["terminated"]["reason"] == "Unknown"
    assert record.started_at == NOW


def test_after_a_reboot_a_pod_that_never_restarts_has_failed() -> None:
    record = taken_over("Never", ("a",))
    lifecycle.restart_inits(record)
    assert lifecycle.phase_of(record) == "Failed"
    assert lifecycle.decide(record, False, NOW) == []


def test_a_finished_pod_stays_finished() -> None:
    description = pod("Never")
    description["status"] = {"phase": "Succeeded"}
    record = lifecycle.new_record(description, NOW)
    assert lifecycle.decide(record, False, NOW) == []
    assert lifecycle.decide(record, True, NOW) == [Step("remove")]


def test_transition_times_change_only_with_the_condition() -> None:
    record = record_of(pod())
    first = lifecycle.settle(lifecycle.pod_status(record, "a", NOW), None, NOW)
    again = lifecycle.settle(lifecycle.pod_status(record, "a", NOW + 9), first, NOW + 9)
    assert again == first
    start(record, "main", running())
    later = lifecycle.settle(lifecycle.pod_status(record, "a", NOW + 20), first, NOW + 20)
    times = {item["type"]: item["lastTransitionTime"] for item in later["conditions"]}
    assert times["Ready"] == lifecycle.stamp(NOW + 20)
    assert times["Initialized"] == lifecycle.stamp(NOW)


@pytest.mark.parametrize(("known", "agreeing"), [("True", True), ("False", False), (None, False)])
def test_a_condition_that_somebody_else_changed_is_seen(known: str | None, agreeing: bool) -> None:
    """The node controller takes Ready from the pods of a node that it does not hear from."""
    pod = {"status": {"conditions": [{"type": "Ready", "status": known}] if known else []}}
    assert lifecycle.agrees(pod, {"conditions": [{"type": "Ready", "status": "True"}]}) is agreeing
