# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host can start virtual machines with AMD SEV-SNP, and if not, whose fault it is.

The kernel gives SNP up where the IOMMU is in passthrough mode or has page tables of version 2, and KVM says in one parameter what
came of it (drivers/iommu/amd/init.c iommu_snp_enable, arch/x86/kvm/svm/sev.c sev_hardware_setup).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import tee
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import Finding

_MODULE = "kvm_amd"
_PARAMETERS = ("sev", "sev_es", "sev_snp")
_OPTION = "CONFIG_IOMMU_DEFAULT_PASSTHROUGH"
_ZEN3 = 25
_LIMIT = (
    "set SEV-ES ASID Space Limit Control to Manual and SEV-ES ASID Space Limit above 1, for example 100, in the firmware setup or through"
    " the BMC, and reboot the host."
)
_FIRMWARE = (
    "in the firmware setup or through the BMC enable SMEE (memory encryption), SEV-SNP Support, SNP Memory (RMP Table) Coverage and the"
    " IOMMU, set SEV-ES ASID Space Limit Control to Manual and the limit above 1, for example 100, and reboot the host."
)


def arguments(view: HostView) -> tee.Arguments:
    default = (view.part("iommu").get("kernel_options") or {}).get(_OPTION) == "y"
    off = tuple(f"{_MODULE}.{name}=0" for name in _PARAMETERS)
    return tee.Arguments(
        present=("iommu=nopt",) if default else (),
        absent=("iommu=pt", "iommu.passthrough=1", "amd_iommu=pgtbl_v2", *off),
    )


def judge(view: HostView, variant: Mapping[str, Any], kernel: str) -> list[Finding]:
    cpu = tee.facts(view).get("cpu") or {}
    if view.part("iommu").get("cpu_vendor") != "amd" or (cpu.get("family") or _ZEN3) < _ZEN3:
        return [tee.other_cpu(view, str(variant["title"]))]
    if tee.is_on(tee.parameter(view, _MODULE, "sev_snp")):
        return [*_device(view), *tee.keys(view, variant, _LIMIT)]
    missing = tee.no_module(view, _MODULE, "sev_snp", kernel)
    if missing:
        return missing
    found = [*tee.switched_off(view, _MODULE, _PARAMETERS), *_iommu(view)]
    evidence = (f"/sys/module/{_MODULE}/parameters/sev_snp", "/proc/cpuinfo")
    if "sev_snp" not in tee.flags(view):
        fact = "the firmware does not offer SEV-SNP: the processor does not show the flag sev_snp."
        found.append(tee.stop(view, "cc_firmware", fact, _FIRMWARE, evidence))
    elif not found:
        found.append(_unexplained(view, evidence))
    return found


def _iommu(view: HostView) -> list[Finding]:
    """What host_iommu takes away; without an IOMMU, that is judged first."""
    found = []
    passthrough = _passthrough(view)
    if passthrough:
        found.append(
            tee.to_come(
                view,
                "cc_iommu",
                f"the IOMMU is in passthrough mode ({passthrough}), and the kernel then gives SEV-SNP up.",
            )
        )
    tables = [one.text for one in tee.line(view).kernel_tokens if one.key == "amd_iommu" and one.value == "pgtbl_v2"]
    if tables:
        fact = f"the kernel argument {tables[-1]} gives the IOMMU page tables of version 2, and the kernel then gives SEV-SNP up."
        found.append(tee.to_come(view, "cc_iommu", fact))
    if not view.iommu_active:
        found.append(
            tee.unknown(
                view, "whether SEV-SNP works cannot be seen while the IOMMU is off.", ("/sys/kernel/iommu_groups",)
            )
        )
    return found


def _passthrough(view: HostView) -> str:
    """Who asks for it: the last word of the command line, or the kernel's own default."""
    last = None
    for one in tee.line(view).kernel_tokens:
        words = (one.value or "").split(",")
        if one.key == "iommu" and ("pt" in words or "nopt" in words):
            last = one.text if "pt" in words else ""
        elif one.key == "iommu.passthrough":
            last = one.text if one.value in ("1", "y", "Y", "on") else ""
    if last is None:
        last = _OPTION if (view.part("iommu").get("kernel_options") or {}).get(_OPTION) == "y" else ""
    return last


def _unexplained(view: HostView, evidence: tuple[str, ...]) -> Finding:
    es, count = tee.parameter(view, _MODULE, "sev_es"), (tee.facts(view).get("keys") or {}).get("sev_es")
    if not tee.is_on(es) or count == 0:
        fact = "KVM has SEV-SNP off, because no encryption key is set apart for SEV-ES."
        return tee.stop(view, "cc_firmware", fact, _LIMIT, (f"/sys/module/{_MODULE}/parameters/sev_es", *evidence))
    return tee.stop(
        view,
        "cc_firmware",
        "the processor shows SEV-SNP and KVM has it off, for a reason that only the kernel's log tells.",
        "look at dmesg | grep -iE 'snp|sev|ccp'; often the IOMMU's SNP support is off in the firmware, or the firmware of the secure"
        " processor is older than 1.55 and comes with a newer BIOS.",
        evidence,
    )


def _device(view: HostView) -> list[Finding]:
    if tee.facts(view).get("/dev/sev"):
        return []
    loaded = (tee.facts(view).get("modules") or {}).get("ccp")
    fix = (
        "load the module ccp."
        if not loaded
        else "enable the secure processor (PSP, ASP) in the firmware and reboot the host."
    )
    return [
        tee.stop(
            view, "cc_device", "/dev/sev does not exist, through which QEMU starts such a machine.", fix, ("/dev/sev",)
        )
    ]
