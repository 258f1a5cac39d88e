# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""State machine of a pod on a node: plain data in, plain data out, no clock and no API.

`decide` says what is to be done next, `apply` records what came of it, `pod_status` is what the kubelet would report.
The rules are those of the kubelet: init containers in order, restartPolicy, phases from container states.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

from .behaviour import Json, Outcome, Pod

BACKOFF_LONGEST = 10.0  # the kubelet goes up to 300 s; the lab has no time for that
TERMINAL = ("Succeeded", "Failed")


@dataclass
class ContainerRun:
    """One container of a pod as it is on the node."""

    name: str
    image: str = ""
    init: bool = False
    sidecar: bool = False
    state: str = "waiting"  # waiting | starting | running | terminated
    reason: str = "ContainerCreating"
    message: str = ""
    exit_code: int = 0
    ready: bool = False
    restarts: int = 0
    again: bool = False  # the next start is a restart
    started_at: float = 0.0
    finished_at: float = 0.0
    restart_after: float = 0.0
    last: Json = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        return self.state == "terminated" and self.exit_code == 0

    @property
    def passed(self) -> bool:
        """An init container behind which the next one may start."""
        return self.succeeded or (self.sidecar and self.state == "running")


@dataclass
class PodRecord:
    """One pod as it is on the node."""

    uid: str
    restart_policy: str
    containers: dict[str, ContainerRun]
    started_at: float
    ip: str = ""
    sandbox: bool = False
    phase: str = ""  # set when something other than the containers decides, such as a refused admission
    reason: str = ""
    message: str = ""
    ready_since: float = 0.0

    def inits(self) -> list[ContainerRun]:
        return [run for run in self.containers.values() if run.init]

    def mains(self) -> list[ContainerRun]:
        return [run for run in self.containers.values() if not run.init]


@dataclass(frozen=True)
class Step:
    """What to do next: start | tick | stop (a container), sandbox (the pod), remove (the pod)."""

    action: str
    container: str = ""


def key_of(pod: Pod) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def new_record(pod: Pod, now: float) -> PodRecord:
    """Record of a pod that this agent sees for the first time.

    A pod that an earlier agent ran is taken over as after a reboot: nothing of it runs any more, containers that had
    been started are started again with one more restart, and with restartPolicy Never they have failed.
    """
    spec = pod["spec"]
    policy = spec.get("restartPolicy", "Always")
    status = pod.get("status") or {}
    known = {
        item["name"]: item
        for item in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    }
    containers: dict[str, ContainerRun] = {}
    for init, items in ((True, spec.get("initContainers") or []), (False, spec.get("containers") or [])):
        for item in items:
            run = ContainerRun(item["name"], item.get("image", ""), init)
            run.sidecar = init and item.get("restartPolicy") == "Always"
            _take_over(run, known.get(item["name"]), policy, now)
            containers[run.name] = run
    started = _seconds(status.get("startTime")) or now
    record = PodRecord(pod["metadata"]["uid"], policy, containers, started)
    if status.get("phase") in TERMINAL:
        record.phase, record.reason = status["phase"], status.get("reason", "")
        record.message = status.get("message", "")
    return record


def _take_over(run: ContainerRun, known: Json | None, policy: str, now: float) -> None:
    if not known:
        return
    run.restarts = int(known.get("restartCount", 0))
    state = known.get("state") or {}
    if "terminated" in state:
        ended = state["terminated"]
        if run.init or (policy != "Always" and (ended.get("exitCode") == 0 or policy == "Never")):
            run.state, run.exit_code = "terminated", int(ended.get("exitCode", 0))
            run.reason, run.message = ended.get("reason", ""), ended.get("message", "")
            run.started_at, run.finished_at = _seconds(ended.get("startedAt")), _seconds(ended.get("finishedAt"))
    elif "running" in state:
        lost = {
            "exitCode": 255,
            "reason": "Unknown",
            "startedAt": state["running"].get("startedAt"),
            "finishedAt": stamp(now),
        }
        if policy == "Never" and not run.init:
            run.state, run.exit_code, run.reason, run.finished_at = "terminated", 255, "Unknown", now
            return
        run.last = {"terminated": lost}
    run.again = "running" in state or ("terminated" in state and run.state == "waiting")


