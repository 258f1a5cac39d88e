# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Linux does with a machine and a command line: whether the IOMMU comes up, and whether interrupts are remapped.

Written apart from the product from arch/x86/kernel/pci-dma.c, drivers/iommu/intel/iommu.c, drivers/iommu/amd/init.c and
drivers/iommu/irq_remapping.c, as the flags that the kernel sets while it reads the line from left to right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TABLES = {"intel": "DMAR", "amd": "IVRS", "arm": "IORT"}


@dataclass(frozen=True)
class Machine:
    """The truth about a machine, of which the product sees only the facts."""

    vendor: str = "intel"
    table: bool = True
    units: int | None = 1  # In the table; nothing where it cannot be parsed, which means one or more.
    driver: bool = True
    default_on: bool = False
    config_at_hand: bool = True
    refuses: bool = False  # For reasons that only its log tells.
    remaps: bool = True
    remaps_in_kernel: bool = True
    guest: bool = False

    def kernel(self, line: str) -> tuple[bool, bool]:
        """IOMMU on, interrupts remapped."""
        no_iommu = dmar_disabled = amd_disabled = no_remap = no_acpi = no_apic = False
        dmar_disabled = not self.default_on
        for word in line.split():
            if word == "--":
                break
            key, _equals, value = word.partition("=")
            items = value.split(",")
            key = key.replace("-", "_")
            if key == "acpi":
                no_acpi = value == "off"
            elif key == "iommu":
                no_iommu |= any(item.startswith("off") for item in items)
            elif key == "intel_iommu":
                for item in items:
                    dmar_disabled = {"on": False, "off": True}.get(item, dmar_disabled)
            elif key == "amd_iommu":
                amd_disabled |= "off" in items
            elif key == "intremap":
                for item in items:
                    no_remap = {"on": False, "off": True}.get(item, no_remap)
            elif word == "nointremap":
                no_remap = True
            elif word == "noapic":
                no_apic = True
        described = self.table and self.units != 0 and not no_acpi
        if self.vendor == "arm":
            return described and self.driver and not self.refuses, True
        disabled = dmar_disabled if self.vendor == "intel" else amd_disabled
        on = described and self.driver and not self.refuses and not no_iommu and not disabled
        remapped = described and self.remaps and self.remaps_in_kernel and not (no_remap or no_apic or no_iommu)
        return on, remapped

    def facts(self, line: str) -> dict[str, Any]:
        """What sysfs and procfs show after a boot with this line."""
        on, remapped = self.kernel(line)
        option = {"intel": "CONFIG_INTEL_IOMMU", "amd": "CONFIG_AMD_IOMMU", "arm": "CONFIG_ARM_SMMU_V3"}[self.vendor]
        options = {
            option: "y" if self.driver else "n",
            "CONFIG_INTEL_IOMMU_DEFAULT_ON": "y" if self.default_on else "n",
            "CONFIG_IRQ_REMAP": "y" if self.remaps_in_kernel else "n",
        }
        words = [word for word in f" {line} ".partition(" -- ")[0].split() if word.startswith("acpi=")]
        acpi = words[-1:] != ["acpi=off"]
        table = TABLES[self.vendor]
        parsed = acpi and self.table and self.units is not None
        return {
            "cpu_vendor": self.vendor,
            "cpu_flags": ["hypervisor"] if self.guest else [],
            "virtualization": "QEMU" if self.guest else "",
            "acpi": acpi,
            "firmware_tables": [table] if self.table and acpi else [],
            "iort_smmu_nodes": self.units if parsed and table == "IORT" else None,
            "dmar": {"units": self.units, "interrupt_remapping": self.remaps} if parsed and table == "DMAR" else None,
            "ivrs": {"units": self.units} if parsed and table == "IVRS" else None,
            "groups": {"0": {"devices": ["0000:00:02.0"], "name": "", "type": "DMA"}} if on else {},
            "units": [],
            "kernel_arguments": line,
            "kernel_options": options if self.config_at_hand else {},
            "remapped_interrupts": None if self.vendor == "arm" else remapped,
        }
