# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the IOMMU is on, layer by layer: CPU, firmware, kernel, groups; and what would turn it on."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu import arguments, layers, notes, remapping
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.facts import NO_IOMMU

ACTIVE = "active"
OFF_IN_KERNEL = "off_in_kernel"
OFF_IN_FIRMWARE = "off_in_firmware"
UNSUPPORTED = "unsupported"

_TABLE_OF = {"intel": "DMAR", "amd": "IVRS", "arm": "IORT"}
# A hypervisor can offer any IOMMU with any CPU, so the table decides which arguments count.
_VENDOR_OF_TABLE = {table: vendor for vendor, table in _TABLE_OF.items()}
_NAME_OF = {
    "intel": "VT-d (Intel Virtualization Technology for Directed I/O)",
    "amd": "AMD-Vi (IOMMU, on some boards under NBIO or AMD CBS)",
    "arm": "the SMMU",
}


class _Verdict(NamedTuple):
    """C(causes) are ids of the failure catalogue, in the order of C(reasons)."""

    state: str
    reasons: Tuple[Tuple[str, str], ...] = ()
    remedies: Tuple[str, ...] = ()
    wanted: Tuple[str, ...] = ()
    contradicting: Tuple[str, ...] = ()
    # Arguments that keep it off, whether they have to go or only need a later word.
    blamed: Tuple[str, ...] = ()


def diagnose(facts: Mapping[str, Any]) -> Dict[str, Any]:
    """The goal is working groups and not a token on the command line; so nothing is wanted where they are there."""
    line = tokens.parse(facts.get("kernel_arguments") or "")
    groups = real_groups(facts)
    remapped = remapping.state(facts)
    verdict = _active(facts, line, remapped) if groups else _off(facts, line)
    warnings = [
        ("A09", f"The kernel argument {text} weakens the isolation between IOMMU groups.")
        for text in arguments.weaken_isolation(line)
    ]
    domain = _default_domain(facts, line)
    helps = bool(verdict.wanted or verdict.contradicting)
    return {
        "state": verdict.state,
        "causes": [cause for cause, _text in verdict.reasons] + [cause for cause, _text in warnings],
        "reasons": [text for _cause, text in verdict.reasons] + [text for _cause, text in warnings],
        "remedies": list(verdict.remedies),
        "cpu_vendor": facts.get("cpu_vendor") or "",
        "firmware_tables": list(facts.get("firmware_tables") or []),
        "units": list(facts.get("units") or []),
        "group_count": len(groups),
        "interrupt_remapping": remapped,
        "kernel_arguments": str(line),
        "virtualization": facts.get("virtualization") or "",
        "wanted_arguments": list(verdict.wanted),
        "contradicting_arguments": list(verdict.contradicting),
        "blamed_arguments": list(verdict.blamed),
        "reboot_would_help": helps,
        "default_domain": domain,
        "lockdown": facts.get("lockdown") or "",
        "layers": layers.layers(facts, line, len(groups), remapped, domain),
        "notes": notes.notes(facts, verdict.state == ACTIVE, helps, domain),
    }


def as_if_published(facts: Mapping[str, Any]) -> Dict[str, Any]:
    """The facts with the table that the firmware does not publish, for what the kernel will need once it does."""
    tables = list(facts.get("firmware_tables") or [])
    table = _TABLE_OF.get(facts.get("cpu_vendor") or "")
    return {**facts, "firmware_tables": [*tables, *([table] if table else [])]}


def real_groups(facts: Mapping[str, Any]) -> List[str]:
    """Groups that an IOMMU made; vfio's mode without an IOMMU makes some of its own, which isolate nothing."""
    groups: Mapping[str, Any] = facts.get("groups") or {}
    return [name for name, group in groups.items() if group.get("name") != NO_IOMMU]


def _active(facts: Mapping[str, Any], line: tokens.CommandLine, remapped: Optional[bool]) -> _Verdict:
    return _unremapped(facts, line) if remapped is False else _Verdict(ACTIVE)


def _unremapped(facts: Mapping[str, Any], line: tokens.CommandLine) -> _Verdict:
    """An argument is only to blame where hardware and kernel could do it."""
    firmware = (
        "Enable interrupt remapping (on some boards x2APIC) in the firmware; "
        "do not set allow_unsafe_interrupts on a host that runs other people's pods."
    )
    blamed, apic = arguments.remapping_off(line), arguments.without_apic(line)
    if remapping.capable(facts) is False:
        reason = "Interrupt remapping is off, because the hardware or its firmware does not offer it."
        return _Verdict(ACTIVE, (("A12", reason),), (firmware,))
    if (facts.get("kernel_options") or {}).get("CONFIG_IRQ_REMAP", "y") != "y":
        reason = f"Interrupt remapping is off, because the kernel {_release(facts)} was built without CONFIG_IRQ_REMAP."
        return _Verdict(
            ACTIVE, (("A12", reason),), ("Install and boot the distribution's general kernel, then look again.",)
        )
    if apic:
        reason = f"Interrupt remapping is off, because the kernel argument {apic[-1]} keeps the kernel from the interrupt controller."
        remedy = f"Find out why {apic[-1]} was set, remove it by hand and reboot; then look again."
        return _Verdict(ACTIVE, (("A12", reason),), (remedy,), blamed=tuple(apic))
    if blamed is not None:
        reason = f"Interrupt remapping is off, because the kernel argument {blamed} turns it off."
        remedy = "Let intremap=on have the last word on the kernel command line and reboot."
        return _Verdict(ACTIVE, (("A12", reason),), (remedy,), wanted=("intremap=on",), blamed=(blamed,))
    reason = "Interrupt remapping is off, so vfio refuses devices unless unsafe interrupts are allowed."
    return _Verdict(ACTIVE, (("A12", reason),), (firmware,))


