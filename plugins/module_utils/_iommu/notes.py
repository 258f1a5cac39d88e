# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody who hands devices over should know besides; none of it keeps the IOMMU off."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.arguments import PASSTHROUGH


def notes(facts: Mapping[str, Any], active: bool, reboot_would_help: bool, domain: str) -> List[Dict[str, str]]:
    """Ids of the failure catalogue; what is not in it has an id in words."""
    found = []
    if (facts.get("allow_unsafe_interrupts") or "").upper() in ("Y", "1"):
        found.append(
            _note(
                "A12",
                "vfio is told to go without interrupt remapping (allow_unsafe_interrupts).",
                "A virtual machine could send interrupts of its choice to the host.",
                "take allow_unsafe_interrupts out of /etc/modprobe.d or the kernel command line, and reboot.",
            )
        )
    if facts.get("crash_kernel") and not active and reboot_would_help:
        found.append(
            _note(
                "A19",
                "the host keeps memory for a crash kernel (kdump), and the IOMMU was off so far.",
                "Some kernels write no crash dump any more when the IOMMU is on.",
                "test a crash dump after the reboot (echo c > /proc/sysrq-trigger on the drained host).",
            )
        )
    if facts.get("lockdown") not in (None, "", "none"):
        boot = " by Secure Boot" if facts.get("secure_boot") else ""
        found.append(
            _note(
                "B14",
                f"the kernel is locked down{boot} (lockdown={facts['lockdown']}).",
                "setpci and tools that map the memory of a GPU do not work, binding to vfio-pci does.",
                "for such tools (those that set the confidential mode of a GPU) boot without Secure Boot.",
            )
        )
    if active and facts.get("virtualization"):
        found.append(
            _note(
                "A18",
                f"the host is itself a virtual machine ({facts['virtualization']}) and has a virtual IOMMU.",
                "Devices can be handed on only as far as the hypervisor below allows it.",
                "use bare metal where performance or isolation matters.",
            )
        )
    if domain == PASSTHROUGH and "sev_snp" in (facts.get("cpu_flags") or []):
        found.append(
            _note(
                "iommu_passthrough",
                "the IOMMU is in passthrough mode, and the processor can do SEV-SNP.",
                "Plain virtual machines do not mind, but the kernel gives SEV-SNP up.",
                "for confidential virtual machines remove iommu=pt and iommu.passthrough=1 (or add iommu=nopt), and reboot.",
            )
        )
    return found


def _note(id: str, fact: str, consequence: str, remedy: str) -> Dict[str, str]:
    return {"id": id, "fact": fact, "consequence": consequence, "remedy": remedy}
