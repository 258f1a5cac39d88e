# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Access Control Services capability, read from PCI Express configuration space."""

from __future__ import annotations

import os
import struct
from typing import Any, List, Mapping, Optional

# PCI Express Base Specification, Access Control Services: bit order of capability and control register.
_BITS = (
    "source_validation",
    "translation_blocking",
    "request_redirect",
    "completion_redirect",
    "upstream_forwarding",
    "egress_control",
    "direct_translated",
)
_EXTENDED = 0x100
_SIZE = 0x1000
_ACS = 0x000D


def read_acs(path: str) -> Optional[Mapping[str, Any]]:
    """Which ACS functions a port has and which are on; nothing where extended configuration space cannot be read.

    Only the headers of the capabilities are read: on a real machine each byte of this file is an access to the device.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _walk(handle)
    except OSError:
        return None
    finally:
        os.close(handle)


def _walk(handle: int) -> Optional[Mapping[str, Any]]:
    offset, seen = _EXTENDED, set()
    while _EXTENDED <= offset < _SIZE and offset not in seen:
        seen.add(offset)
        data = os.pread(handle, 8, offset)
        if len(data) < 8:
            return None
        header, capability, control = struct.unpack("<IHH", data)
        if header == 0xFFFFFFFF:
            return None
        if header & 0xFFFF == _ACS:
            return {"capability": _names(capability), "control": _names(control)}
        offset = (header >> 20) & 0xFFC
    return {"capability": [], "control": []}


def _names(bits: int) -> List[str]:
    return [name for position, name in enumerate(_BITS) if bits & (1 << position)]
