# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry offers, and what it says keeps an attribute from being set."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import registry
from tests.unit import bios_machines


def parsed(terms: list[dict[str, Any]], flag: str = "ReadOnly", to: Any = True) -> registry.Registry:
    document = {
        "Id": "R",
        "RegistryEntries": {
            "Attributes": [{"AttributeName": "A", "Type": "Boolean"}, {"AttributeName": "B", "Type": "Integer"}],
            "Dependencies": [
                {"Dependency": {"MapFrom": terms, "MapToAttribute": "A", "MapToProperty": flag, "MapToValue": to}}
            ],
        },
    }
    answer = registry.parse(document)
    assert answer is not None
    return answer


def term(value: Any, condition: str = "EQU", join: str | None = None, name: str = "B") -> dict[str, Any]:
    return {
        "MapFromAttribute": name,
        "MapFromProperty": "CurrentValue",
        "MapFromCondition": condition,
        "MapFromValue": value,
        **({"MapTerms": join} if join else {}),
    }


@pytest.mark.parametrize(
    ("condition", "value", "locked"),
    [("EQU", 5, True), ("NEQ", 5, False), ("GTR", 4, True), ("GEQ", 5, True), ("LSS", 5, False), ("LEQ", 5, True)],
)
def test_conditions(condition: str, value: int, locked: bool) -> None:
    assert bool(parsed([term(value, condition)]).locks("A", {"B": 5})) is locked


@pytest.mark.parametrize(
    ("terms", "locked"),
    [
        ([term(5), term(1, join="AND", name="C")], True),
        ([term(4), term(1, join="AND", name="C")], False),
        ([term(4), term(1, join="OR", name="C")], True),
        ([term(4), term(2, join="OR", name="C")], False),
        ([term(5), term(1, join="XOR", name="C")], False),
        ([term(5, "LIKE")], False),
        ([term(5, name="Unknown")], False),
        ([], False),
    ],
)
def test_terms(terms: list[dict[str, Any]], locked: bool) -> None:
    """What is not understood is left to the BMC."""
    assert bool(parsed(terms).locks("A", {"B": 5, "C": 1})) is locked


def test_only_what_locks_locks() -> None:
    for flag, to in (("CurrentValue", True), ("ReadOnly", False), ("ReadOnly", "true"), ("WarningText", True)):
        assert parsed([term(5)], flag, to).locks("A", {"B": 5}) == []
    assert parsed([term(5)], "Hidden").locks("A", {"B": 5}) == ["hidden while B is 5"]
    assert parsed([term(5)]).locks("B", {"B": 5}) == []


def test_values_are_spoken_as_the_attributes_speak_them() -> None:
    """Supermicro numbers the values and uses the names that are shown."""
    supermicro = registry.parse(bios_machines.registry("supermicro_821ge"))
    hpe = registry.parse(bios_machines.registry("hpe_dl385"))
    assert supermicro is not None and hpe is not None
    assert supermicro.problem("Above4GDecoding_0041", "Enabled") == ""
    assert "offers Disabled, Enabled" in supermicro.problem("Above4GDecoding_0041", "1")
    assert hpe.problem("Sriov", "Enabled") == "" and "does not describe it" in hpe.problem("Nothing", "Enabled")


def test_types() -> None:
    answer = registry.parse(
        {
            "RegistryEntries": {
                "Attributes": [
                    {"AttributeName": "Flag", "Type": "Boolean"},
                    {"AttributeName": "Text", "Type": "String"},
                    {"AttributeName": "Secret", "Type": "Password"},
                    {"AttributeName": "Number", "Type": "Integer"},
                ]
            }
        }
    )
    assert answer is not None
    assert answer.problem("Flag", True) == "" and answer.problem("Flag", "true") == "it is true or false"
    assert answer.problem("Text", "x") == "" and answer.problem("Text", 1) == "it is text"
    assert answer.problem("Number", 10**9) == ""
    assert "is not set here" in answer.problem("Secret", "x")


@pytest.mark.parametrize("document", [None, [], {}, {"RegistryEntries": []}, {"RegistryEntries": {"Attributes": []}}])
def test_what_is_no_registry(document: Any) -> None:
    assert registry.parse(document) is None
