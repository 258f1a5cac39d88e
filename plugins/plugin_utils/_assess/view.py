# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a phase judges, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.diagnose import real_groups
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.desired import Desired
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import Finding


@dataclass(frozen=True)
class HostView:
    """The facts of one host at one boot, with what is wanted of it."""

    facts: Mapping[str, Any]
    desired: Desired
    release: Mapping[str, Any]
    node: str
    cluster_node: Mapping[str, Any] | None = None
    # What bios_settings said of this host in this run; empty where nobody asked.
    bios: Mapping[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> Mapping[str, Any]:
        value = self.facts.get(name)
        return value if isinstance(value, Mapping) else {}

    @cached_property
    def devices(self) -> list[PciDevice]:
        return [PciDevice.from_dict(item) for item in self.part("pci").get("devices") or []]

    @cached_property
    def gpus(self) -> list[PciDevice]:
        return [device for device in self.devices if device.is_nvidia_gpu]

    @cached_property
    def real_groups(self) -> frozenset[str]:
        return frozenset(real_groups(self.part("iommu")))

    def comes_with_bios(self, feature: str) -> bool:
        """Whether the BIOS will have the feature after the reboot, which it does not have now."""
        return feature in (self.bios.get("fixes") or ())

    @property
    def iommu_active(self) -> bool:
        return bool(self.real_groups)

    def predates_boot(self, *paths: str) -> bool:
        """Whether this boot has read these files as they are now; false where that is not known."""
        facts = self.part("platform")
        started, modified = facts.get("boot_time"), facts.get("modified") or {}
        return bool(paths) and started is not None and all(modified.get(path, started) < started for path in paths)

    def finding(self, id: str, severity: str, fact: str, **more: Any) -> Finding:
        return Finding(id=id, severity=severity, fact=fact, node=self.node, **more)


@dataclass
class Answer:
    """What one phase has to do, what it found, why it needs a reboot or a restart, and what the record keeps of it."""

    plan: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    reboot_reasons: list[str] = field(default_factory=list)
    restart: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)


_TEXT = re.compile(
    r"^(?:\[(?P<id>\w+)\]\[\w+\] )?(?P<fact>.*?)"
    r"(?: Nothing was changed\.)?(?: Fix: (?P<fix>.*?))?(?: Nothing was changed\.)?(?: Evidence: (?P<evidence>.*))?$",
    re.DOTALL,
)


def refused(view: HostView, error: Exception, id: str, severity: str, consequence: str = "", fix: str = "") -> Finding:
    """A planner's refusal as a finding; its text already has the parts of one."""
    parts = _TEXT.match(str(error))
    found = parts.groupdict() if parts else {}
    return view.finding(
        found.get("id") or id,
        severity,
        found.get("fact") or str(error),
        consequence=consequence,
        fix=found.get("fix") or fix,
        evidence=(found["evidence"],) if found.get("evidence") else (),
    )
