# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an object of the API already says what a manifest wants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

ABSENT = "absent"
DIFFERS = "differs"
SAME = "same"
KIND_UNKNOWN = "kind_unknown"

# Written by the server or by controllers; a manifest that carries them does not mean them.
_IGNORED = ("status", "metadata.creationTimestamp", "metadata.resourceVersion", "metadata.uid", "metadata.generation")
_QUANTITY = re.compile(r"^([+-]?[0-9.]+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$")
_FACTORS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    **{unit: Decimal(10 ** (3 * power)) for power, unit in enumerate("MGTPE", 2)},
    **{f"{unit}i": Decimal(1024**power) for power, unit in enumerate("KMGTPE", 1)},
}
_QUANTITY_PARENTS = ("limits", "requests", "capacity", "hard", "podFixed")
_LIMIT = 20


def differences(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Paths where the manifest wants something else than there is. What the manifest does not name is not compared."""
    found: list[str] = []
    _compare(wanted, live, "", found)
    return found[:_LIMIT]


def _compare(wanted: Any, live: Any, path: str, found: list[str]) -> None:
    if path in _IGNORED:
        return
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            if not _empty(wanted) or not _empty(live):
                found.append(path)
            return
        for key, value in wanted.items():
            inner = f"{path}.{key}" if path else str(key)
            if key in live:
                _compare(value, live[key], inner, found)
            elif not _empty(value) and inner not in _IGNORED:
                found.append(inner)
        return
    if isinstance(wanted, list):
        if not isinstance(live, list) or len(wanted) != len(live):
            if not (_empty(wanted) and _empty(live)):
                found.append(path)
            return
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            _compare(one, other, f"{path}[{index}]", found)
        return
    if wanted != live and not (_empty(wanted) and _empty(live)) and not _same_quantity(wanted, live, path):
        found.append(path)


def _empty(value: Any) -> bool:
    """The API leaves out what is the zero value of its type."""
    if isinstance(value, Mapping):
        return all(_empty(item) for item in value.values())
    return value in (None, "", False, 0) or value == [] or value == ()


def _same_quantity(wanted: Any, live: Any, path: str) -> bool:
    parts = path.split(".")
    if len(parts) < 2 or not any(part in _QUANTITY_PARENTS for part in parts[-2:-1] + parts[-3:-2]):
        return False
    one, other = _quantity(wanted), _quantity(live)
    return one is not None and one == other


def _quantity(value: Any) -> Decimal | None:
    match = _QUANTITY.match(str(value))
    return Decimal(match.group(1)) * _FACTORS[match.group(2) or ""] if match else None
