# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ACPI table of arm64 that says whether there is an SMMU; machines without one publish the table as well."""

from __future__ import annotations

import struct
from typing import Optional

_SMMU_TYPES = (3, 4)  # SMMUv1/v2 and SMMUv3, Arm DEN 0049.


def smmu_nodes(table: Optional[bytes]) -> Optional[int]:
    """How many SMMU nodes the table has, or nothing where it cannot be read."""
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