def _release(facts: Mapping[str, Any]) -> str:
    return facts.get("kernel_release") or "in use"


def _default_domain(facts: Mapping[str, Any], line: tokens.CommandLine) -> str:
    """What the groups have is the truth; without groups, what the kernel was told."""
    types = [group.get("type") for group in (facts.get("groups") or {}).values() if group.get("type")]
    if types:
        identity = types.count("identity")
        return arguments.PASSTHROUGH if identity * 2 > len(types) else arguments.TRANSLATED
    return arguments.default_domain(line) or ""


def _off(facts: Mapping[str, Any], line: tokens.CommandLine) -> _Verdict:
    tables = list(facts.get("firmware_tables") or [])
    vendor = _iommu_vendor(facts.get("cpu_vendor") or "", tables)
    if vendor not in _TABLE_OF:
        return _Verdict(
            UNSUPPORTED,
            (("A02", f"The CPU vendor {vendor or 'unknown'} is none whose IOMMU is known here (Intel, AMD, Arm)."),),
            ("Use a host with an Intel, AMD or Arm CPU that has an IOMMU.",),
        )
    if facts.get("hypervisor") == "xen":
        return _Verdict(
            UNSUPPORTED,
            (("A18", "This kernel runs under Xen, which keeps the IOMMU to itself."),),
            ("Boot the kernel without Xen; no kernel argument makes groups below it.",),
        )
    if not facts.get("acpi", True) and arguments.values(line, "acpi")[-1:] == ["off"]:
        return _Verdict(
            UNSUPPORTED,
            (("A04", "The kernel argument acpi=off hides the firmware's tables, and with them every IOMMU."),),
            ("Find out why acpi=off was set, remove it by hand and reboot; then look again.",),
            blamed=("acpi=off",),
        )
    if not facts.get("acpi", True) and facts.get("device_tree"):
        return _Verdict(
            OFF_IN_FIRMWARE,
            (("A02", "The kernel was booted with a device tree and not with ACPI, and made no groups from it."),),
            ("Let the firmware boot with ACPI, or with a device tree that describes the SMMU; then look again.",),
        )
    vendor = _VENDOR_OF_TABLE.get(next((table for table in tables if table in _VENDOR_OF_TABLE), ""), vendor)
    if "VIOT" in tables and _TABLE_OF[vendor] not in tables:
        return _Verdict(
            OFF_IN_KERNEL,
            (("A18", "The hypervisor offers a virtio IOMMU (table VIOT), and this kernel does not use it."),),
            ("Boot a kernel that has the driver virtio_iommu built in, or give the machine an emulated IOMMU.",),
        )
    if _TABLE_OF[vendor] not in tables or _units_in_table(facts, vendor) == 0:
        return _without_table(facts, vendor, tables)
    return {"intel": _intel_off, "amd": _amd_off, "arm": _arm_off}[vendor](facts, line)


def _units_in_table(facts: Mapping[str, Any], vendor: str) -> Optional[int]:
    """Nothing where the table was not understood, for which nobody is blamed."""
    if vendor == "arm":
        return facts.get("iort_smmu_nodes")
    return ((facts.get("dmar") if vendor == "intel" else facts.get("ivrs")) or {}).get("units")


def _iommu_vendor(cpu_vendor: str, tables: Sequence[str]) -> str:
    """The table says which IOMMU there is; an emulated machine can have a CPU of one vendor and the IOMMU of another."""
    published = [vendor for vendor, table in _TABLE_OF.items() if table in tables]
    return published[0] if len(published) == 1 else cpu_vendor


def _without_table(facts: Mapping[str, Any], vendor: str, tables: Sequence[str]) -> _Verdict:
    table = _TABLE_OF[vendor]
    what = "SMMU" if vendor == "arm" else "IOMMU"
    missing = f"{table} names no {what}" if table in tables else f"there is no {table} table"
    if _is_guest(facts):
        hypervisor = facts.get("virtualization") or "a hypervisor"
        return _Verdict(
            UNSUPPORTED,
            (("A18", f"This host is itself a virtual machine ({hypervisor}) without a virtual IOMMU: {missing}."),),
            (
                "Use bare metal, or have the hypervisor offer a virtual IOMMU and nested virtualisation; "
                "neither a kernel argument nor a reboot will help.",
            ),
        )
    return _Verdict(
        OFF_IN_FIRMWARE,
        (("A02", f"The firmware publishes no IOMMU: {missing} in /sys/firmware/acpi/tables."),),
        (
            f"Enable {_NAME_OF[vendor]} in the firmware setup, or let the role host_firmware do it through the BMC"
            " (katagpu_firmware: apply); a kernel argument will not help.",
        ),
    )


