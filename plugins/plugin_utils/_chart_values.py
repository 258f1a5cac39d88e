# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the user's chart values can do what this release is for, before anything is touched.

Charts take unknown keys silently and operators ignore what they do not know, so a wrong combination shows only as a node
that offers no GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding
from ansible_collections.katagpu.cluster.plugins.plugin_utils._releases import merge

_EVIDENCE = ("gpu_operator_values", "gpu_operator_kata_manager")


def judge(release: Mapping[str, Any], values: Any, kata_manager: Any = None) -> list[Finding]:
    """C(values) and C(kata_manager) are what the inventory sets; the release's own values are right by themselves."""
    if not isinstance(values or {}, Mapping):
        return [
            _finding(
                f"gpu_operator_values must be a dictionary, it is {values!r}.", "It holds chart values.", "correct it."
            )
        ]
    given: Mapping[str, Any] = values or {}
    found = [*_kata_manager(release, given, kata_manager or {}), *_mode(release, given), *_sandbox(given)]
    merged = merge(release["gpu_operator"]["values"], given)
    for path, allowed in (release["gpu_operator"].get("enums") or {}).items():
        value = at(merged, path)
        if value is not None and value not in allowed:
            found.append(
                _finding(
                    f"gpu_operator_values.{path} is {value!r}.",
                    "The ClusterPolicy would refuse it, or take something else for it.",
                    f"set one of {', '.join(allowed)}.",
                )
            )
    return found


def at(values: Any, path: str) -> Any:
    """The value at a dotted path, or nothing."""
    for key in path.split("."):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _kata_manager(release: Mapping[str, Any], values: Mapping[str, Any], options: Mapping[str, Any]) -> list[Finding]:
    wanted = bool(at(values, "kataManager.enabled")) or (bool(options) and options.get("enabled") is not False)
    if not wanted or "kata_manager" in release:
        return []
    return [
        _finding(
            f"the Kata manager is asked for, and the release {release['name']} installs Kata by kata-deploy.",
            "From 26.7 on the GPU Operator ignores kataManager; before, both would write the configuration of containerd.",
            "remove gpu_operator_kata_manager and gpu_operator_values.kataManager; settings of the runtime go into"
            " kata_deploy_values. For the legacy stack set katagpu_release: '23.9'.",
        )
    ]


def _mode(release: Mapping[str, Any], values: Mapping[str, Any]) -> list[Finding]:
    mode, ours = at(values, "sandboxWorkloads.mode"), at(release["gpu_operator"]["values"], "sandboxWorkloads.mode")
    if mode is None or mode == ours:
        return []
    if ours is None:
        fact = f"gpu_operator_values.sandboxWorkloads.mode is {mode!r}, and the chart of the release {release['name']} has no such key."
        consequence = "The chart drops it silently, and the nodes get what the release installs anyway."
        return [_finding(fact, consequence, "remove it, or choose a release from 26.3 on.")]
    fact = f"gpu_operator_values.sandboxWorkloads.mode is {mode!r}."
    consequence = "The operator would deploy other operands, and no RuntimeClass of Kata could be scheduled."
    return [_finding(fact, consequence, f"remove it; the release sets {ours}.")]


def _sandbox(values: Mapping[str, Any]) -> list[Finding]:
    found = []
    if at(values, "sandboxWorkloads.enabled") is False:
        found.append(
            _finding(
                "gpu_operator_values.sandboxWorkloads.enabled is false.",
                "The operator would take every node for a container node and install its driver there.",
                "remove it.",
            )
        )
    if at(values, "vfioManager.enabled") is False:
        found.append(
            _finding(
                "gpu_operator_values.vfioManager.enabled is false.",
                "Nobody would bind the GPUs: with katagpu_vfio_owner operator that is the task of vfio-manager.",
                "remove it.",
            )
        )
    return found


def _finding(fact: str, consequence: str, fix: str) -> Finding:
    return Finding("chart_values", BLOCK, fact, consequence, fix, _EVIDENCE)
