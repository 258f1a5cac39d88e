# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each layer says, from the processor up, so that one sees where the chain breaks."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu import arguments

_KEYS = (
    "acpi",
    "iommu",
    "intel_iommu",
    "amd_iommu",
    "intremap",
    "nointremap",
    "iommu.passthrough",
    "noapic",
    "nolapic",
)
_OPTIONS = {"intel": "CONFIG_INTEL_IOMMU", "amd": "CONFIG_AMD_IOMMU", "arm": "CONFIG_ARM_SMMU_V3"}

# Whether the layer is as it should be, nothing where that cannot be told or does not matter, and what it says.
_Said = Tuple[Optional[bool], str]


def layers(
    facts: Mapping[str, Any], line: tokens.CommandLine, groups: int, remapped: Optional[bool], domain: str
) -> List[Dict[str, Any]]:
    said = {
        "processor": _processor(facts),
        "machine": _machine(facts),
        "firmware": _firmware(facts),
        "kernel": _kernel(facts),
        "arguments": _arguments(line),
        "units": _units(facts),
        "groups": (groups > 0, f"{groups} groups"),
        "interrupts": (remapped, {None: "not known", True: "remapped", False: "not remapped"}[remapped]),
        "domain": (None, domain or "not known"),
        "lockdown": (None, facts.get("lockdown") or "none"),
    }
    return [{"layer": name, "ok": ok, "fact": text} for name, (ok, text) in said.items()]


def _processor(facts: Mapping[str, Any]) -> _Said:
    vendor = facts.get("cpu_vendor") or "unknown"
    if vendor not in ("intel", "amd"):
        return (None, vendor)
    flag = next((flag for flag in facts.get("cpu_flags") or [] if flag in ("vmx", "svm")), None)
    return (flag is not None, f"{vendor} with {flag}" if flag else f"{vendor} without vmx or svm")


def _machine(facts: Mapping[str, Any]) -> _Said:
    if facts.get("hypervisor"):
        return (False, f"runs under {facts['hypervisor']}")
    if facts.get("virtualization"):
        return (None, f"virtual machine ({facts['virtualization']})")
    return (True, "no virtual machine by what it says")


def _firmware(facts: Mapping[str, Any]) -> _Said:
    tables = list(facts.get("firmware_tables") or [])
    if not tables:
        return (False, "no DMAR, IVRS, IORT or VIOT" if facts.get("acpi", True) else "no ACPI")
    counts = [(facts.get(key) or {}).get("units") for key in ("dmar", "ivrs")] + [facts.get("iort_smmu_nodes")]
    known = [count for count in counts if count is not None]
    text = ", ".join(tables) + (f" with {sum(known)} units" if known else "")
    return (not known or sum(known) > 0, text)


def _kernel(facts: Mapping[str, Any]) -> _Said:
    option = _OPTIONS.get(str(facts.get("cpu_vendor") or ""))
    value = (facts.get("kernel_options") or {}).get(option or "")
    if value is None:
        return (None, "its configuration is not at hand")
    return (value == "y", f"{option}={value}")


def _arguments(line: tokens.CommandLine) -> _Said:
    found = [item for item in line.kernel_tokens if item.key in _KEYS]
    against = [
        *arguments.switches_off(line)[0],
        *(item.text for item in found if item.key == "amd_iommu" and "off" in arguments.items(item)),
        *(word for word in [arguments.last_word(line, "intel_iommu", ("on", "off"))] if word == "off"),
        *(word for word in [arguments.remapping_off(line)] if word),
        *arguments.without_apic(line),
    ]
    return (not against, " ".join(item.text for item in found) or "none")


def _units(facts: Mapping[str, Any]) -> _Said:
    names = [str(unit.get("name")) for unit in facts.get("units") or []]
    return (bool(names), ", ".join(names) or "none in use")
