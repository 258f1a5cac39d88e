# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why functions share an IOMMU group: the port, bridge or card that lets them reach one another past the IOMMU.

The rules are those by which Linux makes groups (pci_device_group, pci_acs_enabled). The group itself is the truth: a kernel also
knows by its quirks that some ports isolate though they do not say so. So only groups that exist are explained, and none is predicted.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.address import sort_key
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.config_space import CONVENTIONAL
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice

# What the kernel asks of a port before it lets it separate groups.
REQUIRED = ("source_validation", "request_redirect", "completion_redirect", "upstream_forwarding")

SWITCHED_OFF = "switched_off"
NO_CAPABILITY = "no_capability"
SHARED_ID = "shared_requester_id"
ONE_SLOT = "one_slot"
UNREAD = "unread"
QUIRK = "not_explained"

_PORTS = ("root_port", "downstream_port")
_BRIDGES = ("pcie_to_pci_bridge", "pci_to_pcie_bridge", CONVENTIONAL)
_NAMES = {
    "root_port": "root port",
    "downstream_port": "switch downstream port",
    "upstream_port": "switch upstream port",
    "pcie_to_pci_bridge": "PCI Express to PCI bridge",
    "pci_to_pcie_bridge": "PCI to PCI Express bridge",
    CONVENTIONAL: "PCI bridge",
}


class Merge(NamedTuple):
    """C(address) is the port, or function 0 of the slot; C(members) are the functions of the group that it brings together.

    The kind is empty for a slot whose functions are no ports.
    """

    address: str
    kind: str
    cause: str
    missing: Tuple[str, ...]
    members: Tuple[str, ...]

    def as_dict(self) -> Dict[str, Any]:
        return {
            "address": self.address,
            "type": self.kind,
            "cause": self.cause,
            "missing": list(self.missing),
            "members": list(self.members),
            "reason": reason(self),
            "remedy": remedy(self),
        }


def merges(devices: Sequence[PciDevice]) -> Dict[str, List[Merge]]:
    """Group to what merges it, the ports first that are nearest to the root; groups of one function have nothing."""
    by_address = {device.address: device for device in devices}
    groups: Dict[str, List[PciDevice]] = {}
    for device in devices:
        if device.iommu_group is not None:
            groups.setdefault(device.iommu_group, []).append(device)
    return {name: _explain(members, by_address) for name, members in groups.items() if len(members) > 1}


def between(found: Sequence[Merge], first: str, second: str) -> Optional[Merge]:
    """What brings these two together. For functions of one slot that is the card, whatever the ports above do."""
    both = [merge for merge in found if first in merge.members and second in merge.members]
    if first.rpartition(".")[0] == second.rpartition(".")[0]:
        both.sort(key=lambda merge: merge.cause != ONE_SLOT)
    # Some kernels also merge the ports of a switch that do not isolate, each of which has only one of the two below it.
    one = [merge for merge in found if second in merge.members and merge.cause != ONE_SLOT]
    return next(iter([*both, *one]), None)


def lack(device: PciDevice) -> Optional[Tuple[str, Tuple[str, ...]]]:
    """Why a function does not keep others apart, with the services that are off; nothing where it does."""
    kind = device.express_type
    if kind is None:
        return UNREAD, ()
    if kind in _BRIDGES:
        return SHARED_ID, ()
    if kind not in _PORTS and device.multifunction is False:
        return None
    if device.acs is None:
        return UNREAD, ()
    capability, control = device.acs["capability"], device.acs["control"]
    if not capability and not control:
        return NO_CAPABILITY, REQUIRED
    # A service that is not in the capability needs no switch, so it counts as on.
    missing = tuple(name for name in REQUIRED if name in capability and name not in control)
    return (SWITCHED_OFF, missing) if missing else None


