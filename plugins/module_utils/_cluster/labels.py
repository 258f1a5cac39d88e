# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node labels: what is wanted, what is there, which patches lead from one to the other."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import METADATA_LIST, Api, ApiError
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

OWNED_ANNOTATION = "katagpu.io/owned-labels"

KNOWN_VALUES: Dict[str, List[str]] = {
    "nvidia.com/gpu.workload.config": ["container", "vm-passthrough", "vm-vgpu"],
    "nvidia.com/gpu.deploy.operands": ["true", "false"],
    "nvidia.com/cc.mode": ["on", "off", "ppcie", "devtools"],
}

_NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
_PREFIX = re.compile(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$")

Wanted = Mapping[str, Mapping[str, Optional[str]]]


class NodeChange(NamedTuple):
    node: str
    patch: Dict[str, Any]
    before: Dict[str, Optional[str]]
    after: Dict[str, Optional[str]]


class LabelPlan(NamedTuple):
    changes: List[NodeChange]
    unchanged: List[str]
    missing: List[str]
    kept: Dict[str, List[str]]


def problems(wanted: Mapping[str, Any]) -> List[str]:
    """What no API server or operator would accept, before anything is asked."""
    found = []
    for node, labels in wanted.items():
        if not isinstance(labels, Mapping):
            found.append(f"{node}: the labels must be a mapping, they are {labels!r}")
            continue
        for key, value in labels.items():
            prefix, _slash, name = str(key).rpartition("/")
            if not _NAME.match(name) or (prefix and not _PREFIX.match(prefix)):
                found.append(f"{node}: {key!r} is not a label key")
            if value is None:
                continue
            if not isinstance(value, str):
                found.append(f"{node}: the value of {key} must be text or null, it is {value!r}")
            elif value and not _NAME.match(value):
                found.append(f"{node}: {value!r} is not a label value ({key})")
            elif key in KNOWN_VALUES and value not in KNOWN_VALUES[key]:
                found.append(f"{node}: {key} must be one of {', '.join(KNOWN_VALUES[key])}, it is {value!r}")
    return found


def owned(metadata: Mapping[str, Any]) -> List[str]:
    text = (metadata.get("annotations") or {}).get(OWNED_ANNOTATION, "")
    try:
        keys = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return []
    return [str(key) for key in keys] if isinstance(keys, list) else []


def plan(items: List[Dict[str, Any]], wanted: Wanted) -> LabelPlan:
    """Compares the metadata of all nodes with what is wanted."""
    present = {item["metadata"]["name"]: item["metadata"] for item in items}
    missing = sorted(node for node in wanted if node not in present)
    changes: List[NodeChange] = []
    unchanged: List[str] = []
    kept: Dict[str, List[str]] = {}
    for node in sorted(node for node in wanted if node in present):
        metadata = present[node]
        labels = metadata.get("labels") or {}
        ours = owned(metadata)
        after_ours = list(ours)
        differing: Dict[str, Optional[str]] = {}
        for key, value in wanted[node].items():
            if value is None:
                if key in labels and key not in ours:
                    kept.setdefault(node, []).append(key)
                    continue
                if key in labels:
                    differing[key] = None
                if key in after_ours:
                    after_ours.remove(key)
            elif labels.get(key) != value:
                differing[key] = value
                if key not in after_ours:
                    after_ours.append(key)
        if not differing and after_ours == ours:
            unchanged.append(node)
            continue
        patch: Dict[str, Any] = {}
        if differing:
            patch["labels"] = differing
        if after_ours != ours:
            note = json.dumps(sorted(after_ours)) if after_ours else None
            patch["annotations"] = {OWNED_ANNOTATION: note}
        before = {key: labels.get(key) for key in differing}
        changes.append(NodeChange(node, {"metadata": patch}, before, dict(differing)))
    return LabelPlan(changes, unchanged, missing, kept)


def read(api: Api) -> List[Dict[str, Any]]:
    """One LIST of the metadata of all nodes."""
    return list(api.get("/api/v1/nodes", accept=METADATA_LIST).get("items") or [])


def apply(api: Api, changes: List[NodeChange], workers: int) -> Dict[str, str]:
    """One PATCH for each node that differs; returns the errors by node."""
    if not changes:
        return {}
    with ThreadPoolExecutor(max_workers=max(1, min(workers, len(changes)))) as pool:
        results = pool.map(lambda change: _patch(api, change), changes)
        return {change.node: error for change, error in zip(changes, results) if error}


def _patch(api: Api, change: NodeChange) -> str:
    try:
        api.patch(f"/api/v1/nodes/{change.node}", change.patch)
    except ApiError as error:
        return f"{error.status} {error.message}"
    except KatagpuError as error:
        return str(error)
    return ""
