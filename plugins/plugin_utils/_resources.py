# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passthrough GPU resources, read back from what nodes advertise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.readiness import passthrough_gpus
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

# A Node object, what cluster_info keeps of one, or the mapping itself.
_ALLOCATABLE = "status.allocatable || allocatable || @"


def _search(value: dict[str, Any]) -> Any:
    try:
        import jmespath
    except ImportError as error:
        raise KatagpuError(
            "The Python package jmespath is missing on the controller. Install it beside ansible-core."
        ) from error
    return jmespath.search(_ALLOCATABLE, value)


def gpu_resources(value: Any) -> dict[str, int]:
    """Of several nodes, the largest amount that one node has: a pod runs on one of them."""
    if isinstance(value, Mapping):
        allocatable = _search(dict(value))
        if not isinstance(allocatable, Mapping):
            raise KatagpuError(f"gpu_resources: {value!r} is neither a node nor its allocatable resources.")
        return passthrough_gpus({str(key): amount for key, amount in allocatable.items()})
    if isinstance(value, (list, tuple)):
        merged: dict[str, int] = {}
        for item in value:
            for name, amount in gpu_resources(item).items():
                merged[name] = max(merged.get(name, 0), amount)
        return merged
    raise KatagpuError(f"gpu_resources: a node, its allocatable resources or a list of nodes is needed, not {value!r}.")
