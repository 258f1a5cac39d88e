# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capabilities in configuration space: what kind of port or endpoint this is, its link, ACS, and resizable registers.

Only what is needed is read: on a real machine each four bytes are an access to the device.
"""

from __future__ import annotations

import os
import struct
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple

# Number of bytes and offset; fewer come back where configuration space ends or may not be read.
Read = Callable[[int, int], bytes]

CONVENTIONAL = "conventional"
# PCI Express Base Specification, PCI Express Capabilities Register: Device/Port Type.
_TYPES = {
    0: "endpoint",
    1: "legacy_endpoint",
    4: "root_port",
    5: "upstream_port",
    6: "downstream_port",
    7: "pcie_to_pci_bridge",
    8: "pci_to_pcie_bridge",
    9: "integrated_endpoint",
    10: "event_collector",
}
_WITHOUT_LINK = ("integrated_endpoint", "event_collector")
# The codes of Link Capabilities and Link Status, in GT/s.
_SPEEDS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0}
# Access Control Services: bit order of capability and control register.
ACS_BITS = (
    "source_validation",
    "translation_blocking",
    "request_redirect",
    "completion_redirect",
    "upstream_forwarding",
    "egress_control",
    "direct_translated",
)
_POWER, _EXPRESS = 0x01, 0x10
_FIRST, _LAST, _EXTENDED, _END = 0x40, 0xFC, 0x100, 0x1000
_ACS, _SRIOV, _RESIZABLE = 0x000D, 0x0010, 0x0015
_POWER_STATES = ("D0", "D1", "D2", "D3hot")
_MIB = 1 << 20


def read_file(path: str, multifunction: Optional[bool] = None) -> Dict[str, Any]:
    """The fields of a device that the file C(config) gives; none where it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return {}
    try:
        return decode(partial(os.pread, handle), multifunction)
    except OSError:
        return {}
    finally:
        os.close(handle)


def decode(read: Read, multifunction: Optional[bool] = None) -> Dict[str, Any]:
    """A field is absent where it could not be read, as without privileges beyond the first 64 bytes.

    C(multifunction) is what is known better: only function 0 says it reliably of itself.
    """
    header = read(12, 0x04)
    if len(header) < 12 or header.count(0xFF) == 12:
        return {}
    status, header_type = struct.unpack_from("<H", header, 2)[0], header[10]
    is_bridge = header_type & 0x7F == 1
    if multifunction is None:
        multifunction = bool(header_type & 0x80)
    fields: Dict[str, Any] = {"multifunction": multifunction, "revision": f"{header[4]:02x}"}
    try:
        offset, flags = _capability(read, header_type, _EXPRESS) if status & 0x10 else (None, 0)
        if offset is None:
            fields.update(express_type=CONVENTIONAL, **({"acs": NO_ACS} if is_bridge else {}))
            return fields
        fields["express_type"] = _TYPES.get(flags >> 4 & 0xF)
        if fields["express_type"] not in _WITHOUT_LINK:
            fields["link"] = _link(_number(read, offset + 0x0C, 4), _number(read, offset + 0x10, 4) >> 16)
        # Single functions have no use for ACS; only memory ranges of endpoints can be resized.
        wanted = ({_ACS} if is_bridge or multifunction else set()) | (set() if is_bridge else {_RESIZABLE})
        found = _extended(read, wanted)
        if _ACS in wanted:
            fields["acs"] = _access_control(read, found.get(_ACS))
        if _RESIZABLE in found:
            fields["resizable_bars"] = _resizable(read, found[_RESIZABLE])
    except _Unreadable:
        pass
    return fields


NO_ACS: Mapping[str, Any] = {"capability": [], "control": []}


class _Unreadable(Exception):
    pass


def _number(read: Read, offset: int, size: int) -> int:
    data = read(size, offset)
    if len(data) < size:
        raise _Unreadable
    return int.from_bytes(data, "little")


def read_sriov(read: Read) -> Optional[Mapping[str, Any]]:
    """For a capture; on a running system the kernel says it."""
    try:
        offset = _extended(read, {_SRIOV}).get(_SRIOV)
        if offset is None:
            return None
        total, count = _number(read, offset + 0x0E, 2), _number(read, offset + 0x10, 2)
    except _Unreadable:
        return None
    return {"total_vfs": total, "num_vfs": count, "physical_function": None}


def read_power_state(read: Read) -> Optional[str]:
    """For a capture; on a running system the kernel says it, and knows of D3cold."""
    header = read(12, 0x04)
    if len(header) < 12 or not header[2] & 0x10:
        return None
    try:
        offset, _flags = _capability(read, header[10], _POWER)
        return None if offset is None else _POWER_STATES[_number(read, offset + 4, 2) & 0x3]
    except _Unreadable:
        return None


def _capability(read: Read, header_type: int, wanted: int) -> Tuple[Optional[int], int]:
    """Where a capability is, and the flags beside its header."""
    offset, seen = _number(read, 0x14 if header_type & 0x7F == 2 else 0x34, 1) & 0xFC, set()
    while _FIRST <= offset <= _LAST and offset not in seen:
        seen.add(offset)
        header = _number(read, offset, 4)
        if header & 0xFF == wanted:
            return offset, header >> 16
        offset = header >> 8 & 0xFC
    return None, 0


def _link(capabilities: int, status: int) -> Optional[Mapping[str, Any]]:
    width = capabilities >> 4 & 0x3F
    if not width:
        return None
    return {
        "speed": _SPEEDS.get(status & 0xF),
        "width": status >> 4 & 0x3F,
        "max_speed": _SPEEDS.get(capabilities & 0xF),
        "max_width": width,
    }


def _extended(read: Read, wanted: Set[int]) -> Dict[int, int]:
    """Extended capability to its offset, as far as is needed for those that are wanted."""
    found: Dict[int, int] = {}
    offset, seen = _EXTENDED, set()
    while _EXTENDED <= offset < _END and offset not in seen and not wanted <= set(found):
        seen.add(offset)
        header = _number(read, offset, 4)
        if header == 0xFFFFFFFF:
            raise _Unreadable
        found.setdefault(header & 0xFFFF, offset)
        offset = header >> 20 & 0xFFC
    return {key: found[key] for key in wanted if key in found}


def _access_control(read: Read, offset: Optional[int]) -> Mapping[str, Any]:
    if offset is None:
        return NO_ACS
    registers = _number(read, offset + 4, 4)
    return {"capability": _names(registers & 0xFFFF), "control": _names(registers >> 16)}


def _names(bits: int) -> List[str]:
    return [name for position, name in enumerate(ACS_BITS) if bits & (1 << position)]


def _resizable(read: Read, offset: int) -> Tuple[Mapping[str, Any], ...]:
    """Sizes are powers of two from 1 MiB; those from 256 TiB on are in the upper half of the control register."""
    count = _number(read, offset + 8, 4) >> 5 & 0x7
    entries = []
    for entry in range(count):
        capability, control = struct.unpack("<II", _number(read, offset + 4 + 8 * entry, 8).to_bytes(8, "little"))
        bits = capability >> 4 | (control >> 16) << 28
        entries.append(
            {
                "index": control & 0x7,
                "size": _MIB << (control >> 8 & 0x3F),
                "supported_sizes": [_MIB << position for position in range(bits.bit_length()) if bits >> position & 1],
            }
        )
    return tuple(entries)
