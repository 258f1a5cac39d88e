# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent: watches the pods of its node, runs them through behaviours and reports what became of them."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from . import lifecycle, nodeobject
from .api import Api, ApiError
from .behaviour import Behaviour, Json, Outcome, Pod, Registry, failed
from .config import Config, Store, read_facts
from .context import RunContext
from .devices import AdmissionError, DeviceTable
from .heartbeat import Heartbeat, post_event
from .lifecycle import PodRecord, Step
from .logs import Logs, serve
from .plain import PlainContainer

TICK_SECONDS = 1.0
# Longer than the watch needs to show what was sent.
RESEND_SECONDS = 3.0


class Agent:
    """State of one node. All pods are worked on by one thread; watch, heartbeat and logs have their own."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.config, self.registry = config, registry
        self.root = Path(config.root)
        self.run_dir, self.state_dir = self.root / "run/katalab", self.root / "var/lib/katalab"
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.state_dir)
        token = Path(config.token_file).read_text(encoding="utf-8").strip()
        self.api = Api(config.api, config.ca_file, token, name="lab-node-agent")
        self.facts = read_facts(self.root)
        self.devices = DeviceTable(self.store.load("devices"))
        runtime = self.store.load("runtime")
        self.runtime_handlers: set[str] = set(runtime.get("handlers", []))
        self.runtime_version: str = runtime.get("version") or config.container_runtime_version
        self.runtime_down_until = 0.0
        self.pods: dict[str, Pod] = {}
        self.records: dict[str, PodRecord] = {}
        self.logs = Logs(self.root)
        self.heartbeat = Heartbeat(self.api, config, self.facts, self.node_status)
        self._contexts: dict[tuple[str, str], RunContext] = {}
        self._ticked: dict[tuple[str, str], float] = {}
        self._sent: dict[str, Json] = {}
        self._sent_at: dict[str, float] = {}
        self._removing: set[str] = set()
        self._retry_sandbox: dict[str, float] = {}
        self._pod_ips = 0
        self._plain = PlainContainer()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._listed = self._settled = False
        self._saved: tuple[Json, Json] = ({}, {})

    # -- node -----------------------------------------------------------------------------------------------------

    def node_status(self) -> Json:
        down = "container runtime is down" if time.time() < self.runtime_down_until else ""
        return nodeobject.node_status(
            self.config, self.facts, self.runtime_version, set(self.runtime_handlers), self.devices.counts(), down
        )

    def restart_runtime(self, version: str | None, seconds: float, reason: str) -> None:
        """Who has restarted containerd is kept, so that a test can say that nobody else did."""
        with (self.state_dir / "runtime-restarts").open("a", encoding="utf-8") as record:
            record.write(f"{lifecycle.stamp(time.time())} {reason}\n")
        self.runtime_down_until = time.time() + seconds
        self.runtime_version = version or self.runtime_version
        self.heartbeat.changed()
        timer = threading.Timer(seconds + 0.05, self.heartbeat.changed)
        timer.daemon = True
        timer.start()

    def _save(self) -> None:
        runtime = {"handlers": sorted(self.runtime_handlers), "version": self.runtime_version}
        devices = {**self.devices.checkpoint(), "published": {k: list(v) for k, v in self.devices.published.items()}}
        if (runtime, devices) != self._saved:
            self.store.save("runtime", runtime)
            self.store.save("devices", self.devices.checkpoint())
            # A copy: the table's own lists go on changing.
            self._saved = (runtime, {**devices, "held": {k: dict(v) for k, v in self.devices.held.items()}})
            self.heartbeat.changed()

    # -- threads --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        serve(self.config, self.find_log)
        self.heartbeat.start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        while True:
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            self.sync_all()

    def _watch(self) -> None:
        selector = f"spec.nodeName={self.config.node}"
        while True:
            try:
                listed = self.api.get("/api/v1/pods", fieldSelector=selector)
                with self._lock:
                    self.pods = {item["metadata"]["uid"]: item for item in listed["items"]}
                self._listed = True
                self._wake.set()
                version = listed["metadata"]["resourceVersion"]
                while True:
                    for kind, item in self.api.watch("/api/v1/pods", version, fieldSelector=selector):
                        version = item["metadata"]["resourceVersion"]
                        self._received(kind, item)
            except (ApiError, OSError, ValueError) as error:
                print(f"watch: {error}", file=sys.stderr, flush=True)
                time.sleep(1)

    def _received(self, kind: str, item: Json) -> None:
        if kind == "BOOKMARK":
            return
        uid = item["metadata"]["uid"]
        with self._lock:
            # A new dictionary each time, so that the worker can go through the one it holds.
            rest = {key: pod for key, pod in self.pods.items() if key != uid}
            self.pods = rest if kind == "DELETED" else {**rest, uid: item}
        self._wake.set()

    # -- pods -----------------------------------------------------------------------------------------------------

    def sync_all(self) -> None:
        if not self._listed:
            return
        pods = self.pods
        if not self._settled:
            self.devices.keep_only(set(pods))
            self.logs.keep_only(set(pods))
            self._settled = True
        for uid in [uid for uid in self.records if uid not in pods]:
            self._forget(uid)
        for uid, pod in pods.items():
            try:
                self._sync(uid, pod)
            except (ApiError, OSError) as error:
                print(f"{lifecycle.key_of(pod)}: {error}", file=sys.stderr, flush=True)
            except Exception:
                print(f"{lifecycle.key_of(pod)}: {traceback.format_exc()}", file=sys.stderr, flush=True)
        self._save()

    def _sync(self, uid: str, pod: Pod) -> None:
        if uid in self._removing:
            return
        record = self.records.get(uid) or self._admit(uid, pod)
        deleted = "deletionTimestamp" in pod["metadata"]
        for _ in range(50):
            steps = [step for step in lifecycle.decide(record, deleted, time.time()) if self._due(uid, step)]
            if not steps:
                break
            if not all([self._do(uid, pod, record, step) for step in steps]):
                break
        self._publish(uid, pod, record)

    def _due(self, uid: str, step: Step) -> bool:
        if step.action == "tick":
            return time.time() - self._ticked.get((uid, step.container), 0.0) >= TICK_SECONDS * 0.9
        if step.action == "sandbox":
            return time.time() >= max(self._retry_sandbox.get(uid, 0.0), self.runtime_down_until)
        return True

    def _admit(self, uid: str, pod: Pod) -> PodRecord:
        now = time.time()
        record = lifecycle.new_record(pod, now)
        self.records[uid] = record
        if record.phase in lifecycle.TERMINAL:
            return record
        if any(run.restarts or run.again for run in record.containers.values()):
            lifecycle.restart_inits(record)
        try:
            self.devices.admit(uid, pod)
        except AdmissionError as error:
            record.phase, record.reason, record.message = "Failed", "UnexpectedAdmissionError", str(error)
            self.event(pod, "UnexpectedAdmissionError", str(error), "Warning")
        if pod["spec"].get("hostNetwork"):
            record.ip = self.config.address
        else:
            self._pod_ips += 1
            record.ip = nodeobject.pod_ip(self.config.node, self._pod_ips)
        return record

    def _do(self, uid: str, pod: Pod, record: PodRecord, step: Step) -> bool:
        """Carries out one step; False when the round ends here."""
        if step.action == "sandbox":
            return self._make_sandbox(uid, pod, record)
        if step.action == "remove":
            self._remove(uid, pod, record)
            return False
        container = self._container(pod, step.container)
        behaviour = self.registry.find(pod, container) or self._plain
        if step.action == "start":
            self._start(uid, pod, record, container, behaviour)
        elif step.action == "tick":
            context = self._contexts[uid, step.container]
            outcome = self._guard(lambda: behaviour.tick(context, pod))
            self._apply(pod, record, step, outcome)
            self._ticked[uid, step.container] = time.time()
        else:
            self._stop(uid, pod, step.container, behaviour)
            lifecycle.apply(record, step.container, "stop", Outcome("completed", ready=False), time.time())
        return True

    def _start(self, uid: str, pod: Pod, record: PodRecord, container: Json, behaviour: Behaviour) -> None:
        name = container["name"]
        restarts = lifecycle.begin(record, name)
        self.logs.begin(pod, name, restarts)
        context = RunContext(self, pod, container, lambda text: self.logs.add(pod, name, restarts, text))
        self._contexts[uid, name] = context
        self._ticked[uid, name] = time.time()
        outcome = self._guard(lambda: behaviour.start(context, pod))
        self._apply(pod, record, Step("start", name), outcome)

    def _apply(self, pod: Pod, record: PodRecord, step: Step, outcome: Outcome) -> None:
        if outcome.log:
            self.logs.add(pod, step.container, record.containers[step.container].restarts, outcome.log)
        lifecycle.apply(record, step.container, step.action, outcome, time.time())
        run = record.containers[step.container]
        if outcome.state == "failed" and run.reason == "CrashLoopBackOff" and run.restarts == 1:
            self.event(pod, "BackOff", f"Back-off restarting failed container {run.name} in pod", "Warning")

    def _guard(self, call: Callable[[], Outcome]) -> Outcome:
        try:
            return call()
        except Exception as error:
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            return failed(f"{type(error).__name__}: {error}")

    def _stop(self, uid: str, pod: Pod, name: str, behaviour: Behaviour) -> None:
        context = self._contexts.get((uid, name))
        if context is None:
            return
        try:
            behaviour.stop(context, pod)
        except Exception:
            print(traceback.format_exc(), file=sys.stderr, flush=True)

    def _make_sandbox(self, uid: str, pod: Pod, record: PodRecord) -> bool:
        name = pod["spec"].get("runtimeClassName")
        if name:
            handler = self.api.get(f"/apis/node.k8s.io/v1/runtimeclasses/{name}")["handler"]
            if handler != "runc" and handler not in self.runtime_handlers:
                if uid not in self._retry_sandbox:
                    text = f'failed to get sandbox runtime: no runtime for "{handler}" is configured'
                    text = f"Failed to create pod sandbox: rpc error: code = Unknown desc = {text}"
                    self.event(pod, "FailedCreatePodSandBox", text, "Warning")
                self._retry_sandbox[uid] = time.time() + 3.0
                return False
        record.sandbox = True
        return True

    def _container(self, pod: Pod, name: str) -> Json:
        spec = pod["spec"]
        items: list[Json] = (spec.get("initContainers") or []) + (spec.get("containers") or [])
        return next(item for item in items if item["name"] == name)

    def _publish(self, uid: str, pod: Pod, record: PodRecord) -> None:
        if uid in self._removing:
            return
        now = time.time()
        before = self._sent.get(uid)
        status = lifecycle.settle(
            lifecycle.pod_status(record, self.config.address, now), before or pod.get("status"), now
        )
        # The node controller takes Ready from the pods of a node that it does not hear from; a kubelet that is back says it again.
        if status == before and (lifecycle.agrees(pod, status) or now - self._sent_at.get(uid, 0) < RESEND_SECONDS):
            return
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        try:
            self.api.strategic_patch(path, {"metadata": {"uid": uid}, "status": status})
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        self._sent[uid], self._sent_at[uid] = status, now
        if lifecycle.phase_of(record) in lifecycle.TERMINAL:
            self.devices.release(uid)

    def _remove(self, uid: str, pod: Pod, record: PodRecord) -> None:
        meta = pod["metadata"]
        try:
            self._publish(uid, pod, record)
        except ApiError as error:
            print(f"last status of {lifecycle.key_of(pod)}: {error}", file=sys.stderr, flush=True)
        try:
            self.api.delete(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", 0, uid)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        self._removing.add(uid)
        self.devices.release(uid)
        self.logs.remove(pod)

    def _forget(self, uid: str) -> None:
        """The pod is gone from the API. One that was deleted by force still runs here and is stopped now."""
        record = self.records.pop(uid)
        for (owner, name), context in list(self._contexts.items()):
            if owner != uid:
                continue
            if uid not in self._removing and record.containers[name].state in ("running", "starting"):
                behaviour = self.registry.find(context.pod, context.container) or self._plain
                self._stop(uid, context.pod, name, behaviour)
            del self._contexts[owner, name]
            self._ticked.pop((owner, name), None)
        self.devices.release(uid)
        self._removing.discard(uid)
        self._sent.pop(uid, None)
        self._sent_at.pop(uid, None)
        self._retry_sandbox.pop(uid, None)

    def event(self, pod: Pod, reason: str, message: str, kind: str) -> None:
        meta = pod["metadata"]
        about = {"apiVersion": "v1", "kind": "Pod", **{key: meta[key] for key in ("name", "namespace", "uid")}}
        post_event(self.api, meta["namespace"], about, reason, message, kind, self.config.node)

    def find_log(
        self, namespace: str, name: str, container: str, previous: bool
    ) -> tuple[Path, Callable[[], bool]] | None:
        for uid, pod in self.pods.items():
            record = self.records.get(uid)
            if lifecycle.key_of(pod) == f"{namespace}/{name}" and record and container in record.containers:
                run = record.containers[container]
                alive: Callable[[], bool] = lambda: uid in self.pods and run.state != "terminated"  # noqa: E731, B023
                return self.logs.path(pod, container, run.restarts - int(previous)), alive
        return None
