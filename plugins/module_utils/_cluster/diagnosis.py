# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an object is not ready: the events and the pods behind it."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import readiness
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import Api, list_all
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

LINES = 6


def explain(api: Api, kind: str, namespace: Optional[str], name: str, found: Optional[Mapping[str, Any]]) -> List[str]:
    """A few lines, never an exception: an explanation must not hide what it explains."""
    lines: List[str] = []
    try:
        if found is not None:
            lines += _conditions(found)
            if kind in ("DaemonSet", "Deployment", "Job") and namespace:
                lines += _pods(api, namespace, found)
        lines += _events(api, kind, namespace, name, found)
    except KatagpuError as error:
        lines.append(f"the reason could not be read: {error}")
    return lines


def _conditions(found: Mapping[str, Any]) -> List[str]:
    return [
        f"condition {kind}: {readiness.describe(condition)}"
        for kind, condition in sorted(readiness.conditions_of(found).items())
        if condition.get("reason") or condition.get("message")
    ][:LINES]


def _pods(api: Api, namespace: str, found: Mapping[str, Any]) -> List[str]:
    selector = ((found.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    if not selector:
        return []
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in selector.items())}
    lines = []
    for pod in list_all(api, f"/api/v1/namespaces/{namespace}/pods", query):
        verdict = readiness.judge("Pod", pod, {})
        if verdict.ready:
            continue
        pod_name = pod["metadata"]["name"]
        node = (pod.get("spec") or {}).get("nodeName") or "no node"
        lines.append(f"pod {pod_name} on {node}: {verdict.reason}")
        lines += [f"pod {pod_name}: {line}" for line in _events(api, "Pod", namespace, pod_name, pod)[:2]]
    return lines[:LINES]


def _events(
    api: Api, kind: str, namespace: Optional[str], name: str, found: Optional[Mapping[str, Any]] = None
) -> List[str]:
    selector = f"involvedObject.kind={kind},involvedObject.name={name}"
    uid = ((found or {}).get("metadata") or {}).get("uid")
    if kind == "Pod" and uid:
        # Events outlive their pod, and the next pod of this name is not to blame for them.
        selector += f",involvedObject.uid={uid}"
    query = {"fieldSelector": selector}
    path = f"/api/v1/namespaces/{namespace or 'default'}/events"
    events: List[Dict[str, Any]] = [item for item in list_all(api, path, query) if item.get("type") != "Normal"]
    events.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))
    return [f"event {item.get('reason')}: {item.get('message')}" for item in events[-3:]]
