# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster as it is judged: what was read, what the inventory names, what the release says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential

PREVIEW = 8


@dataclass(frozen=True)
class ClusterView:
    """C(named) are the nodes of the inventory with their role and what is known of their hosts."""

    facts: Mapping[str, Any]
    named: Mapping[str, Mapping[str, Any]]
    release: Mapping[str, Any]
    default_workload: str = "container"
    helm: tuple[Mapping[str, Any], ...] = ()
    # Nothing where the eligible nodes have not been decided yet.
    eligible: frozenset[str] | None = None
    # Consent to keep the operator off nodes that are not eligible.
    protect: bool = False
    # The selector of the Kata runtime, and tolerations by part of the stack, where the inventory has its own.
    kata_selector: Mapping[str, str] | None = None
    tolerations: Mapping[str, Any] = field(default_factory=dict)
    # Memory of the sample workload; nothing where none is run.
    workload_memory_mib: int = 0
    # Namespace and name of the Helm release of the GPU Operator.
    operator_release: str = ""
    # The same of kata-deploy.
    kata_release: str = ""
    # What the run does: read, verify or deploy.
    access: str = "deploy"

    @cached_property
    def nodes(self) -> Mapping[str, Mapping[str, Any]]:
        nodes: Mapping[str, Mapping[str, Any]] = self.facts["nodes"]
        return nodes

    @cached_property
    def missing(self) -> list[str]:
        return sorted(name for name in self.named if name not in self.nodes)

    @cached_property
    def kata(self) -> list[str]:
        return [name for name in self.named if name in self.nodes and self.named[name].get("role") == "kata"]

    @cached_property
    def container(self) -> list[str]:
        return [name for name in self.named if name in self.nodes and self.named[name].get("role") != "kata"]

    def confidential(self, name: str) -> str:
        """The variant that the node is for. One that the release does not have is refused on its host."""
        mode = str(self.named[name].get("confidential") or _confidential.NONE)
        return mode if mode in _confidential.variants(self.release) else _confidential.NONE

    @cached_property
    def selector(self) -> Mapping[str, str]:
        """As the chart of kata-deploy gets it, where its values are known."""
        chart = next((item for item in self.helm if item["chart"] == "kata-deploy" and item["node_selector"]), None)
        if chart is not None:
            return dict(chart["node_selector"])
        part = self.release.get("coco_operator") or self.release.get("kata_deploy") or {}
        selector: Mapping[str, str] = self.kata_selector or part.get("node_selector") or {}
        return selector

    @cached_property
    def selected(self) -> list[str]:
        wanted = self.selector.items()
        return sorted(name for name, node in self.nodes.items() if wanted and wanted <= node["labels"].items())

    def tolerations_of(self, part: str) -> list[Mapping[str, Any]]:
        return list(self.tolerations.get(part) or self.release.get(part, {}).get("tolerations") or [])

    def in_run(self, names: list[str]) -> list[str]:
        """Those that this run is about; all of them where the eligible nodes have not been decided."""
        return [name for name in names if self.eligible is None or name in self.eligible]

    def is_gpu_node(self, name: str) -> bool:
        node = self.nodes[name]
        keys = [*self.release["labels"]["nfd_gpu"], self.release["labels"]["gpu_present"]]
        return any(node["labels"].get(key) == "true" for key in keys) or bool(node["capacity"])

    @cached_property
    def foreign_gpu_nodes(self) -> list[str]:
        return sorted(
            name
            for name in self.nodes
            if name not in self.named and self.is_gpu_node(name) and not self.operands_off(name)
        )

    @property
    def operands_off_key(self) -> str:
        return str(self.release["labels"]["operands_off"])

    def operands_off(self, name: str) -> bool:
        return bool(self.nodes[name]["labels"].get(self.operands_off_key) == "false")

    def gpu_pods_on(self, name: str) -> list[str]:
        return [f"{pod['namespace']}/{pod['name']}" for pod in self.facts["gpu_pods"] if pod["node"] == name]

    @property
    def operator_changes(self) -> bool:
        """Whether this run installs or changes the GPU Operator, as far as its values are known."""
        return any(item["chart"] == "gpu-operator" and item["verdict"] in ("install", "upgrade") for item in self.helm)

    @cached_property
    def installed(self) -> bool:
        """Whether a GPU Operator is there already, and so has labelled what it labels."""
        return bool(self.facts["cluster_policies"])


def some(names: list[str]) -> str:
    more = f" and {len(names) - PREVIEW} more" if len(names) > PREVIEW else ""
    return ", ".join(names[:PREVIEW]) + more
