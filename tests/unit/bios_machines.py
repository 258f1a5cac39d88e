# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BIOS attributes of real machines, in the words of Redfish."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "fixtures" / "bios"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))


@lru_cache(maxsize=None)
def load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8")))


def attributes(name: str, **changes: Any) -> dict[str, Any]:
    entries = load(name)["attributes"]
    return {key: entry["value"] for key, entry in entries.items() if "value" in entry} | changes


def registry(name: str) -> dict[str, Any]:
    """The document, as the BMC would give it while the BIOS is as in the fixture."""
    data = load(name)
    described = []
    for key, entry in data["attributes"].items():
        item: dict[str, Any] = {"AttributeName": key, "Type": entry.get("type", "Enumeration")}
        item |= {flag: flag in entry.get("flags", ()) for flag in ("ReadOnly", "GrayOut", "Hidden", "Immutable")}
        if "offers" in entry:
            numbered = data.get("numbered_values")
            item["Value"] = [
                {"ValueName": str(index) if numbered else value, "ValueDisplayName": value}
                for index, value in enumerate(entry["offers"])
            ]
            item["DefaultValue"] = entry["offers"][0]
        if "bounds" in entry:
            item["LowerBound"], item["UpperBound"] = entry["bounds"]
        described.append(item)
    locks = [
        {
            "Type": "Map",
            "DependencyFor": lock["attribute"],
            "Dependency": {
                "MapFrom": [
                    {
                        "MapFromAttribute": lock["by"],
                        "MapFromProperty": "CurrentValue",
                        "MapFromCondition": "EQU",
                        "MapFromValue": lock["is"],
                    }
                ],
                "MapToAttribute": lock["attribute"],
                "MapToProperty": lock["flag"],
                "MapToValue": True,
            },
        }
        for lock in data["locks"]
    ]
    return {"Id": data["registry"], "RegistryEntries": {"Attributes": described, "Dependencies": locks}}
