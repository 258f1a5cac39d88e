# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.facts import devices_from_facts
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import cdi
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import WARN, Finding

ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path", "default": "/"},
    "kind": {"type": "str", "default": "nvidia.com/pgpu"},
    "drivers": {"type": "list", "elements": "str", "default": ["vfio-pci"]},
    "required": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The host hands over text; YAML is read here, because hosts need not have a parser."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        read = self._execute_module(
            module_name="katagpu.cluster.host_facts", module_args={"root": arguments["root"]}, task_vars=variables
        )
        if read.get("failed") or "facts" not in read:
            return {**result, **read, "failed": True}
        facts = read["facts"]
        specs = cdi.parse(facts.get("cdi") or {})
        devices = facts.get("devices") or {}
        nodes = [str(name) for name in devices.get("/dev/vfio") or []]
        groups = {
            device.address: device.iommu_group
            for device in devices_from_facts(facts["pci"])
            if device.is_nvidia_gpu and device.driver in arguments["drivers"]
        }
        problems = cdi.problems(specs, arguments["kind"], groups, nodes, arguments["required"], cdi.own_nodes(devices))
        node = str(variables.get("inventory_hostname", ""))
        findings = [
            Finding("D05", WARN, f"{problem}.", evidence=("/var/run/cdi", "/etc/cdi"), node=node).as_dict()
            for problem in problems
        ]
        return {
            **result,
            "changed": False,
            "specs": specs,
            "vfio_nodes": nodes,
            "findings": findings,
            "consistent": not problems,
        }