def restart_inits(record: PodRecord) -> None:
    """A new sandbox runs the init containers again, unless no other container will run."""
    if record.phase in TERMINAL or all(run.state == "terminated" for run in record.mains()):
        return
    for run in record.inits():
        if run.state == "terminated":
            run.state, run.again = "waiting", True


def decide(record: PodRecord, deleted: bool, now: float) -> list[Step]:
    """The next steps of a pod; containers in one answer do not depend on each other."""
    if deleted:
        active = [run for run in record.containers.values() if run.state in ("running", "starting")]
        if active and phase_of(record) not in TERMINAL:
            # Main containers first, then sidecars from the last to the first, as the kubelet does.
            ordered = [run for run in active if not run.init] + [run for run in reversed(active) if run.init]
            return [Step("stop", run.name) for run in ordered]
        return [Step("remove")]
    if phase_of(record) in TERMINAL:
        return []
    if not record.sandbox:
        return [Step("sandbox")]
    steps: list[Step] = []
    for run in record.inits():
        steps += _next(run, record.restart_policy, now)
        if not run.passed:
            return steps
    for run in record.mains():
        steps += _next(run, record.restart_policy, now)
    return steps


def _next(run: ContainerRun, policy: str, now: float) -> list[Step]:
    if run.state in ("running", "starting"):
        return [Step("tick", run.name)]
    if run.state == "waiting":
        return [Step("start", run.name)] if now >= run.restart_after else []
    return []


def should_restart(run: ContainerRun, policy: str) -> bool:
    """Whether a container that has just ended is started again."""
    if run.sidecar:
        return True
    if run.init:
        return run.exit_code != 0 and policy != "Never"
    return policy == "Always" or (policy == "OnFailure" and run.exit_code != 0)


def begin(record: PodRecord, name: str) -> int:
    """A container is about to start: counts a restart as the kubelet does, and returns the count."""
    run = record.containers[name]
    run.restarts, run.again, run.state = run.restarts + int(run.again), False, "starting"
    return run.restarts


def apply(record: PodRecord, name: str, step: str, outcome: Outcome, now: float) -> None:
    """Records the outcome of `start` (after `begin`), `tick` or `stop` of a container."""
    run = record.containers[name]
    if outcome.state == "waiting":
        run.reason, run.message, run.ready = outcome.reason, outcome.message, False
    elif outcome.state == "running":
        if run.state != "running":
            run.state, run.started_at, run.reason, run.message = "running", now, "", ""
        run.ready = outcome.ready
    else:
        _end(record, run, outcome, now, restart=step != "stop")


def _end(record: PodRecord, run: ContainerRun, outcome: Outcome, now: float, restart: bool) -> None:
    run.state, run.ready, run.exit_code, run.finished_at = "terminated", False, outcome.exit_code, now
    run.started_at = run.started_at or now
    run.reason, run.message = outcome.reason or ("Completed" if not outcome.exit_code else "Error"), outcome.message
    if restart and should_restart(run, record.restart_policy):
        run.last = {"terminated": terminated_state(run)}
        delay = min(BACKOFF_LONGEST, float(2 ** min(run.restarts, 10))) if run.restarts else 0.0
        run.state, run.restart_after, run.again = "waiting", now + delay, True
        run.reason = "CrashLoopBackOff" if delay else "ContainerCreating"
        run.message = f"back-off {delay:.0f}s restarting failed container={run.name}" if delay else ""
        run.started_at = 0.0


def phase_of(record: PodRecord) -> str:
    """Phase of a pod from the states of its containers."""
    if record.phase:
        return record.phase
    inits = [run for run in record.inits() if not run.sidecar]
    if any(run.state == "terminated" and run.exit_code != 0 for run in inits):
        return "Failed"
    mains = record.mains()
    if not mains or any(not run.passed for run in record.inits()):
        return "Pending" if not any(run.last or run.state != "waiting" for run in mains) else "Running"
    if any(run.state in ("waiting", "starting") and not run.last for run in mains):
        return "Pending"
    if all(run.state == "terminated" for run in mains):
        return "Succeeded" if all(run.succeeded for run in mains) else "Failed"
    return "Running"


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _seconds(text: str | None) -> float:
    if not text:
        return 0.0
    import calendar

    return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))


def container_id(record: PodRecord, run: ContainerRun) -> str:
    digest = hashlib.sha256(f"{record.uid}/{run.name}/{run.restarts}".encode()).hexdigest()
    return f"containerd://{digest}"


