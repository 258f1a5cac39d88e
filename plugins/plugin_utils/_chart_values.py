# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the user's chart values can do what this release is for, before anything is touched.

Charts take unknown keys silently and operators ignore what they do not know, so a wrong combination shows only as a node
that offers no GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential, _owner
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding
from ansible_collections.katagpu.cluster.plugins.plugin_utils._releases import merge

_EVIDENCE = ("gpu_operator_values", "gpu_operator_kata_manager")


def judge(
    release: Mapping[str, Any],
    values: Any,
    kata_manager: Any = None,
    default_workload: str | None = None,
    vfio_owner: str | None = None,
) -> list[Finding]:
    """What the inventory sets: chart values, the Kata manager and katagpu_default_workload. The release's own values are
    right by themselves.
    """
    wrong = [*_shape("gpu_operator_values", values), *_shape("gpu_operator_kata_manager", kata_manager, deep=False)]
    if wrong:
        return wrong
    given: Mapping[str, Any] = values or {}
    found = [*_kata_manager(release, given, kata_manager or {}), *_mode(release, given)]
    found += [*_switched_off(release, given, vfio_owner), *_two_owners(release, given, vfio_owner)]
    found += _default_workload(release, given, default_workload)
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


def judge_kata_deploy(release: Mapping[str, Any], values: Any, modes: Iterable[str] = ()) -> list[Finding]:
    """The values of kata-deploy that the inventory sets, in the same way."""
    kata = release.get("kata_deploy")
    wrong = _shape("kata_deploy_values", values)
    if wrong or kata is None or not values:
        return wrong
    wanted = list(modes)
    merged = merge(merge(kata["values"], _confidential.kata_deploy_values(release, wanted)), values)
    found = _snapshotter(release, merged, wanted)
    for name in [*kata["runtime_classes"], *_confidential.runtime_classes(release, wanted)]:
        shim = name.removeprefix("kata-")
        if at(merged, f"shims.{shim}.enabled") is not True or at(merged, "runtimeClasses.enabled") is False:
            found.append(
                _finding(
                    f"kata_deploy_values switch off what makes the RuntimeClass {name}.",
                    "Pods with GPUs name this class, and the run would wait for it until its time is over.",
                    f"remove shims.{shim}.enabled and runtimeClasses.enabled from them.",
                )
            )
    for path in ("env.multiInstallSuffix", "job.nodes"):
        if at(merged, path):
            found.append(
                _finding(
                    f"kata_deploy_values.{path} is set.",
                    "The runtime would get other names, or go to other nodes, than those that this collection waits for.",
                    "remove it; nodes are chosen by kata_deploy_node_selector.",
                )
            )
    return found


def _snapshotter(release: Mapping[str, Any], merged: Mapping[str, Any], modes: list[str]) -> list[Finding]:
    """The chart maps a shim to a snapshotter whether that is set up or not, and containerd then fails at the first pod."""
    found = []
    for mode, data in _confidential.variants(release).items():
        path = f"shims.{data['shim']}.containerd.snapshotter"
        given = at(merged, path)
        name = release["confidential"]["snapshotter"] if given is None else given
        if mode in modes and name and name not in (at(merged, "snapshotter.setup") or ()):
            found.append(
                _finding(
                    f"kata_deploy_values.snapshotter.setup leaves out {name}, which the class {data['runtime_class']} uses.",
                    "No image could be pulled for a pod of this class.",
                    f"add {name} to snapshotter.setup, or remove that key.",
                )
            )
    return found


def _shape(name: str, values: Any, deep: bool = True) -> list[Finding]:
    """A block that is no dictionary would be merged over a whole block of the chart."""
    if values is None or values == "":
        return []
    if not isinstance(values, Mapping):
        return [_finding(f"{name} must be a dictionary, it is {values!r}.", "It holds chart values.", "correct it.")]
    blocks = (
        "sandboxWorkloads",
        "kataManager",
        "ccManager",
        "daemonsets",
        "nfd",
        "shims",
        "env",
        "job",
        "runtimeClasses",
    )
    return [
        _finding(f"{name}.{key} must be a dictionary, it is {value!r}.", "The chart has a block there.", "correct it.")
        for key, value in values.items()
        if deep
        and not isinstance(value, Mapping)
        and (key in blocks or isinstance(value, bool))
        and key not in ("debug",)
    ]


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


def _default_workload(release: Mapping[str, Any], values: Mapping[str, Any], consent: str | None) -> list[Finding]:
    """The chart value alone would pass by what is checked for the variable."""
    path = "sandboxWorkloads.defaultWorkload"
    value, wanted = at(values, path), consent or "container"
    if value in (None, wanted) or value not in release["gpu_operator"].get("enums", {}).get(path, [value]):
        return []
    return [
        _finding(
            f"gpu_operator_values.{path} is {value!r}, and katagpu_default_workload is {wanted if consent else 'not set'}.",
            "The operator would take every GPU node without a label for one of that kind, which is checked and agreed to by the"
            " variable only.",
            f"remove it; set katagpu_default_workload: {value} if you mean it."
            if value == release["labels"]["workload"]["kata"]
            else "remove it.",
        )
    ]


def _switched_off(release: Mapping[str, Any], values: Mapping[str, Any], vfio_owner: str | None) -> list[Finding]:
    """Operands of container nodes may be switched off; those of Kata nodes are what the release consists of."""
    found = []
    if at(values, "sandboxWorkloads.enabled") is False:
        found.append(
            _finding(
                "gpu_operator_values.sandboxWorkloads.enabled is false.",
                "The operator would take every node for a container node and install its driver there.",
                "remove it.",
            )
        )
    for operand in release["operands"]["kata"]:
        block = operand.get("enabled_by")
        binds = block in _owner.operands(release)
        if block and at(values, f"{block}.enabled") is False and not (binds and vfio_owner == _owner.HOST):
            found.append(
                _finding(
                    f"gpu_operator_values.{block}.enabled is false.",
                    f"Without {operand['daemonset']} no GPU of a Kata node would be bound and offered, and the run would wait for it"
                    " until its time is over.",
                    f"remove it; {_owner.VARIABLE}: host switches it off and has this collection bind the GPUs."
                    if binds
                    else "remove it.",
                )
            )
    return found


def _two_owners(release: Mapping[str, Any], values: Mapping[str, Any], vfio_owner: str | None) -> list[Finding]:
    return [
        _finding(
            f"gpu_operator_values.{block}.enabled is true, and {_owner.VARIABLE} is {vfio_owner}.",
            "Two parties would bind the same devices.",
            f"remove it, or set {_owner.VARIABLE}: {_owner.OPERATOR} for all hosts of kata_nodes.",
        )
        for block in _owner.operands(release)
        if vfio_owner == _owner.HOST and at(values, f"{block}.enabled") not in (None, False)
    ]


def _finding(fact: str, consequence: str, fix: str) -> Finding:
    return Finding("chart_values", BLOCK, fact, consequence, fix, _EVIDENCE)
