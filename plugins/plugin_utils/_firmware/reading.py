# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a BMC answers, as values; and what its refusals mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.registry import Registry

# What Ansible puts in place of a secret that occurs in a module's answer.
_MASKS = ("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", "********")


class BmcError(Exception):
    """The BMC cannot be read or written; C(kind) is the id of the finding."""

    def __init__(self, kind: str, fact: str, fix: str) -> None:
        super().__init__(fact)
        self.kind = kind
        self.fact = fact
        self.fix = fix


@dataclass(frozen=True)
class System:
    id: str
    uri: str
    manufacturer: str
    model: str
    bios_version: str


@dataclass(frozen=True)
class Bios:
    """C(pending) holds only what differs from the attributes that are in force."""

    system: System
    attributes: Mapping[str, Any]
    pending: Mapping[str, Any] = field(default_factory=dict)
    registry: Registry | None = None


def systems(answer: Mapping[str, Any]) -> list[System]:
    """From C(GetSystemInventory) of community.general.redfish_info."""
    found = []
    entries = ((answer.get("redfish_facts") or {}).get("system") or {}).get("entries") or []
    for place, entry in entries:
        found.append(
            System(
                id=str(entry.get("Id") or ""),
                uri=str(place.get("system_uri") or ""),
                manufacturer=str(entry.get("Manufacturer") or ""),
                model=str(entry.get("Model") or ""),
                bios_version=str(entry.get("BiosVersion") or ""),
            )
        )
    return found


def choose(found: Iterable[System], wanted: str) -> System:
    known = list(found)
    names = ", ".join(f"{system.id} ({system.model or system.manufacturer or 'no model'})" for system in known)
    if wanted:
        chosen = [system for system in known if system.id == wanted]
        if not chosen:
            fact = f"the BMC has no system {wanted}; it has {names or 'none'}."
            raise BmcError("bmc_systems", fact, "correct host_firmware_system.")
        return chosen[0]
    if not known:
        raise BmcError("bmc_systems", "the BMC tells of no system.", "look at the BMC; it may still be starting.")
    if len(known) > 1:
        fact = f"the BMC has several systems: {names}."
        raise BmcError("bmc_systems", fact, "name the one of this host in host_firmware_system.")
    return known[0]


def link(document: Any, *path: str) -> str:
    """A path on the same BMC, or nothing; credentials are never sent elsewhere."""
    value = document
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value.startswith("/") and not value.startswith("//") else ""


def attributes(document: Any) -> dict[str, Any]:
    value = document.get("Attributes") if isinstance(document, Mapping) else None
    return {str(name): entry for name, entry in value.items()} if isinstance(value, Mapping) else {}


def pending(current: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Some BMCs answer with all attributes, some with those that wait; an attribute without a value waits for nothing."""
    return {name: value for name, value in settings.items() if value is not None and current.get(name) != value}


def masked(value: Any) -> bool:
    return isinstance(value, str) and any(mask in value for mask in _MASKS)


def registry_location(document: Any) -> str:
    """The English description, or the only one."""
    places = document.get("Location") if isinstance(document, Mapping) else None
    entries = [entry for entry in places or () if isinstance(entry, Mapping) and link(entry, "Uri")]
    english = [entry for entry in entries if str(entry.get("Language") or "en").lower().startswith("en")]
    return link((english or entries or [{}])[0], "Uri")


def registry_member(collection: Any, name: str) -> str:
    """Some BMCs name a version that is not in the path of the registry."""
    members = collection.get("Members") if isinstance(collection, Mapping) else None
    paths = [link(member, "@odata.id") for member in members or ()]
    last = {path.rstrip("/").rpartition("/")[2]: path for path in paths if path}
    return last.get(name) or last.get(name.partition(".")[0]) or ""


def refusal(message: str) -> BmcError:
    """What a module says when it could not talk to the BMC."""
    text = " ".join(message.split()).rstrip(".") or "no reason was given"
    low = text.lower()
    if "certificate" in low or "ssl" in low:
        return BmcError(
            "bmc_unreachable",
            f"the BMC's certificate was not accepted: {text}.",
            "give the CA that signed it in host_firmware_ca_path, or put a certificate on the BMC that this controller trusts.",
        )
    if (
        "http error 401" in low
        or "http error 403" in low
        or "status code was 401" in low
        or "status code was 403" in low
    ):
        return BmcError(
            "bmc_credentials",
            f"the BMC refuses the account: {text}.",
            "correct host_firmware_username and host_firmware_password; the account needs the right to configure the system.",
        )
    return BmcError(
        "bmc_unreachable",
        f"the BMC did not answer as Redfish does: {text}.",
        "look at host_firmware_bmc, the network between the controller and the BMC, and whether Redfish is enabled there.",
    )