def terminated_state(run: ContainerRun) -> Json:
    state: Json = {
        "exitCode": run.exit_code,
        "reason": run.reason or "Completed",
        "startedAt": stamp(run.started_at),
        "finishedAt": stamp(run.finished_at),
    }
    if run.message:
        state["message"] = run.message
    return state


def container_status(record: PodRecord, run: ContainerRun) -> Json:
    running = run.state == "running"
    status: Json = {
        "name": run.name,
        "image": run.image,
        "imageID": run.image if running or run.state == "terminated" else "",
        "ready": run.succeeded if run.init and not run.sidecar else running and run.ready,
        "started": running,
        "restartCount": run.restarts,
        "lastState": run.last,
    }
    if running:
        status["state"] = {"running": {"startedAt": stamp(run.started_at)}}
    elif run.state == "terminated":
        status["state"] = {"terminated": terminated_state(run)}
    else:
        reason = run.reason or "ContainerCreating"
        if reason == "ContainerCreating" and any(not other.passed for other in record.inits() if other is not run):
            reason = "PodInitializing" if not run.init or _index(record, run) else reason
        status["state"] = {"waiting": {"reason": reason, **({"message": run.message} if run.message else {})}}
    if running or run.state == "terminated":
        status["containerID"] = container_id(record, run)
    return status


def _index(record: PodRecord, run: ContainerRun) -> int:
    return list(record.containers).index(run.name)


def pod_status(record: PodRecord, address: str, now: float) -> Json:
    """The status that is patched into the pod. Condition times change only when the condition does (see `settle`)."""
    phase = phase_of(record)
    ready = phase == "Running" and all(run.ready for run in record.mains()) and not record.reason
    ready = ready and all(run.ready for run in record.inits() if run.sidecar)
    initialized = all(run.passed for run in record.inits())
    done = phase == "Succeeded"
    unready = [run.name for run in record.mains() if not run.ready]
    why: Json = {}
    if not ready:
        why = (
            {"reason": "PodCompleted"}
            if done
            else {"reason": "ContainersNotReady", "message": f"containers with unready status: [{' '.join(unready)}]"}
        )
    uninit = [run.name for run in record.inits() if not run.passed]
    status: Json = {
        "phase": phase,
        "hostIP": address,
        "hostIPs": [{"ip": address}],
        "startTime": stamp(record.started_at),
        "conditions": [
            _condition("PodReadyToStartContainers", record.sandbox and phase not in TERMINAL),
            _condition(
                "Initialized",
                initialized,
                {"reason": "PodCompleted"}
                if done
                else {}
                if initialized
                else {"reason": "ContainersNotInitialized", "message": f"containers with incomplete status: {uninit}"},
            ),
            _condition("Ready", ready, why),
            _condition("ContainersReady", ready, why),
        ],
        "containerStatuses": [container_status(record, run) for run in record.mains()],
    }
    if record.inits():
        status["initContainerStatuses"] = [container_status(record, run) for run in record.inits()]
    if record.sandbox and record.ip:
        # The list merges by address otherwise, and would keep that of an earlier sandbox.
        status["podIP"], status["podIPs"] = record.ip, [{"$patch": "replace"}, {"ip": record.ip}]
    if record.reason:
        status["reason"], status["message"] = record.reason, record.message
    return status


def _condition(kind: str, value: bool, why: Json | None = None) -> Json:
    # Explicit nulls clear what an earlier patch has left in a condition that merges by type.
    return {"type": kind, "status": "True" if value else "False", "reason": None, "message": None, **(why or {})}


def settle(status: Json, before: Json | None, now: float) -> Json:
    """Adds lastTransitionTime: the earlier one where the condition's status is unchanged."""
    earlier = {item["type"]: item for item in (before or {}).get("conditions", [])}
    conditions: list[Any] = []
    for item in status["conditions"]:
        old = earlier.get(item["type"])
        keep = old is not None and old["status"] == item["status"] and "lastTransitionTime" in old
        conditions.append({**item, "lastTransitionTime": old["lastTransitionTime"] if keep and old else stamp(now)})
    return {**status, "conditions": conditions}


def agrees(pod: Pod, status: Json) -> bool:
    """Whether the conditions that the API has of a pod are those of `status`."""
    known = {item["type"]: item["status"] for item in (pod.get("status") or {}).get("conditions") or []}
    return all(known.get(item["type"]) == item["status"] for item in status["conditions"])
