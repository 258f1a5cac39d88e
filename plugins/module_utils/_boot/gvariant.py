# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of GLib's serialised GVariant as a dictionary of strings and lists of strings needs (type C(a{sv}))."""

from __future__ import annotations

from typing import Dict, Iterator, List, Tuple, Union

Value = Union[str, List[str], None]


def dictionary(data: bytes) -> Dict[str, Value]:
    """Values of other types are nothing. Raises ValueError for what is no such dictionary."""
    found: Dict[str, Value] = {}
    for start, end in _elements(data, 8):
        entry = data[start:end]
        width = _width(len(entry))
        key_end = _number(entry[-width:])
        variant = entry[(key_end + 7) // 8 * 8 : len(entry) - width]
        if key_end < 1 or key_end > len(entry):
            raise ValueError("a key does not end inside its entry")
        found[_string(entry[:key_end])] = _value(variant)
    return found


def _value(variant: bytes) -> Value:
    content, zero, kind = variant.rpartition(b"\0")
    if not zero:
        raise ValueError("a value has no type")
    if kind == b"s":
        return _string(content)
    if kind == b"as":
        return [_string(content[start:end]) for start, end in _elements(content, 1)]
    return None


def _elements(data: bytes, alignment: int) -> Iterator[Tuple[int, int]]:
    """Where the elements of an array lie: their ends stand behind them, in as many bytes as the array's length needs."""
    if not data:
        return
    width = _width(len(data))
    table = _number(data[-width:])
    if table > len(data) - width or (len(data) - table) % width:
        raise ValueError("the table of an array lies outside it")
    start = 0
    for place in range(table, len(data), width):
        end = _number(data[place : place + width])
        if not start <= end <= table:
            raise ValueError("an element lies outside its array")
        yield start, end
        start = (end + alignment - 1) // alignment * alignment


def _width(length: int) -> int:
    return next((width for width in (1, 2, 4) if length < 1 << 8 * width), 8)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _string(data: bytes) -> str:
    if not data.endswith(b"\0"):
        raise ValueError("a string has no end")
    return data[:-1].decode("utf-8", "replace")
