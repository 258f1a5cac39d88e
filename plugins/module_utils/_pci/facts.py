# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI facts as plain data, for one transfer to the controller."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._pci import isolation, lspci, names
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.address import sort_key
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.modalias import with_modules
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.select import Selection, select
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot


def read_facts(root: HostRoot, pci_ids: Optional[str] = None, selection: Optional[Selection] = None) -> Dict[str, Any]:
    """What sysfs shows, with names and loadable modules where their files exist."""
    devices = read_devices(root)
    chosen = devices if selection is None else select(devices, selection)
    named = names.with_names(chosen, names.load(root, pci_ids))
    return _facts(with_modules(root, named), devices, [])


def facts_of_capture(
    root: HostRoot, text: str, pci_ids: Optional[str] = None, selection: Optional[Selection] = None
) -> Dict[str, Any]:
    """What a text printed by lspci says; the names database only fills what the text leaves out."""
    database = names.load(root, pci_ids)
    devices, unparsed = lspci.parse(text, database.vendor_names())
    chosen = devices if selection is None else select(devices, selection)
    return _facts(names.with_names(chosen, database), devices, unparsed)


def devices_from_facts(facts: Mapping[str, Any]) -> List[PciDevice]:
    return [PciDevice.from_dict(device) for device in facts.get("devices") or []]


def iommu_groups(devices: Iterable[PciDevice]) -> Dict[str, List[str]]:
    """Group to addresses, groups in numeric order."""
    groups: Dict[str, List[str]] = {}
    for device in devices:
        if device.iommu_group is not None:
            groups.setdefault(device.iommu_group, []).append(device.address)
    ordered = sorted(groups, key=lambda group: (not group.isdigit(), int(group) if group.isdigit() else 0, group))
    return {group: sorted(groups[group], key=sort_key) for group in ordered}


def _facts(chosen: Sequence[PciDevice], all_devices: Sequence[PciDevice], unparsed: List[str]) -> Dict[str, Any]:
    """Groups keep all their members: that a chosen device is not alone in its group is what they are asked for."""
    groups = {device.iommu_group for device in chosen}
    merges = isolation.merges(all_devices)
    return {
        "devices": [device.as_dict() for device in chosen],
        "iommu_groups": iommu_groups(device for device in all_devices if device.iommu_group in groups),
        "group_merges": [
            {"group": group, **merge.as_dict()} for group, found in merges.items() if group in groups for merge in found
        ],
        "unparsed": unparsed,
    }
