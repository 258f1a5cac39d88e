# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps Node and Lease up to date in a thread of its own, so that slow behaviours never look like a dead node."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from . import nodeobject
from .api import Api, ApiError
from .behaviour import Json
from .config import Config, Facts

RENEW_SECONDS = 5.0
STATUS_SECONDS = 30.0
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Heartbeat(threading.Thread):
    """Renews the Lease every 5 s and sends the Node's status when it changed (`changed()`), else twice a minute."""

    def __init__(self, api: Api, config: Config, facts: Facts, status: Callable[[], Json]) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._api, self._config, self._facts, self._status = api, config, facts, status
        self._wake = threading.Event()
        self._transitions: dict[str, tuple[str, str]] = {}
        self._sent: Json = {}
        self._sent_at = self._renewed_at = 0.0
        self._registered = False
        self.node_uid = ""

    def changed(self) -> None:
        """Something of the Node's status may be different: look now."""
        self._wake.set()

    def run(self) -> None:
        while True:
            try:
                self.beat(time.time())
            except (ApiError, OSError) as error:
                print(f"heartbeat: {error}", file=sys.stderr, flush=True)
                self._registered = False
                time.sleep(1)
            self._wake.wait(max(0.0, min(RENEW_SECONDS, self._renewed_at + RENEW_SECONDS - time.time())))
            self._wake.clear()

    def beat(self, now: float) -> None:
        if not self._registered:
            self._register()
        status = self._status()
        if status != self._sent or now - self._sent_at >= STATUS_SECONDS:
            body = nodeobject.with_times(status, self._transitions, now)
            self._api.strategic_patch(f"/api/v1/nodes/{self._config.node}/status", {"status": body})
            self._sent, self._sent_at = status, now
        if now - self._renewed_at >= RENEW_SECONDS - 0.5:
            self._renew(now)
            self._renewed_at = now

    def _register(self) -> None:
        path = f"/api/v1/nodes/{self._config.node}"
        before = ""
        try:
            node = self._api.get(path)
            wanted = nodeobject.labels(self._config, self._facts)
            if any(node["metadata"].get("labels", {}).get(key) != value for key, value in wanted.items()):
                self._api.merge_patch(path, {"metadata": {"labels": wanted}})
            before = node.get("status", {}).get("nodeInfo", {}).get("bootID", "")
            for item in node.get("status", {}).get("conditions", []):
                self._transitions.setdefault(item["type"], (item["status"], item.get("lastTransitionTime", "")))
                # What the controllers wrote (Unknown) has to give way to what this agent says.
                if item["status"] == "Unknown":
                    del self._transitions[item["type"]]
        except ApiError as error:
            if error.status != 404:
                raise
            node = self._api.create("/api/v1/nodes", nodeobject.new_node(self._config, self._facts))
        self.node_uid = node["metadata"]["uid"]
        self._registered, self._sent = True, {}
        if before and before != self._facts.boot_id:
            self._event("Rebooted", f"Node {self._config.node} has been rebooted, boot id: {self._facts.boot_id}")

    def _event(self, reason: str, message: str) -> None:
        about = {"kind": "Node", "name": self._config.node, "uid": self._config.node}
        post_event(self._api, "default", about, reason, message, "Warning", self._config.node)

    def _renew(self, now: float) -> None:
        renewed = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
        try:
            self._api.merge_patch(f"{LEASES}/{self._config.node}", {"spec": {"renewTime": renewed}})
        except ApiError as error:
            if error.status != 404:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": self._config.node, "uid": self.node_uid}
            spec = {"holderIdentity": self._config.node, "leaseDurationSeconds": 40, "renewTime": renewed}
            meta = {"name": self._config.node, "ownerReferences": [owner]}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            self._api.create(LEASES, lease)


def post_event(api: Api, namespace: str, about: Json, reason: str, message: str, kind: str, node: str) -> None:
    """Posts an Event; losing one is not worth more than a line on stderr."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about['name']}.{time.time_ns():x}", "namespace": namespace},
        "involvedObject": about,
        "reason": reason,
        "message": message[:1000],
        "type": kind,
        "source": {"component": "kubelet", "host": node},
        "reportingComponent": "kubelet",
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        api.create(f"/api/v1/namespaces/{namespace}/events", event)
    except (ApiError, OSError) as error:
        print(f"event {reason}: {error}", file=sys.stderr, flush=True)
