# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the power of a device is off, and whether the platform may switch it off."""

from __future__ import annotations

from typing import Dict, Iterable, List

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES, addresses_of

IDLE_D3_DISABLED = "/sys/module/vfio_pci/parameters/disable_idle_d3"
# The object of ACPI behind a device has this folder where its power can be cut (_PR3).
_RESOURCES = "firmware_node/power_resources_D3hot"


def sleeps(root: HostRoot, address: str) -> bool:
    """D3cold that the kernel brought about. A device that is lost is shown in that state too, but not as suspended."""
    folder = f"{PCI_DEVICES}/{address}"
    state = root.read_line(f"{folder}/power_state")
    return state in (None, "D3cold") and root.read_line(f"{folder}/power/runtime_status") == "suspended"


def read_power_off(root: HostRoot, addresses: Iterable[str]) -> Dict[str, List[str]]:
    """Address to the functions, itself or above it, by which its power can be cut, where the kernel may do that."""
    found = {}
    for address in addresses:
        folder = f"{PCI_DEVICES}/{address}"
        if root.read_line(f"{folder}/d3cold_allowed") != "1":
            continue
        above = addresses_of(root.resolve(folder) or "")
        able = [each for each in above if root.is_dir(f"{PCI_DEVICES}/{each}/{_RESOURCES}")]
        if able:
            found[address] = able
    return found
