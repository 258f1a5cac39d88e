# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a value that is there already means what is wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

# A larger duration is as good: what has more patience than is needed is left alone.
AT_LEAST = frozenset({("runtimeRequestTimeout",)})

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"^([+-]?)((?:{_PART})+)$")

Path = tuple[str, ...]


def duration(value: Any) -> Fraction | None:
    """Nanoseconds of a duration as Go writes it, or nothing where it is none."""
    if not isinstance(value, str):
        return None
    if value in ("0", "+0", "-0"):
        return Fraction(0)
    match = _DURATION.match(value)
    if not match:
        return None
    total = sum((Fraction(number) * _UNITS[unit] for number, unit in re.findall(_PART, match.group(2))), Fraction(0))
    return -total if match.group(1) == "-" else total


def fits(path: Path, current: Any, wanted: Any) -> bool:
    if isinstance(current, bool) != isinstance(wanted, bool):
        return False
    one, other = duration(current), duration(wanted)
    if one is not None and other is not None:
        return one >= other if path in AT_LEAST else one == other
    return bool(current == wanted)


def leaves(tree: Mapping[str, Any], prefix: Path = ()) -> list[tuple[Path, Any]]:
    """Every value of a nested mapping with its path."""
    found: list[tuple[Path, Any]] = []
    for key, value in tree.items():
        path = (*prefix, str(key))
        found += leaves(value, path) if isinstance(value, Mapping) else [(path, value)]
    return found


def tree(items: list[tuple[Path, Any]]) -> dict[str, Any]:
    """The opposite of C(leaves)."""
    root: dict[str, Any] = {}
    for path, value in items:
        place = root
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    return root


def at(data: Any, path: Path) -> Any:
    """The value at a path, or nothing."""
    for key in path:
        if not isinstance(data, Mapping) or key not in data:
            return None
        data = data[key]
    return data


def over(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """As the kubelet lays a drop-in over its configuration: mappings key by key, all else as a whole."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def plain(value: Any) -> Any:
    """Without the types in which Ansible keeps values with their origin; PyYAML writes none of those."""
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    for kind in (str, int, float):
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind.__str__(value) if kind is str else kind(value)
    return value


def problems(wanted: Any) -> list[str]:
    """What of the wanted configuration cannot be merged."""
    if not isinstance(wanted, Mapping):
        return [f"config must be a mapping, it is {wanted!r}"]
    found = [f"config.{key} is what the file is, and not a setting" for key in ("apiVersion", "kind") if key in wanted]
    return found + _problems(wanted, "config")


def _problems(wanted: Mapping[Any, Any], where: str) -> list[str]:
    found = []
    for key, value in wanted.items():
        if not isinstance(key, str) or not key:
            found.append(f"{where} has the key {key!r}, which is no text")
        elif value is None:
            found.append(f"{where}.{key} has no value")
        elif isinstance(value, Mapping):
            found += _problems(value, f"{where}.{key}") if value else [f"{where}.{key} is an empty mapping"]
    return found
