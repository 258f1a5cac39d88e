# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values by which PCI functions are named: addresses, IDs and class codes."""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

_ADDRESS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])\Z", re.IGNORECASE)
_ID = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4}|\*|)\Z", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+\Z", re.IGNORECASE)


def normalize(text: str) -> Optional[str]:
    """C(65:00.0) and C(0000:65:00.0) become C(0000:65:00.0); anything else is not an address."""
    match = _ADDRESS.match(text.strip())
    if match is None:
        return None
    domain = f"{int(match.group(1) or '0', 16):04x}"
    return f"{domain}:{match.group(2)}:{match.group(3)}.{match.group(4)}".lower()


def sort_key(address: str) -> Tuple[int, ...]:
    """Numeric order by domain, bus, device and function, as lspci prints them."""
    slot, _dot, function = address.partition(".")
    return tuple(int(part, 16) for part in [*slot.split(":"), function])


def require_address(text: str, option: str) -> str:
    address = normalize(text)
    if address is None:
        raise KatagpuError(
            f"{option}: {text!r} is not a PCI address. Nothing was read. "
            "Fix: write domain, bus, device and function as in 0000:65:00.0 (device 00-1f, function 0-7)."
        )
    return address


def require_hex(text: str, option: str, lengths: Tuple[int, ...], example: str) -> str:
    value = text.strip().lower()
    value = value[2:] if value.startswith("0x") else value
    if len(value) not in lengths or _HEX.match(value) is None:
        wanted = " or ".join(str(length) for length in lengths)
        raise KatagpuError(
            f"{option}: {text!r} is not {wanted} hexadecimal digits. Nothing was read. "
            f"Fix: write it as in {example!r}, quoted, so that YAML does not take it for a number."
        )
    return value


def require_id(text: str, option: str) -> str:
    """C(10de:2236), or C(10de:) and C(10de:*) for every device of a vendor; the latter come back as C(10de:)."""
    match = _ID.match(text.strip())
    if match is None:
        raise KatagpuError(
            f"{option}: {text!r} is not VENDOR:DEVICE of four hexadecimal digits each. Nothing was read. "
            "Fix: write it as in '10de:2236', or '10de:' for every device of a vendor."
        )
    return f"{match.group(1)}:{match.group(2).strip('*')}".lower()


def require_all(values: List[str], option: str, check: str) -> List[str]:
    """Checks every value of a filter option and returns the values in their one canonical form."""
    if check == "address":
        return [require_address(value, option) for value in values]
    if check == "id":
        return [require_id(value, option) for value in values]
    if check == "vendor":
        return [require_hex(value, option, (4,), "10de") for value in values]
    return [require_hex(value, option, (2, 4, 6), "0302") for value in values]