def _is_guest(facts: Mapping[str, Any]) -> bool:
    return bool(facts.get("virtualization")) or "hypervisor" in (facts.get("cpu_flags") or [])


def _intel_off(facts: Mapping[str, Any], line: tokens.CommandLine) -> _Verdict:
    contradicting, replacements = arguments.switches_off(line)
    switch = arguments.last_word(line, "intel_iommu", ("on", "off"))
    options: Mapping[str, str] = facts.get("kernel_options") or {}
    default_on = options.get("CONFIG_INTEL_IOMMU_DEFAULT_ON") == "y"
    reasons = [("A04", _contradicts(token)) for token in contradicting]
    wanted, blamed = list(replacements), list(contradicting)
    if options.get("CONFIG_INTEL_IOMMU", "y") != "y":
        return _no_driver("CONFIG_INTEL_IOMMU", facts)
    if switch == "off":
        reasons.append(("A04", "The last value of intel_iommu on the kernel command line is off."))
        wanted.append("intel_iommu=on")
        blamed += [
            item.text for item in line.kernel_tokens if item.key == "intel_iommu" and "off" in arguments.items(item)
        ]
    elif switch is None and not default_on:
        # Without the kernel's configuration at hand the argument is asked for as well: it is harmless where it is the default.
        reasons.append(("A01", "The kernel does not turn VT-d on by itself, and intel_iommu=on is not set."))
        wanted.append("intel_iommu=on")
    if not reasons:
        return _refused_by_kernel("DMAR", "DMAR: ")
    return _kernel_verdict(reasons, wanted, contradicting, blamed)


def _amd_off(facts: Mapping[str, Any], line: tokens.CommandLine) -> _Verdict:
    """AMD-Vi is on by default; C(amd_iommu) has no value that turns it on, so none is ever wanted."""
    contradicting, wanted = arguments.switches_off(line)
    contradicting += [
        item.text for item in line.kernel_tokens if item.key == "amd_iommu" and "off" in arguments.items(item)
    ]
    reasons = [("A04", _contradicts(token)) for token in contradicting]
    if (facts.get("kernel_options") or {}).get("CONFIG_AMD_IOMMU", "y") != "y":
        return _no_driver("CONFIG_AMD_IOMMU", facts)
    if not reasons:
        return _refused_by_kernel("IVRS", "AMD-Vi: ")
    return _kernel_verdict(reasons, wanted, contradicting, contradicting)


def _arm_off(facts: Mapping[str, Any], _line: tokens.CommandLine) -> _Verdict:
    """The SMMU drivers read none of the x86 arguments; they are on whenever firmware describes the hardware."""
    if (facts.get("kernel_options") or {}).get("CONFIG_ARM_SMMU_V3", "y") == "n":
        return _no_driver("CONFIG_ARM_SMMU_V3", facts)
    return _refused_by_kernel("IORT", "arm-smmu")


def _kernel_verdict(
    reasons: Sequence[Tuple[str, str]], wanted: Sequence[str], contradicting: Sequence[str], blamed: Sequence[str]
) -> _Verdict:
    remedies = []
    if contradicting:
        remedies.append(
            f"Remove {' '.join(contradicting)} from the kernel command line; no later argument overrides it."
        )
    if wanted:
        remedies.append(f"Add {' '.join(wanted)} at the end of the kernel command line.")
    remedies.append("Reboot.")
    unique = [tuple(dict.fromkeys(texts)) for texts in (wanted, contradicting, blamed)]
    return _Verdict(OFF_IN_KERNEL, tuple(reasons), tuple(remedies), *unique)


def _no_driver(option: str, facts: Mapping[str, Any]) -> _Verdict:
    return _Verdict(
        OFF_IN_KERNEL,
        (("A01", f"The kernel {_release(facts)} was built without {option}."),),
        ("Install and boot the distribution's general kernel (not a cloud or minimal one), then look again.",),
    )


def _refused_by_kernel(table: str, prefix: str) -> _Verdict:
    return _Verdict(
        OFF_IN_KERNEL,
        (
            (
                "A01",
                f"The firmware publishes {table} and no argument turns the IOMMU off, yet the kernel made no groups.",
            ),
        ),
        (f"Look for '{prefix}' in the kernel's log (journalctl -k -b); a firmware update is the usual answer.",),
    )


def _contradicts(token: str) -> str:
    return f"The kernel argument {token} turns the IOMMU off."
