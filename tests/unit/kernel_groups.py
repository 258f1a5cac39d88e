# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IOMMU groups as Linux makes them (drivers/iommu/iommu.c pci_device_group, drivers/pci/pci.c pci_acs_enabled), without quirks.

Written apart from the product, one device after the other as the kernel does it, so that each can be held against the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice

_FLAGS = {"source_validation", "request_redirect", "completion_redirect", "upstream_forwarding"}


def groups_of(devices: Iterable[PciDevice]) -> dict[str, str]:
    by_address = {device.address: device for device in devices}
    order = sorted(by_address)
    group: dict[str, int] = {}
    for address in order:
        group[address] = _group_of(by_address[address], by_address, group)
    numbers = {
        number: str(position) for position, number in enumerate(dict.fromkeys(group[address] for address in order))
    }
    return {address: numbers[group[address]] for address in order}


def _group_of(device: PciDevice, by_address: dict[str, PciDevice], group: dict[str, int]) -> int:
    start = device
    # The requester ID that the IOMMU sees: behind a bridge to PCI it is the bridge's.
    above = _parent(device, by_address)
    while above is not None:
        if above.express_type in ("pcie_to_pci_bridge", "conventional"):
            start = above
            if above.address in group:
                return group[above.address]
        above = _parent(above, by_address)
    # Upwards as long as the path to the root does not isolate.
    port = _parent(start, by_address)
    while port is not None and not _path_isolates(port, by_address):
        start = port
        if port.address in group:
            return group[port.address]
        port = _parent(port, by_address)
    # Functions beside it that do not isolate either.
    if start.multifunction and not _isolates(start):
        for address, number in group.items():
            other = by_address[address]
            if other.slot == start.slot and not _isolates(other):
                return number
    return max(group.values(), default=-1) + 1


def _path_isolates(port: PciDevice, by_address: dict[str, PciDevice]) -> bool:
    current: PciDevice | None = port
    while current is not None:
        if not _isolates(current):
            return False
        current = _parent(current, by_address)
    return True


def _isolates(device: PciDevice) -> bool:
    if device.express_type in ("conventional", "pcie_to_pci_bridge", "pci_to_pcie_bridge", None):
        return False
    if device.express_type in ("root_port", "downstream_port") or device.multifunction:
        acs = device.acs or {"capability": [], "control": []}
        if not acs["capability"]:
            return False
        return _FLAGS & set(acs["capability"]) <= set(acs["control"])
    return True


def _parent(device: PciDevice, by_address: dict[str, PciDevice]) -> PciDevice | None:
    return by_address.get(device.parent or "")
