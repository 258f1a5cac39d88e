# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes API made of plain objects. Not a simulation: it stores, merges and streams, and judges nothing."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import ApiError


class FakeApi:
    """Objects by path; a collection is every object one level below it."""

    def __init__(self, objects: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.objects: dict[str, dict[str, Any]] = {path: dict(item) for path, item in (objects or {}).items()}
        self.collections: set[str] = {"/api/v1/nodes", "/api/v1/pods"}
        self.calls: list[tuple[str, str]] = []
        self.requests = 0
        self.refuse: dict[str, int] = {}
        # What the rules say, whether there is more than rules, and what the API answers when it is asked for one right.
        self.rules: list[dict[str, Any]] = []
        self.incomplete = True
        self.allowed = True
        self._changed = threading.Condition()
        self._events: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str, query: Mapping[str, str] | None = None, accept: str = "") -> dict[str, Any]:
        self._count("GET", path)
        if path in self.objects:
            return copy.deepcopy(self.objects[path])
        items = [item for name, item in sorted(self.objects.items()) if name.rpartition("/")[0] == path]
        if not items and path not in self.collections:
            raise ApiError(404, "the server could not find the requested resource", path)
        name = (query or {}).get("fieldSelector", "").partition("metadata.name=")[2]
        chosen = [copy.deepcopy(item) for item in items if not name or item["metadata"]["name"] == name]
        return {"items": chosen, "metadata": {"resourceVersion": str(len(self._events))}}

    def patch(self, path: str, body: Mapping[str, Any], content_type: str = "") -> dict[str, Any]:
        self._count("PATCH", path)
        if path not in self.objects:
            raise ApiError(404, "not found", path)
        self.objects[path] = _merged(self.objects[path], body)
        return self.objects[path]

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._count("POST", path)
        if path.endswith("/selfsubjectrulesreviews"):
            return {**body, "status": {"resourceRules": self.rules, "incomplete": self.incomplete}}
        return {**body, "status": {"allowed": self.allowed}}

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        self._count("WATCH", path)
        position = int(query["resourceVersion"])
        while True:
            with self._changed:
                if len(self._events) == position:
                    self._changed.wait(0.2)
                fresh = self._events[position:]
                position = len(self._events)
            if not fresh:
                return
            for parent, event in fresh:
                if parent == path:
                    yield event

    def put(self, path: str, item: Mapping[str, Any]) -> None:
        """What happens in the cluster meanwhile."""
        with self._changed:
            kind = "MODIFIED" if path in self.objects else "ADDED"
            self.objects[path] = dict(item)
            self._events.append((path.rpartition("/")[0], {"type": kind, "object": dict(item)}))
            self._changed.notify_all()

    def _count(self, method: str, path: str) -> None:
        self.requests += 1
        self.calls.append((method, path))
        if path in self.refuse:
            raise ApiError(self.refuse[path], "refused", path)


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = _merged(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


def node(name: str, labels: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A Node as kubelets register it."""
    status = {
        "nodeInfo": {
            "bootID": more.get("boot_id", f"boot-{name}"),
            "machineID": more.get("machine_id", f"machine-{name}"),
            "containerRuntimeVersion": more.get("runtime", "containerd://1.7.24"),
        },
        "conditions": [{"type": "Ready", "status": more.get("ready", "True")}],
        "addresses": [{"type": "InternalIP", "address": more.get("address", "192.0.2.1")}],
        "allocatable": more.get("allocatable", {}),
        "capacity": more.get("capacity", more.get("allocatable", {})),
    }
    metadata = {"name": name, "labels": dict(labels or {}), "annotations": dict(more.get("annotations") or {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}, "status": status}


def nodes(*items: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {f"/api/v1/nodes/{item['metadata']['name']}": item for item in items}
