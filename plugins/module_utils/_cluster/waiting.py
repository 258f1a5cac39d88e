# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for many objects at once: one list and one watch for all objects of a kind, each in its own thread."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import readiness
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import Api, ApiError
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.paths import Kinds
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

# How long until a kind that does not exist yet, or a broken connection, is tried again.
RETRY_SECONDS = 1.0
_GONE = 410


class Target(NamedTuple):
    api_version: str
    kind: str
    name: str
    namespace: Optional[str]
    until: Dict[str, Any]

    def label(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Outcome(NamedTuple):
    target: Target
    ready: bool
    reason: str
    seconds: float
    hopeless: bool


class View(NamedTuple):
    """What is known at one moment of a wait."""

    outcomes: List[Outcome]
    # Whether every object was looked for at least once.
    complete: bool
    seconds: float
    errors: List[str]


def problems(objects: Sequence[Mapping[str, Any]]) -> List[str]:
    found = []
    for index, item in enumerate(objects):
        where = f"objects[{index}]"
        for key in ("api_version", "kind", "name"):
            if not isinstance(item.get(key), str) or not item.get(key):
                found.append(f"{where}.{key} is missing")
        unknown = set(item) - {"api_version", "kind", "name", "namespace", "until"}
        if unknown:
            found.append(f"{where} has unknown keys: {', '.join(sorted(unknown))}")
        until = item.get("until") or {}
        if not isinstance(until, Mapping):
            found.append(f"{where}.until must be a mapping")
            continue
        known = readiness.known_until(str(item.get("kind")))
        wrong = sorted(set(until) - set(known))
        if wrong:
            found.append(f"{where}.until: {', '.join(wrong)} unknown for {item.get('kind')}; known: {', '.join(known)}")
    return found


def targets(objects: Sequence[Mapping[str, Any]]) -> List[Target]:
    return [
        Target(item["api_version"], item["kind"], item["name"], item.get("namespace"), dict(item.get("until") or {}))
        for item in objects
    ]


class Wait:
    """The state of one wait. Threads report objects, the caller waits for all of them or the deadline."""

    def __init__(self, api: Api, wanted: List[Target], clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._kinds = Kinds(api)
        self._clock = clock
        self._started = clock()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._outcomes = {target_key(item): Outcome(item, False, "has not been read", 0.0, False) for item in wanted}
        self._objects: Dict[Tuple[str, ...], Optional[Mapping[str, Any]]] = {}
        self._errors: Dict[str, str] = {}
        self._news = False

    def run(self, timeout: float, tell: Optional[Callable[[View], None]] = None) -> List[Outcome]:
        """C(tell) is called in the caller's thread, after each change and about every second."""
        groups: Dict[Tuple[str, str, Optional[str]], List[Target]] = {}
        for outcome in self._outcomes.values():
            item = outcome.target
            groups.setdefault((item.api_version, item.kind, item.namespace), []).append(item)
        for group in groups.values():
            threading.Thread(target=self._follow, args=(group,), daemon=True).start()
        deadline = self._started + timeout
        while True:
            with self._changed:
                if not self._news and not self._finished() and self._clock() < deadline:
                    self._changed.wait(max(0.0, min(deadline - self._clock(), 1.0)))
                self._news = False
                over = self._finished() or self._clock() >= deadline
                view = View(
                    list(self._outcomes.values()),
                    len(self._objects) == len(self._outcomes),
                    self._clock() - self._started,
                    self.errors(),
                )
            if tell is not None:
                tell(view)
            if over:
                self._stop.set()
                return view.outcomes

    def objects(self) -> Dict[Tuple[str, ...], Optional[Mapping[str, Any]]]:
        return dict(self._objects)

    def errors(self) -> List[str]:
        return sorted(list(self._errors.values()))

    def _finished(self) -> bool:
        values = self._outcomes.values()
        return all(outcome.ready for outcome in values) or any(outcome.hopeless for outcome in values)

    def _follow(self, group: List[Target]) -> None:
        first = group[0]
        where = f"{first.api_version}/{first.kind}"
        while not self._stop.is_set():
            try:
                self._list_and_watch(group)
            except KatagpuError as error:
                if getattr(error, "status", None) != _GONE:
                    self._errors[where] = str(error)
                    self._stop.wait(RETRY_SECONDS)
            except Exception as error:
                # A thread that dies silently would look like an object that never gets ready.
                self._errors[where] = f"{where}: {type(error).__name__}: {error}"
                self._stop.wait(RETRY_SECONDS)

    def _list_and_watch(self, group: List[Target]) -> None:
        first = group[0]
        path = self._kinds.collection(first.api_version, first.kind, first.namespace)
        if path is None:
            self._report_all(group, {})
            self._stop.wait(RETRY_SECONDS)
            return
        query = {"fieldSelector": f"metadata.name={first.name}"} if len(group) == 1 else {}
        try:
            listed = self._api.get(path, query)
        except ApiError as error:
            if error.status != 404:
                raise
            self._report_all(group, {})
            self._stop.wait(RETRY_SECONDS)
            return
        present = {item["metadata"]["name"]: item for item in listed.get("items") or []}
        self._report_all(group, present)
        by_name = {item.name: item for item in group}
        version = str((listed.get("metadata") or {}).get("resourceVersion", ""))
        for event in self._api.watch(path, {**query, "resourceVersion": version}):
            if self._stop.is_set():
                return
            kind, item = event.get("type"), event.get("object") or {}
            if kind == "ERROR":
                raise ApiError(int(item.get("code") or 500), str(item.get("message", "")), f"watch {path}")
            name = (item.get("metadata") or {}).get("name")
            if kind in ("ADDED", "MODIFIED", "DELETED") and name in by_name:
                self._report(by_name[name], None if kind == "DELETED" else item)

    def _report_all(self, group: List[Target], present: Mapping[str, Mapping[str, Any]]) -> None:
        for item in group:
            self._report(item, present.get(item.name))
        # The API answered, so what went wrong before is over.
        self._errors.pop(f"{group[0].api_version}/{group[0].kind}", None)

    def _judge(self, item: Target, found: Optional[Mapping[str, Any]]) -> readiness.Verdict:
        selector = readiness.ask_for_pods(item.kind, found, item.until)
        if selector is None or found is None:
            return readiness.judge(item.kind, found, item.until)
        listed = self._api.get(f"/api/v1/namespaces/{item.namespace}/pods", {"labelSelector": selector})
        return readiness.judge_by_pods(found, item.until, list(listed.get("items") or []))

    def _report(self, item: Target, found: Optional[Mapping[str, Any]]) -> None:
        verdict = self._judge(item, found)
        key = target_key(item)
        with self._changed:
            before = self._outcomes[key]
            seconds = before.seconds if before.ready and verdict.ready else self._clock() - self._started
            self._outcomes[key] = Outcome(item, verdict.ready, verdict.reason, seconds, verdict.hopeless)
            self._objects[key] = found
            self._news = True
            self._changed.notify_all()


def target_key(item: Target) -> Tuple[str, ...]:
    return (item.api_version, item.kind, item.namespace or "", item.name)