def reason(merge: Merge) -> str:
    """One sentence."""
    slot = merge.address.rpartition(".")[0]
    if merge.cause == ONE_SLOT and merge.kind:
        return (
            f"The functions of {slot} are ports of one device that no Access Control Services separate, so all that is below them"
            " is one group."
        )
    if merge.cause == ONE_SLOT:
        return f"The functions of {slot} are of one device that does not isolate them from one another."
    name = f"The {_NAMES.get(merge.kind, 'port')} {merge.address}"
    if merge.cause == SWITCHED_OFF:
        return f"{name} merges the group: of its Access Control Services {_off(merge.missing)}."
    if merge.cause == NO_CAPABILITY:
        return f"{name} merges the group: it has no Access Control Services."
    if merge.cause == SHARED_ID:
        return f"{name} merges the group: all devices behind it share its requester ID."
    if merge.cause == UNREAD:
        return f"{name} probably merges the group: its configuration space could not be read."
    return f"The group was made at {name[4:]}, though it isolates by what it says of itself."


def remedy(merge: Merge) -> str:
    """What to do, to follow C(Fix:)."""
    if merge.cause == ONE_SLOT and merge.kind:
        return (
            "enable ACS (on AMD boards also AER, in the NBIO options) in the firmware, or move the card to a slot that is not below"
            f" {merge.address.rpartition('.')[0]}."
        )
    if merge.cause == ONE_SLOT:
        return "hand these functions over together; nothing separates them."
    if merge.cause == SWITCHED_OFF:
        return (
            f"switch ACS on for {merge.address} in the firmware, and look for what switches it off (pci=disable_acs_redir or"
            " pci=config_acs among the kernel arguments, setpci in a script); groups change at a reboot only."
        )
    if merge.cause == NO_CAPABILITY:
        where = "a slot of the CPU" if merge.kind == "downstream_port" else "a slot below another port"
        return (
            f"enable ACS (on AMD boards also AER, in the NBIO options) in the firmware, or move the card to {where}:"
            f" {merge.address} offers no ACS as it is."
        )
    if merge.cause == SHARED_ID:
        return "move the card to a PCI Express slot that is not behind this bridge; no setting separates what is behind it."
    if merge.cause == UNREAD:
        return f"look as root at lspci -vvs {merge.address} for its ACSCap and ACSCtl; enable ACS in the firmware."
    return "look whether a newer kernel separates the group, or move the card to a slot below another port."


def _explain(members: Sequence[PciDevice], by_address: Mapping[str, PciDevice]) -> List[Merge]:
    """A port above merges what is below it, whatever the ports in between do; so all that do not isolate are named."""
    chains = {device.address: _chain(device, by_address) for device in members}
    below: Dict[str, List[str]] = {}
    for address, chain in chains.items():
        for port in chain:
            if port in chains:
                below.setdefault(port, []).append(address)
    ports = sorted(below, key=lambda address: (len(chains[address]), sort_key(address)))
    found: List[Merge] = []
    for address in ports:
        why = lack(by_address[address])
        if why is not None:
            found.append(_merge(by_address[address], why[0], why[1], below[address]))
    if ports and not found:
        found.append(_merge(by_address[ports[0]], QUIRK, (), below[ports[0]]))
    return found + _slots(members, below)


def _slots(members: Sequence[PciDevice], below: Mapping[str, List[str]]) -> List[Merge]:
    slots: Dict[str, List[str]] = {}
    kinds = {device.address: device.express_type or "" for device in members}
    for device in members:
        if lack(device) is not None:
            slots.setdefault(device.slot, []).append(device.address)
    return [
        Merge(
            functions[0],
            kinds[functions[0]] if all(kinds[function] in _NAMES for function in functions) else "",
            ONE_SLOT,
            (),
            _ordered([*functions, *(address for function in functions for address in below.get(function, ()))]),
        )
        for functions in slots.values()
        if len(functions) > 1
    ]


def _merge(port: PciDevice, cause: str, missing: Tuple[str, ...], below: Sequence[str]) -> Merge:
    return Merge(port.address, port.express_type or "", cause, missing, _ordered([port.address, *below]))


def _chain(device: PciDevice, by_address: Mapping[str, PciDevice]) -> List[str]:
    """The ports above a function, the nearest first."""
    chain: List[str] = []
    parent = device.parent
    while parent in by_address and parent not in chain:
        chain.append(str(parent))
        parent = by_address[str(parent)].parent
    return chain


def _ordered(addresses: Sequence[str]) -> Tuple[str, ...]:
    return tuple(sorted(set(addresses), key=sort_key))


def _off(names: Sequence[str]) -> str:
    words = [name.replace("_", " ") for name in names]
    return f"{words[0]} is off" if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]} are off"
