# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils._arguments import accepted_findings, release_of
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.desired import parse
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.host import assess

ARGUMENTS: dict[str, Any] = {
    "release": {"type": "raw"},
    "releases": {"type": "dict", "default": {}},
    "node": {"type": "str"},
    "desired": {"type": "dict", "default": {}},
    "accepted": {"type": "list", "elements": "dict", "default": []},
    "cluster_node": {"type": "dict"},
    "bios": {"type": "dict"},
    "verify": {"type": "bool", "default": False},
    "root": {"type": "path", "default": "/"},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Reads the host once and judges here, where libraries and release data are."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        try:
            release = release_of(arguments["release"], arguments["releases"])
            accepted = accepted_findings(arguments["accepted"])
            wanted = parse(arguments["desired"], release)
        except KatagpuError as error:
            return {**result, "failed": True, "msg": str(error)}
        read = self._execute_module(
            module_name="katagpu.cluster.host_facts",
            module_args={"root": arguments["root"], "artifacts_dirs": [wanted.artifacts_dir]},
            task_vars=variables,
        )
        if read.get("failed") or "facts" not in read:
            read.setdefault("msg", "host_facts returned no facts.")
            return {**result, **read, "failed": True}
        node = arguments["node"] or str(variables.get("inventory_hostname", ""))
        try:
            answer = assess(
                read["facts"],
                arguments["desired"],
                release,
                node,
                arguments["cluster_node"],
                accepted,
                arguments["verify"],
                arguments["bios"],
            )
        except KatagpuError as error:
            return {**result, "failed": True, "msg": f"{node}: {error}"}
        return {**result, **answer, "changed": False}
