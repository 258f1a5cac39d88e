# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are in sysfs."""

from __future__ import annotations

import re
from typing import List

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

PCI_DEVICES = "/sys/bus/pci/devices"
PCI_DRIVERS = "/sys/bus/pci/drivers"
DRIVERS_PROBE = "/sys/bus/pci/drivers_probe"
IOMMU_GROUPS = "/sys/kernel/iommu_groups"

_ADDRESS_PART = re.compile(r"/([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])(?=/|\Z)")


def addresses_of(sysfs_path: str) -> List[str]:
    """All PCI functions in a sysfs path, bridges included, from the root on."""
    return _ADDRESS_PART.findall(sysfs_path)


def functions_of(root: HostRoot, sysfs_path: str) -> List[str]:
    """The PCI functions that a sysfs path lies below, bridges left out.

    There are two where the function is behind another one that is no bridge, such as a Volume Management Device.
    """
    return [
        address
        for address in addresses_of(sysfs_path)
        if not (root.read_line(f"{PCI_DEVICES}/{address}/class") or "").startswith("0x0604")
    ]
