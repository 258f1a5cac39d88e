# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are in sysfs."""

from __future__ import annotations

import re
from typing import Optional

PCI_DEVICES = "/sys/bus/pci/devices"
PCI_DRIVERS = "/sys/bus/pci/drivers"
DRIVERS_PROBE = "/sys/bus/pci/drivers_probe"
IOMMU_GROUPS = "/sys/kernel/iommu_groups"

_ADDRESS_PART = re.compile(r"/([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])(?=/|\Z)")


def pci_address_of(sysfs_path: str) -> Optional[str]:
    """The PCI function that a sysfs path lies below: the last one, for those before it are bridges."""
    parts = _ADDRESS_PART.findall(sysfs_path)
    return parts[-1] if parts else None
