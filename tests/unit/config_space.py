# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes configuration space from a description: the parts that a capture showed, at their true offsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SIZE = 4096
EXPRESS = {"endpoint": 0, "legacy_endpoint": 1, "root_port": 4, "upstream_port": 5, "downstream_port": 6, "bridge": 7}


def space(description: Mapping[str, Any]) -> bytes:
    """C(revision), C(header_type), C(capabilities) and C(extended): lists of offset, id and the bytes that follow the header, all in hex.

    Each list is chained in its order, as the hardware does it.
    """
    data = bytearray(SIZE)
    data[0x08] = int(str(description.get("revision", "00")), 16)
    data[0x0E] = int(str(description.get("header_type", "00")), 16)
    chain = [_entry(entry) for entry in description.get("capabilities", ())]
    if chain:
        data[0x06], data[0x34] = 0x10, chain[0][0]
    for (offset, kind, content), following in zip(chain, [*chain, (0, 0, b"")][1:], strict=True):
        data[offset : offset + 2 + len(content)] = bytes((kind, following[0])) + content
    long_chain = [_entry(entry) for entry in description.get("extended", ())]
    if long_chain and long_chain[0][0] != 0x100:
        long_chain.insert(0, (0x100, 0x0001, b""))
    for (offset, kind, content), following in zip(long_chain, [*long_chain, (0, 0, b"")][1:], strict=True):
        data[offset : offset + 4] = (kind | 1 << 16 | following[0] << 20).to_bytes(4, "little")
        data[offset + 4 : offset + 4 + len(content)] = content
    return bytes(data)


def port(kind: str, acs: Iterable[int] | None = None, header_type: int = 0x01) -> dict[str, Any]:
    """A port or endpoint with or without Access Control Services (capability and control register)."""
    extended = (
        [] if acs is None else [["148", "000d", "".join(register.to_bytes(2, "little").hex() for register in acs)]]
    )
    flags = (EXPRESS[kind] << 4 | 2).to_bytes(2, "little").hex()
    return {
        "header_type": f"{header_type:02x}",
        "capabilities": [["50", "01", "0000"], ["58", "10", flags + "00" * 16]],
        "extended": extended,
    }


def _entry(entry: list[str]) -> tuple[int, int, bytes]:
    return int(entry[0], 16), int(entry[1], 16), bytes.fromhex(entry[2]) if len(entry) > 2 else b""
