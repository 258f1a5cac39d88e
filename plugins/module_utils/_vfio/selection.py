# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the user names to the devices of the transaction: whole IOMMU groups, or a refusal."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci import isolation
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.drivers import is_vfio
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import (
    BOUND,
    REFUSE,
    SAME_SLOT,
    Refusal,
    VfioDesired,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import IOMMU_GROUPS, PCI_DEVICES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.wording import described, named

_SYSTEM_BRIDGES = ("0600", "0601", "0602", "0603", "0605", "0606", "0607", "0608", "0609")


class Selection(NamedTuple):
    """C(taken) is written, C(foreign) is handed over by another owner and only looked at."""

    taken: Tuple[PciDevice, ...]
    foreign: Tuple[PciDevice, ...]
    groups: Mapping[str, List[str]]
    refusals: Tuple[Refusal, ...]
    # Addresses of what the user names; the rest of C(taken) comes along.
    targets: Tuple[str, ...] = ()


def select(devices: Sequence[PciDevice], facts: Mapping[str, Any], desired: VfioDesired) -> Selection:
    targets, refusals = _targets(devices, desired)
    if desired.state != BOUND:
        taken = _with_slot(devices, targets) if desired.members == SAME_SLOT else list(targets)
        return Selection(tuple(taken), (), _groups(devices, taken), tuple(refusals))
    return _whole_groups(devices, facts, desired, targets, refusals)


def _targets(devices: Sequence[PciDevice], desired: VfioDesired) -> Tuple[List[PciDevice], List[Refusal]]:
    by_address = {device.address: device for device in devices}
    refusals: List[Refusal] = []
    targets = [device for device in devices if device.address in desired.addresses]
    for address in desired.addresses:
        if address not in by_address and desired.state == BOUND:
            refusals.append(_unknown(address))
    if desired.ids or desired.classes:
        matching = [device for device in devices if _matches(device, desired)]
        if desired.addresses:
            refusals.extend(_mismatches(targets, matching, desired))
        elif matching:
            targets = [device for device in matching if device.address not in desired.foreign_owner]
        elif desired.state == BOUND:
            refusals.append(_no_match(desired))
    for device in targets:
        if _is_fabric(device):
            refusals.append(_bridge(device))
    return targets, refusals


def _whole_groups(
    devices: Sequence[PciDevice],
    facts: Mapping[str, Any],
    desired: VfioDesired,
    targets: List[PciDevice],
    refusals: List[Refusal],
) -> Selection:
    taken = {device.address: device for device in targets}
    addresses = list(taken)
    foreign: Dict[str, PciDevice] = {}
    unreal = {None, *(facts.get("noiommu") or ())}
    for device in targets:
        if device.iommu_group in unreal:
            refusals.append(_no_group(device, devices))
    for group in _ordered({device.iommu_group for device in targets if device.iommu_group is not None} - unreal):
        members = [device for device in devices if device.iommu_group == group and not _is_fabric(device)]
        wanted = [device for device in targets if device.iommu_group == group]
        for member in members:
            if member.address in taken:
                continue
            if member.address in desired.foreign_owner:
                foreign[member.address] = member
            elif _may_be_taken(member, wanted, desired):
                taken[member.address] = member
            elif not is_vfio(member.driver) and member.driver != "pci-stub":
                refusals.append(_shared(wanted[0], member, facts, devices))
    chosen = [device for device in devices if device.address in taken]
    others = [device for device in devices if device.address in foreign]
    return Selection(tuple(chosen), tuple(others), _groups(devices, chosen), tuple(refusals), tuple(addresses))


def _may_be_taken(member: PciDevice, wanted: Sequence[PciDevice], desired: VfioDesired) -> bool:
    if desired.members == SAME_SLOT:
        return any(member.slot == device.slot for device in wanted)
    return desired.members != REFUSE and member.address in desired.members


def _with_slot(devices: Sequence[PciDevice], targets: Sequence[PciDevice]) -> List[PciDevice]:
    slots = {(device.slot, device.iommu_group) for device in targets}
    return [device for device in devices if (device.slot, device.iommu_group) in slots and not _is_fabric(device)]


def _matches(device: PciDevice, desired: VfioDesired) -> bool:
    by_id = not desired.ids or any(
        device.id is not None and (device.id == wanted or (wanted.endswith(":") and device.id.startswith(wanted)))
        for wanted in desired.ids
    )
    return by_id and (not desired.classes or device.has_class(*desired.classes)) and not _is_fabric(device)


def _is_fabric(device: PciDevice) -> bool:
    """Bridges stay with the host and do not spoil a group; NVSwitches (class 0680) are endpoints."""
    return device.is_bridge or (device.has_class(*_SYSTEM_BRIDGES) and device.driver in (None, "pcieport"))


def _groups(devices: Sequence[PciDevice], taken: Sequence[PciDevice]) -> Dict[str, List[str]]:
    names = _ordered({device.iommu_group for device in taken if device.iommu_group is not None})
    return {name: [device.address for device in devices if device.iommu_group == name] for name in names}


def _ordered(names: Set[str]) -> List[str]:
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _unknown(address: str) -> Refusal:
    return Refusal(
        "unknown_address",
        address,
        None,
        f"There is no PCI function {address}.",
        "Addresses move when cards are added or firmware settings change, so nothing is guessed.",
        "name the device by the address it has now (lspci -D), or select it by ids.",
        PCI_DEVICES,
    )


def _no_match(desired: VfioDesired) -> Refusal:
    asked = ", ".join([*(f"id {value}" for value in desired.ids), *(f"class {value}" for value in desired.classes)])
    return Refusal(
        "no_device_matches",
        "",
        None,
        f"No PCI function has {asked}.",
        "There is nothing to bind.",
        "compare with the output of lspci -Dnn.",
        PCI_DEVICES,
    )


def _mismatches(targets: Sequence[PciDevice], matching: Sequence[PciDevice], desired: VfioDesired) -> List[Refusal]:
    """With both kinds of selector the ids say what the addresses are expected to be, and nothing else may match."""
    refusals = []
    found = {device.address for device in matching}
    for device in targets:
        if device.address not in found:
            refusals.append(
                Refusal(
                    "identity_differs",
                    device.address,
                    device.iommu_group,
                    f"{named(device)} is {device.id} of class {device.class_code}, which ids and classes do not name.",
                    "Another device is at this address than the one that was meant.",
                    "correct the address, or the ids and classes.",
                    f"{PCI_DEVICES}/{device.address}",
                )
            )
    for device in matching:
        if device.address not in desired.addresses and device.address not in desired.foreign_owner:
            refusals.append(
                Refusal(
                    "B03",
                    device.address,
                    device.iommu_group,
                    f"{named(device)} has {device.id} too, and addresses does not name it.",
                    "A selection by id would take an identical device that the host may need.",
                    "name the devices by addresses only; they are then bound one by one.",
                    f"{PCI_DEVICES}/{device.address}",
                )
            )
    return refusals


def _bridge(device: PciDevice) -> Refusal:
    return Refusal(
        "bridge",
        device.address,
        device.iommu_group,
        f"{described(device)} is a bridge.",
        "Bridges stay with the host and are never members of a transaction.",
        "name the endpoint functions below it.",
        f"{PCI_DEVICES}/{device.address}/class",
    )


def _no_group(device: PciDevice, devices: Sequence[PciDevice]) -> Refusal:
    working = any(other.iommu_group is not None for other in devices)
    if device.iommu_group is not None:
        reason = f"has no IOMMU group: {device.iommu_group} was made by vfio without an IOMMU and isolates nothing."
    else:
        reason = "has no IOMMU group" + ("." if working else ", and neither has any other device.")
    return Refusal(
        "A01",
        device.address,
        None,
        f"{named(device)} {reason}",
        "What shares memory access with it is unknown, so it cannot be bound to VFIO.",
        "see katagpu.cluster.iommu_info for whether the kernel or the firmware has the IOMMU switched off.",
        f"{PCI_DEVICES}/{device.address}/iommu_group",
    )


def _shared(target: PciDevice, member: PciDevice, facts: Mapping[str, Any], devices: Sequence[PciDevice]) -> Refusal:
    reasons = (facts.get("critical") or {}).get(member.address) or []
    harmful = bool(reasons) or member.has_class("01", "02")
    same_slot = member.slot == target.slot
    merge = isolation.between(
        isolation.merges(devices).get(str(target.iommu_group), ()), target.address, member.address
    )
    why = "" if merge is None or same_slot else f" {isolation.reason(merge)}"
    if harmful:
        consequence = "Binding the group would take it away from the host."
    else:
        consequence = "A group can be passed on only as a whole, so the virtual machine would not start."
    if same_slot and not harmful:
        fix = f"bind it too (members: same_slot), or name its owner (foreign_owner: [{member.address}])."
    else:
        separate = (
            "enable ACS in the firmware or move the card to a slot of the CPU."
            if merge is None or same_slot
            else isolation.remedy(merge)
        )
        fix = separate if reasons else f"{separate[:-1]}; members can name {member.address} if nothing needs it."
    return Refusal(
        "A07" if harmful or not same_slot else "A05",
        target.address,
        target.iommu_group,
        f"{named(target)} shares IOMMU group {target.iommu_group} with {described(member, reasons)}.{why}",
        consequence,
        fix,
        f"{IOMMU_GROUPS}/{target.iommu_group}/devices",
    )
