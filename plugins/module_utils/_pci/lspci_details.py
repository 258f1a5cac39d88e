# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The indented lines of lspci -k, -v and above: which of them are details of a device, and what they say."""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, Optional

# Line heads of pciutils (lspci.c, ls-caps.c, ls-kernel.c, ls-vpd.c; v3.13.0) on the first level below a device.
_HEADS = re.compile(
    r"(?:Subsystem|DeviceName|Physical Slot|Device tree node|Flags|Control|Status|Latency|BIST result|Interrupts?|NUMA node"
    r"|IOMMU group|Region \d+|Bus|I/O behind bridge|Memory behind bridge|Prefetchable memory behind bridge"
    r"|Secondary status|BridgeCtl|Capabilities|(?:Kernel d|D)river in use|Kernel modules|Memory window \d+|I/O window \d+"
    r"|DVSEC|CardBus bridge|CIS)\b[^:]*:"
    r"|(?:\[virtual\] )?(?:Memory at|I/O ports at|Expansion ROM at|16-bit legacy interface ports at) "
    r"|!!! |<access denied|<unreadable>|BIST is running\Z|[0-9a-f]{2,3}:(?: [0-9a-f]{2}){1,16}\Z"
)
_CONTINUED = re.compile(r"Capabilities|BridgeCtl")
# What these look like below a capability or a bridge in a document that lost its indentation.
_FLAT = re.compile(
    r"(?:[A-Z\[<][\w/#()\[\] .,<>=+-]{0,40}:)|(?:\S+[+-](?:[ ,]|\Z))|End\Z|(?:Vector table|PBA)\b|\w+(?:\.\w+)?=\S"
    r"|MaxPayload \d|Slot # *\d|EmergencyPowerReduction |Not readable\Z|Unknown (?:small|large) resource type "
    r"|(?:No s|S)teering table |(?:Device specific|Interrupt vector) mode supported\Z|Extended requester support\Z"
)
_BAR = re.compile(
    r"(?:Region (?P<index>\d+): )?(?:\[virtual\] )?(?P<kind>Memory|I/O ports|Expansion ROM) at "
    r"(?P<address>[0-9a-f]+|<\w+>)(?P<rest>.*)\Z"
)
_SIZE = re.compile(r"\[size=(\d+)([KMGT]?)\]")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_BUSES = re.compile(r"primary=[0-9a-f]{2}, secondary=([0-9a-f]{2}),")
_FLAGS_NODE = re.compile(r"NUMA node (\d+)")
_FLAGS_GROUP = re.compile(r"IOMMU group (\S+?)(?:,|\Z)")
_ROM_INDEX = 6


def is_head(text: str) -> bool:
    return _HEADS.match(text) is not None


def has_details(head: str) -> bool:
    """Whether lines indented below this one belong to it."""
    return _CONTINUED.match(head) is not None


def is_flat_detail(text: str) -> bool:
    return _FLAT.match(text) is not None


def read_detail(text: str) -> Dict[str, Any]:
    """Device fields that a detail line gives; none for most lines."""
    key, _colon, value = text.partition(":")
    value = value.strip()
    if key in ("Kernel driver in use", "Driver in use"):
        return {"driver": value} if value else {}
    if key == "Kernel modules":
        return {"modules": tuple(name.strip() for name in value.split(",") if name.strip())}
    if key == "IOMMU group":
        return {"iommu_group": value} if value else {}
    if key == "NUMA node":
        return {"numa_node": int(value)} if re.match(r"[0-9]{1,9}\Z", value) else {}
    if key == "Bus":
        buses = _BUSES.match(value)
        return {} if buses is None else {"secondary": buses.group(1)}
    if key == "Flags":
        node, group = _FLAGS_NODE.search(value), _FLAGS_GROUP.search(value)
        fields: Dict[str, Any] = {}
        if node is not None:
            fields["numa_node"] = int(node.group(1)[:9])
        if group is not None:
            fields["iommu_group"] = group.group(1)
        return fields
    region = _read_bar(text)
    return {} if region is None else {"bar": region}


def _read_bar(text: str) -> Optional[Mapping[str, Any]]:
    match = _BAR.match(text)
    if match is None:
        return None
    is_rom = match.group("kind") == "Expansion ROM"
    rest = match.group("rest")
    size = _SIZE.search(rest)
    assigned = not match.group("address").startswith("<")
    index = _ROM_INDEX if is_rom else match.group("index")
    return {
        "index": None if index is None else int(index),
        "type": "io" if match.group("kind") == "I/O ports" else "memory",
        "address": f"0x{int(match.group('address'), 16):x}" if assigned else None,
        "size": None if size is None else int(size.group(1)) * _UNITS[size.group(2)],
        "bits": 64 if "(64-bit" in rest else 32,
        "prefetchable": "prefetchable" in rest and "non-prefetchable" not in rest,
        "assigned": assigned,
    }
