# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ACPI tables that describe IOMMUs. A table alone is no unit: some firmware publishes it with none in it."""

from __future__ import annotations

import struct
from typing import Any, Dict, Optional, Tuple

_SMMU_TYPES = (3, 4)  # SMMUv1/v2 and SMMUv3, Arm DEN 0049.
_DRHD = 0  # Remapping hardware unit, Intel VT-d specification.
_IVHD_TYPES = (0x10, 0x11, 0x40)  # AMD I/O Virtualization Technology specification.
_INTERRUPT_REMAPPING, _X2APIC_OPT_OUT = 1 << 0, 1 << 1


def smmu_nodes(table: Optional[bytes]) -> Optional[int]:
    """How many SMMU nodes IORT has, or nothing where it cannot be read."""
    if table is None or len(table) < 44 or table[:4] != b"IORT":
        return None
    count, offset = struct.unpack_from("<II", table, 36)
    found = 0
    for _node in range(count):
        if offset + 3 > len(table):
            return None
        kind, length = struct.unpack_from("<BH", table, offset)
        if length < 3:
            return None
        found += kind in _SMMU_TYPES
        offset += length
    return found


def dmar(table: Optional[bytes]) -> Optional[Dict[str, Any]]:
    """Units, and whether the firmware says that interrupts can be remapped and that x2APIC is to stay off."""
    units = _structures(table, b"DMAR", "<HH", (_DRHD,))
    if table is None or units is None:
        return None
    flags = table[37]
    return {
        "units": units,
        "interrupt_remapping": bool(flags & _INTERRUPT_REMAPPING),
        "x2apic_opt_out": bool(flags & _X2APIC_OPT_OUT),
    }


def ivrs(table: Optional[bytes]) -> Optional[Dict[str, Any]]:
    units = _structures(table, b"IVRS", "<BxH", _IVHD_TYPES)
    return None if units is None else {"units": units}


def _structures(table: Optional[bytes], signature: bytes, head: str, kinds: Tuple[int, ...]) -> Optional[int]:
    """How many structures of these kinds follow the 48 bytes of the header."""
    if table is None or len(table) < 48 or table[:4] != signature:
        return None
    offset, found = 48, 0
    end = struct.unpack_from("<I", table, 4)[0]
    if end > len(table):
        return None
    while offset < end:
        if offset + 4 > end:
            return None
        kind, length = struct.unpack_from(head, table, offset)
        if length < 4:
            return None
        found += kind in kinds
        offset += length
    return found
