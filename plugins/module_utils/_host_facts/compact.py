# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the PCI and IOMMU facts travels to the controller for a machine with hundreds of functions."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Set

_NVIDIA = "10de"
# Empty and absent differ: no way to reset the device, or none known.
_ALSO_EMPTY = ("driver", "reset_methods")
_ALWAYS = ("address", "class_code", "vendor_id", "device_id", "driver", "iommu_group", "driver_override", "parent")


def compact_pci(facts: Mapping[str, Any]) -> Dict[str, Any]:
    """All functions stay; what cannot matter for passthrough keeps identity, driver and place only."""
    devices: List[Mapping[str, Any]] = list(facts.get("devices") or [])
    relevant = relevant_addresses(devices)
    shown = [_compact(device, device["address"] in relevant) for device in devices]
    # What merges groups is computed again from the devices where it is asked for.
    return {**{key: value for key, value in facts.items() if key != "group_merges"}, "devices": shown}


def compact_iommu(facts: Mapping[str, Any], relevant: Iterable[str]) -> Dict[str, Any]:
    """All groups stay with name and members, for vfio's groups without an IOMMU are known by name; type and reserved regions only of the groups that matter."""
    wanted = set(relevant)
    groups = {}
    for name, group in (facts.get("groups") or {}).items():
        members = group.get("devices") or []
        named = {"name": group["name"]} if group.get("name") else {}
        groups[name] = group if wanted.intersection(members) else {"devices": members, **named}
    return {**facts, "groups": groups}


def relevant_addresses(devices: Iterable[Mapping[str, Any]]) -> Set[str]:
    """NVIDIA functions, displays, the members of their groups, and the bridges above them."""
    by_address = {device["address"]: device for device in devices}
    chosen = [device for device in by_address.values() if _is_chosen(device)]
    groups = {device.get("iommu_group") for device in chosen} - {None}
    found = {device["address"] for device in chosen}
    found.update(address for address, device in by_address.items() if device.get("iommu_group") in groups)
    for address in list(found):
        parent = by_address[address].get("parent")
        while parent in by_address and parent not in found:
            found.add(parent)
            parent = by_address[parent].get("parent")
    return found


def _is_chosen(device: Mapping[str, Any]) -> bool:
    return device.get("vendor_id") == _NVIDIA or str(device.get("class_code") or "").startswith("03")


def _compact(device: Mapping[str, Any], relevant: bool) -> Dict[str, Any]:
    kept = device if relevant else {key: device[key] for key in _ALWAYS if key in device}
    return {key: value for key, value in kept.items() if key in _ALSO_EMPTY or value not in (None, [], {}, "")}
