# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All objects of the API with their resourceVersion, to show who was left alone.

A Node is written by its heartbeats all the time, so its resourceVersion says nothing. Of a Node the labels, the annotations,
the spec, and the fields of each writer (managedFields) are compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.lab.controlplane import server

Objects = dict[str, dict[str, Any]]

# The namespaces that the stack brings or lives in.
OURS = ("gpu-operator", "kata-system", "confidential-containers-system")
# What time alone writes, and what is no stored object.
RESTLESS = ("Event", "Lease", "ComponentStatus")
AGENT = "lab-node-agent"
OUR_MANAGER = "katagpu.cluster"


def objects() -> Objects:
    """By kind, namespace and name; every kind that can be listed."""
    api = server.api()
    groups = [f"/apis/{one['preferredVersion']['groupVersion']}" for one in api.get("/apis")["groups"]]
    found: Objects = {}
    for base in ("/api/v1", *groups):
        for resource in api.get(base)["resources"]:
            if "list" not in resource["verbs"] or "/" in resource["name"] or resource["kind"] in RESTLESS:
                continue
            for item in api.get(f"{base}/{resource['name']}")["items"]:
                meta = item["metadata"]
                found[f"{resource['kind']} {meta.get('namespace', '')}/{meta['name']}"] = item
    return found


def of_others(found: Objects) -> Objects:
    """Without Nodes and without what lives in the namespaces of the stack, nor those namespaces."""
    return {
        key: item
        for key, item in found.items()
        if not key.startswith("Node ")
        and item["metadata"].get("namespace") not in OURS
        and key not in [f"Namespace /{name}" for name in OURS]
    }


def changed(before: Objects, after: Objects) -> list[str]:
    """What was there and is gone or has another resourceVersion."""
    return sorted(key for key, item in before.items() if _version(after.get(key)) != _version(item))


def _version(item: Mapping[str, Any] | None) -> str:
    return f"{item['metadata']['uid']} {item['metadata']['resourceVersion']}" if item else "gone"


def differing(before: Mapping[str, Any], after: Mapping[str, Any], part: str) -> set[str]:
    """Keys of labels or annotations that were added, removed or set to another value."""
    old, new = (item["metadata"].get(part) or {} for item in (before, after))
    return {key for key in {*old, *new} if old.get(key) != new.get(key)}


def writers(node: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """The fields that each writer has of a Node, without times."""
    return {
        f"{entry['manager']} {entry.get('subresource', '')}".strip(): entry["fieldsV1"]
        for entry in node["metadata"]["managedFields"]
        if entry["manager"] not in without
    }


def tenant(*nodes: str) -> None:
    """Somebody else's work in a namespace of its own: a pod on each of these nodes, and what goes with one."""
    api = server.api()
    space = "/api/v1/namespaces"
    api.create(space, {"metadata": {"name": "tenant", "labels": {"team": "others"}}})
    _wait(lambda: "default" in [one["metadata"]["name"] for one in api.get(f"{space}/tenant/serviceaccounts")["items"]])
    for kind in ("configmaps", "secrets"):
        api.create(f"{space}/tenant/{kind}", {"metadata": {"name": "settings"}, "data": {"key": "dmFsdWU="}})
    service = {"selector": {"team": "others"}, "ports": [{"port": 80}]}
    api.create(f"{space}/tenant/services", {"metadata": {"name": "web"}, "spec": service})
    for node in nodes:
        spec = {"nodeName": node, "containers": [{"name": "web", "image": "registry.invalid/web:1"}]}
        api.create(
            f"{space}/tenant/pods", {"metadata": {"name": f"web-{node}", "labels": {"team": "others"}}, "spec": spec}
        )
    _wait(lambda: {one["status"].get("phase") for one in api.get(f"{space}/tenant/pods")["items"]} == {"Running"})


def _wait(done: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for what a tenant runs"
        time.sleep(0.2)


def settled(seconds: float = 30.0) -> Objects:
    """Once nothing of others changes any more."""
    before, deadline = objects(), time.monotonic() + seconds
    while True:
        time.sleep(1)
        after = objects()
        if not changed(of_others(before), of_others(after)):
            return after
        assert time.monotonic() < deadline, changed(of_others(before), of_others(after))
        before = after
