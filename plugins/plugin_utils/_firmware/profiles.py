# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the BIOS attributes of each vendor, and how a machine's attribute is found by it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parent / "profiles.yml"

AUTO = "auto"
FEATURES: dict[str, str] = {
    "virtualization": "processor virtualization (VT-x, SVM)",
    "iommu": "the IOMMU (VT-d, AMD-Vi)",
    "acs": "Access Control Services",
    "aer": "Advanced Error Reporting",
    "sriov": "SR-IOV",
    "above_4g": "addresses of devices above 4 GB",
    "resizable_bar": "resizable BARs",
    "csm_off": "the compatibility support module off, UEFI only",
    "snp": "AMD SEV-SNP",
    "tdx": "Intel TDX",
}
DEFAULT_FEATURES = ("virtualization", "iommu", "acs", "above_4g")

_NUMBER = re.compile(r"_[0-9A-F]{4}$")


@dataclass(frozen=True)
class Attribute:
    """One row: C(values) are spellings of the same value, the first of them preferred."""

    name: str
    values: tuple[Any, ...]
    source: str


@dataclass(frozen=True)
class Wanted:
    title: str
    attributes: tuple[Attribute, ...]
    optional: bool


@dataclass(frozen=True)
class Profile:
    name: str
    title: str
    manufacturers: tuple[str, ...]
    numbered_names: bool
    features: Mapping[str, tuple[Wanted, ...]]

    def matches(self, attribute: Attribute, present: Iterable[str]) -> list[str]:
        """The machine's own names for the attribute of a row; more than one is for the caller to refuse."""
        if not self.numbered_names:
            return [name for name in present if name == attribute.name]
        return sorted(name for name in present if _plain(name) == attribute.name)


def _plain(name: str) -> str:
    return _NUMBER.sub("", re.sub(r"[^A-Za-z0-9]", "_", name))


@lru_cache(maxsize=1)
def load() -> dict[str, Profile]:
    data = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return {name: _profile(name, vendor, data["sources"]) for name, vendor in data["vendors"].items()}


def _profile(name: str, vendor: Mapping[str, Any], sources: Mapping[str, Mapping[str, str]]) -> Profile:
    features = {
        feature: tuple(
            Wanted(
                title=entry["title"],
                attributes=tuple(
                    Attribute(row["name"], _values(row["value"]), _cited(sources[row["source"]]))
                    for row in entry["attributes"]
                ),
                optional=bool(entry.get("optional")),
            )
            for entry in entries
        )
        for feature, entries in vendor["features"].items()
    }
    return Profile(name, vendor["title"], tuple(vendor["manufacturers"]), bool(vendor.get("numbered_names")), features)


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _cited(source: Mapping[str, str]) -> str:
    return f"{source['repository']} {source['file']} at {source['commit'][:12]} ({source['machine']})"


def by_manufacturer(manufacturer: str) -> Profile | None:
    """The manufacturer as the BMC tells it, compared without case; a part of a name is no match."""
    said = manufacturer.strip().casefold()
    for profile in load().values():
        if said in (name.casefold() for name in profile.manufacturers):
            return profile
    return None
