# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import (
    _chart_values,
    _confidential,
    _controller,
    _owner,
    _releases,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._arguments import release_of
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding

ARGUMENTS: dict[str, Any] = {
    "kata_nodes": {"type": "list", "elements": "str", "default": []},
    "container_nodes": {"type": "list", "elements": "str", "default": []},
    "release": {"type": "raw"},
    "releases": {"type": "dict", "default": {}},
    "release_consent": {"type": "str"},
    "accepted": {"type": "raw"},
    "gpu_operator_values": {"type": "raw"},
    "gpu_operator_kata_manager": {"type": "raw"},
    "kata_deploy_values": {"type": "raw"},
    "coco_operator_node_selector": {"type": "raw"},
    "kata_deploy_node_selector": {"type": "raw"},
    "tools": {"type": "list", "elements": "str"},
    "manifest_operator_ref": {"type": "str"},
    "manifest_runtime_ref": {"type": "str"},
    "default_workload": {"type": "str"},
    "operand_update": {"type": "str"},
    "vfio_owner": {"type": "str"},
    "confidential": {"type": "str"},
    "firmware": {"type": "str"},
    "serial": {"type": "raw", "default": 1},
    "serial_consent": {"type": "bool", "default": False},
    "known": {"type": "list", "elements": "str", "default": []},
    "required_python": {"type": "list", "elements": "str", "default": ["kubernetes", "jmespath", "yaml"]},
    "fail": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Collects every mistake of inventory and controller, so that they are corrected in one go."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        kata, container = arguments["kata_nodes"], arguments["container_nodes"]
        release, refusals = _release(arguments)
        operator = release.get("coco_operator") or {}
        refs = [arguments[f"manifest_{name}"] or operator.get(name) for name in ("operator_ref", "runtime_ref")]
        remote = _controller.remote(refs, os.path.isdir)
        wanted = arguments["tools"]
        if wanted is None:
            wanted = ["helm", *(["kubectl|kustomize"] if operator else [])]
        wanted = [*wanted, *(["git"] if operator and remote else [])]
        known, roles = _controller.known_variables()
        owners = _plain(variables, kata, _owner.VARIABLE)
        findings = [
            *_controller.targets(kata, container),
            *refusals,
            *_values(release, arguments, _plain(variables, kata, _confidential.VARIABLE).values(), owners),
            *(
                finding
                for name in ("coco_operator_node_selector", "kata_deploy_node_selector")
                for finding in _controller.selector(name, arguments[name])
            ),
            *_controller.acceptances(arguments["accepted"] or []),
            *_controller.choices(_choices(arguments, variables)),
            *_controller.confidential(
                _plain(variables, [*kata, *container], _confidential.VARIABLE), container, release
            ),
            *_controller.owners(owners, release),
            *_controller.misspelt(_variables(variables), {*known, *arguments["known"]}, roles),
            *_controller.tools(wanted, {name: _installed(name) for entry in wanted for name in entry.split("|")}),
            *_controller.packages(
                name for name in arguments["required_python"] if importlib.util.find_spec(name) is None
            ),
            *_controller.serial_width(arguments["serial"], arguments["serial_consent"], len(kata)),
        ]
        messages = [finding.message() for finding in findings if finding.stops]
        if messages and arguments["fail"]:
            # Ansible prints the result of a failed task: each finding once is enough.
            msg = "The run was not started. Nothing was changed.\n" + "\n".join(messages)
            return {**result, "failed": True, "changed": False, "msg": msg}
        result.update(
            changed=False,
            findings=[finding.as_dict() for finding in findings],
            summary={"blocked": bool(messages), "messages": messages},
        )
        return result


def _installed(name: str) -> bool:
    return shutil.which(name) is not None


def _release(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    try:
        release = release_of(arguments["release"], arguments["releases"])
        refusal = _releases.refusal(release, _releases.load(arguments["releases"]), arguments["release_consent"])
    except KatagpuError as error:
        return {}, [Finding("release", BLOCK, str(error))]
    if not refusal:
        return release, []
    return release, [Finding("release", BLOCK, refusal, fix="set katagpu_release to a supported release.")]


def _values(
    release: Mapping[str, Any], arguments: Mapping[str, Any], modes: Iterable[Any], owners: Mapping[str, Any]
) -> list[Finding]:
    if not isinstance(release.get("gpu_operator"), Mapping) or "values" not in release["gpu_operator"]:
        return []
    return [
        *_chart_values.judge(
            release,
            arguments["gpu_operator_values"],
            arguments["gpu_operator_kata_manager"],
            arguments["default_workload"],
            next(iter(_owner.by_owner(owners, release)), None),
        ),
        *_chart_values.judge_kata_deploy(release, arguments["kata_deploy_values"], [mode for mode in modes if mode]),
    ]


def _plain(variables: Mapping[str, Any], hosts: Iterable[str], name: str) -> dict[str, Any]:
    """What hosts ask for in plain words, or nothing. What only a template tells is judged when the host is read."""
    sources = _sources(variables)
    found = {host: sources.get(host, {}).get(name) for host in hosts}
    return {
        host: value for host, value in found.items() if value is None or (isinstance(value, str) and "{{" not in value)
    }


def _choices(arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The value of the play, and where hosts have a plain value of their own, that."""
    values: dict[str, dict[str, Any]] = {
        name: {"": arguments[name.removeprefix(_controller.PREFIX)]} for name in _controller.CHOICES
    }
    for host, own in _sources(variables).items():
        for name, by_host in values.items():
            value = own.get(name)
            if isinstance(value, str) and "{{" not in value and value != by_host[""]:
                by_host[host] = value
    return values


def _variables(task_vars: Mapping[str, Any]) -> dict[str, set[str]]:
    """Names only: values stay untouched, they may be secrets or templates that cannot be rendered here."""
    names: dict[str, set[str]] = {}
    for source, variables in {"this play": task_vars, **_sources(task_vars)}.items():
        for name in variables:
            names.setdefault(str(name), set()).add(source)
    return {name: (hosts - {"this play"}) or hosts for name, hosts in names.items()}


def _sources(task_vars: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The variables of each host, not rendered."""
    hostvars: Any = task_vars.get("hostvars")
    found: dict[str, Mapping[str, Any]] = {}
    for host in hostvars or ():
        variables = hostvars.raw_get(host) if hasattr(hostvars, "raw_get") else dict(hostvars)[host]
        if isinstance(variables, Mapping):
            found[str(host)] = variables
    return found
