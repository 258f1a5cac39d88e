# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that exist in the API only, and an agent that sets their pods running: a kubelet in name."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from tests.lab.node.api import Api, ApiError
from tests.lab.node.lifecycle import stamp

PERIOD_SECONDS = 0.5
BEAT_SECONDS = 5.0
AMOUNTS = {"cpu": "64", "memory": "256Gi", "pods": "250", "ephemeral-storage": "500Gi"}


def _condition(kind: str, value: bool) -> dict[str, str]:
    now = stamp(time.time())
    return {"type": kind, "status": str(value), "reason": "CheckUpstream", "lastTransitionTime": now}


def node_status(number: int) -> dict[str, Any]:
    """Ready, with room for everything."""
    condition = _condition("Ready", True) | {"lastHeartbeatTime": stamp(time.time())}
    return {
        "capacity": AMOUNTS,
        "allocatable": AMOUNTS,
        "conditions": [condition],
        "addresses": [{"type": "InternalIP", "address": f"192.0.2.{number}"}],
        "nodeInfo": {
            "machineID": "",
            "systemUUID": "",
            "bootID": f"boot-{number}",
            "kernelVersion": "6.8.0-60-generic",
            "osImage": "Ubuntu 24.04",
            "containerRuntimeVersion": "containerd://2.1.0",
            "kubeletVersion": "v1.35.0",
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
    }


def pod_status(pod: Mapping[str, Any], ready: bool) -> dict[str, Any]:
    """All containers run; `ready` is what their probes would say."""
    now = stamp(time.time())
    done = {"exitCode": 0, "startedAt": now, "finishedAt": now}
    spec = pod["spec"]

    def status(container: Mapping[str, Any], state: dict[str, Any], value: bool) -> dict[str, Any]:
        return {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": value,
            "started": value,
            "restartCount": 0,
            "state": state,
        }

    running = {"running": {"startedAt": now}}
    return {
        "phase": "Running",
        "startTime": now,
        "conditions": [
            _condition("Initialized", True),
            _condition("PodScheduled", True),
            _condition("ContainersReady", ready),
            _condition("Ready", ready),
        ],
        "initContainerStatuses": [status(one, {"terminated": done}, True) for one in spec.get("initContainers") or []],
        "containerStatuses": [status(one, running, ready) for one in spec["containers"]],
    }


class FakeNodes:
    """A thread that keeps the nodes ready and lets their pods run. Pods in `unready` (of that DaemonSet, or all) never get ready."""

    def __init__(self, api: Api, nodes: Mapping[str, Mapping[str, str]]) -> None:
        self._api, self._nodes = api, list(nodes)
        self.unready: set[str] = set()
        self.all_unready = False
        self._beat = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake nodes", daemon=True)
        for number, (name, labels) in enumerate(nodes.items(), 1):
            own = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
            self._api.create(
                "/api/v1/nodes",
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {**own, **labels}}},
            )
            self._api.merge_patch(f"/api/v1/nodes/{name}/status", {"status": node_status(number)})

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._pass()
            except (ApiError, OSError) as error:
                print(f"fake nodes: {error}", flush=True)
            self._stop.wait(PERIOD_SECONDS)

    def _pass(self) -> None:
        if time.monotonic() - self._beat > BEAT_SECONDS:
            for number, name in enumerate(self._nodes, 1):
                self._api.merge_patch(f"/api/v1/nodes/{name}/status", {"status": node_status(number)})
            self._beat = time.monotonic()
        for pod in self._api.get("/api/v1/pods")["items"]:
            if pod["spec"].get("nodeName") in self._nodes:
                self._pod(pod)

    def _pod(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        try:
            if metadata.get("deletionTimestamp"):
                self._api.delete(path, grace_seconds=0, uid=metadata["uid"])
                return
            wanted = self._is_ready(pod)
            conditions = {one["type"]: one["status"] for one in (pod.get("status") or {}).get("conditions") or []}
            if conditions.get("Ready") != str(wanted) or pod["status"].get("phase") != "Running":
                self._api.merge_patch(f"{path}/status", {"status": pod_status(pod, wanted)})
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def _is_ready(self, pod: dict[str, Any]) -> bool:
        owners = {one["name"] for one in pod["metadata"].get("ownerReferences") or [] if one["kind"] == "DaemonSet"}
        if not owners:
            return True  # the operator itself, and what else the chart brings
        return not self.all_unready and not owners & self.unready
