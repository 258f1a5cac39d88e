# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's own description of its BIOS attributes: what each may hold, and what keeps it from being set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_LOCKS = {"Immutable": "immutable", "ReadOnly": "read-only", "GrayOut": "greyed out", "Hidden": "hidden"}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "EQU": lambda left, right: bool(left == right),
    "NEQ": lambda left, right: bool(left != right),
    "GTR": lambda left, right: _number(left) > _number(right),
    "GEQ": lambda left, right: _number(left) >= _number(right),
    "LSS": lambda left, right: _number(left) < _number(right),
    "LEQ": lambda left, right: _number(left) <= _number(right),
}


@dataclass(frozen=True)
class Registry:
    name: str
    attributes: Mapping[str, Mapping[str, Any]]
    dependencies: tuple[Mapping[str, Any], ...]

    def problem(self, name: str, value: Any) -> str:
        """Why the attribute cannot hold this value, or nothing."""
        entry = self.attributes.get(name)
        if entry is None:
            return f"the registry {self.name} does not describe it"
        kind = entry.get("Type")
        if kind == "Enumeration":
            offered = _offered(entry)
            shown = ", ".join(str(item) for item in offered) or "nothing"
            return "" if value in offered else f"the registry {self.name} offers {shown}"
        if kind == "Integer":
            return _integer_problem(entry, value)
        if kind == "Boolean":
            return "" if isinstance(value, bool) else "it is true or false"
        if kind == "String":
            return "" if isinstance(value, str) else "it is text"
        return f"the registry {self.name} calls it {kind or 'nothing known'}, which is not set here"

    def locks(self, name: str, current: Mapping[str, Any]) -> list[str]:
        """Why the attribute cannot be set while the BIOS is as it is; an attribute that decides is named."""
        entry = self.attributes.get(name) or {}
        found = [word for flag, word in _LOCKS.items() if entry.get(flag) is True]
        for dependency in self.dependencies:
            word = _LOCKS.get(str(dependency.get("MapToProperty")))
            if dependency.get("MapToAttribute") != name or word is None or dependency.get("MapToValue") is not True:
                continue
            terms = [term for term in dependency.get("MapFrom") or () if isinstance(term, Mapping)]
            if _holds(terms, current):
                found.append(f"{word} while {' and '.join(_shown(term, current) for term in terms)}")
        named = [text for text in found if " while " in text]
        return list(dict.fromkeys(named or found))


def parse(document: Any) -> Registry | None:
    """C(None) where the document is no attribute registry."""
    if not isinstance(document, Mapping) or not isinstance(document.get("RegistryEntries"), Mapping):
        return None
    entries = document["RegistryEntries"]
    attributes = {
        str(entry["AttributeName"]): entry
        for entry in entries.get("Attributes") or ()
        if isinstance(entry, Mapping) and entry.get("AttributeName")
    }
    dependencies = tuple(
        entry["Dependency"]
        for entry in entries.get("Dependencies") or ()
        if isinstance(entry, Mapping) and isinstance(entry.get("Dependency"), Mapping)
    )
    return Registry(str(document.get("Id") or "of the BIOS"), attributes, dependencies) if attributes else None


def _offered(entry: Mapping[str, Any]) -> list[Any]:
    """Some BMCs number the values and speak of them by the name that is shown."""
    values = [item for item in entry.get("Value") or () if isinstance(item, Mapping)]
    names = [item.get("ValueName") for item in values]
    shown = [item.get("ValueDisplayName") for item in values]
    speaks = [entry.get("CurrentValue"), entry.get("DefaultValue")]
    if any(word in shown and word not in names for word in speaks if word is not None):
        return shown
    return names


def _integer_problem(entry: Mapping[str, Any], value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return "it is a whole number"
    low, high = entry.get("LowerBound"), entry.get("UpperBound")
    if (isinstance(low, int) and value < low) or (isinstance(high, int) and value > high):
        return f"it is a number from {low} to {high}"
    return ""


def _holds(terms: list[Mapping[str, Any]], current: Mapping[str, Any]) -> bool:
    """From left to right. What cannot be judged here is left to the BMC, which refuses and is read again."""
    result: bool | None = None
    for term in terms:
        compare = _COMPARE.get(str(term.get("MapFromCondition")))
        name, join = str(term.get("MapFromAttribute")), term.get("MapTerms")
        unclear = compare is None or name not in current or term.get("MapFromProperty") != "CurrentValue"
        if unclear or compare is None or join not in (None, "", "AND", "OR"):
            return False
        value = compare(current[name], term.get("MapFromValue"))
        result = value if result is None else (result or value if join == "OR" else result and value)
    return bool(result)


def _shown(term: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    name = str(term.get("MapFromAttribute"))
    return f"{name} is {current.get(name)}"


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
