# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what lspci printed, in any of its styles.

Reading is total: any text gives devices and the lines that were not understood.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields as dataclass_fields
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci import address as pci_address
from ansible_collections.katagpu.cluster.plugins.module_utils._pci import lspci_details
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.lspci_capabilities import Capabilities
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.lspci_names import (
    NOTHING,
    Named,
    Vendors,
    parse_class,
    parse_pair,
    parse_single,
)

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_LINES = re.compile(r"\r*\n|\r")
# Quotation marks and list bullets of the documents that captures are pasted into.
_DECORATION = re.compile(r"(\s*)(?:(?:> ?)+|[*-]\s+(?=\S))")
_GROUP = re.compile(r"IOMMU group\s+(\d+)\s*:?(?:\s+|\Z)", re.IGNORECASE)
# With -P and -PP the bridges above come first; the domain of all stands before them.
_DEVICE = re.compile(
    r"(?:([0-9a-f]{4,8}:)?\S*/)?((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7])\s+(\S.*)\Z", re.IGNORECASE
)
# A device all the same, though not one whose address is known: C(-P) leaves out the bus.
_SOME_DEVICE = re.compile(r"[0-9a-f:./]*[0-9a-f]{2}\.[0-9a-f]\s", re.IGNORECASE)
_HEADLINE = re.compile(r"((?:[^:\[]|\[(?![0-9a-f]{4}\]))*(?:\[[0-9a-f]{4}\])?):\s+(\S.*)\Z", re.IGNORECASE)
_REVISION = re.compile(r"(.*?)\s*\(rev ([0-9a-f]{2})\)\Z", re.IGNORECASE)
_PROG_IF = re.compile(r"(.*?)\s*\(prog-if ([0-9a-f]{2})(?: \[.*\])?\)\Z", re.IGNORECASE)
# BusyBox, whose lspci knows numbers only, writes the driver behind them.
_DRIVER = re.compile(r"(Class [0-9a-f]{4}: [0-9a-f]{4}:[0-9a-f]{4}) ([^\s()]+)\Z", re.IGNORECASE)
# Something follows the IDs that is neither a revision nor a programming interface.
_IDS_INSIDE = re.compile(r"\[[0-9a-f]{4}:[0-9a-f]{4}\](?=.)", re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|-([rp])([0-9a-f]{2})(?=\s|\Z)', re.IGNORECASE)
# A bridge has its subsystem in a capability.
_SUBSYSTEM = re.compile(r"(?:Capabilities: \[[^\]]*\] )?Subsystem: *(.*)\Z")
_RECORD = re.compile(r"(\w+):\s*(.*)\Z")
_RECORD_KEYS = frozenset(
    (
        *("Slot", "Class", "Vendor", "Device", "SVendor", "SDevice", "PhySlot", "Rev", "ProgIf", "Driver", "Module"),
        *("NUMANode", "IOMMUGroup", "DTNode"),
    )
)


def parse(text: str, vendor_names: Optional[Mapping[str, str]] = None) -> Tuple[List[PciDevice], List[str]]:
    """Devices in address order, and the lines that say nothing this reader knows.

    C(vendor_names) (ID to name, as in pci.ids) helps where vendor and device names stand side by side.
    """
    reader = _Reader(Vendors(vendor_names))
    for line in _LINES.split(_CONTROL.sub("", text.lstrip("\ufeff")).replace("\xa0", " ")):
        reader.take(line)
    return reader.result()


class _Reader:
    """One pass over the lines; C(current) is the device that details belong to."""

    def __init__(self, vendors: Vendors) -> None:
        self.vendors = vendors
        self.found: Dict[str, Dict[str, Any]] = {}
        self.unparsed: List[str] = []
        self.current: Optional[Dict[str, Any]] = None
        self.is_record = False
        self.lost_indent = False
        self.heading_group: Optional[str] = None
        self.indent = 0
        self.last_head: Tuple[int, str] = (0, "")

    def result(self) -> Tuple[List[PciDevice], List[str]]:
        slots = Counter(address.rpartition(".")[0] for address in self.found)
        devices = [_device(found, slots[address.rpartition(".")[0]] > 1) for address, found in self.found.items()]
        devices = _with_parents(devices, self.found)
        return sorted(devices, key=lambda device: pci_address.sort_key(device.address)), self.unparsed

    def take(self, line: str) -> None:
        expanded = _DECORATION.sub(r"\1", line, count=1) if _DECORATION.match(line) else line
        expanded = expanded.expandtabs(8).rstrip()
        text = expanded.strip()
        if not text or text == ">":
            self.is_record = False
            return
        indent = len(expanded) - len(expanded.lstrip())
        if not (
            self._take_record(text)
            or self._take_group(text, indent)
            or self._take_device(text, indent, self.heading_group)
            or self._take_detail(text, indent)
        ):
            self.unparsed.append(line.rstrip())
            if _SOME_DEVICE.match(text):
                # What follows belongs to a device this reader did not understand, not to the one before.
                self.current = None

    def _take_group(self, text: str, indent: int) -> bool:
        """Headings that the usual loops over C(/sys/kernel/iommu_groups) print above or before lspci's lines."""
        match = _GROUP.match(text)
        if match is None:
            return False
        rest = text[match.end() :]
        if rest:
            return self._take_device(rest, indent, match.group(1))
        self.heading_group, self.current = match.group(1), None
        return True

    def _take_record(self, text: str) -> bool:
        """The C(-vmm) style, and C(-vm), whose first key is C(Device) where the other says C(Slot)."""
        match = _RECORD.match(text)
        if match is None:
            return False
        key, value = match.group(1), match.group(2).strip()
        if key in ("Slot", "Device"):
            address = pci_address.normalize(value)
            if address is not None:
                self._begin({"address": address}, 0)
                self.is_record = True
                return True
        if not self.is_record or self.current is None or key not in _RECORD_KEYS or key == "Slot":
            return False
        for name, known in self._record_fields(key, value).items():
            if name == "modules":
                known = tuple(dict.fromkeys((*self.current.get("modules", ()), *known)))
            self.current[name] = known
        return True

    def _record_fields(self, key: str, value: str) -> Dict[str, Any]:
        if key == "Class":
            found = parse_class(value) or NOTHING
            return {"class_code": found.id, "class_name": found.name}
        if key == "Vendor":
            return self._vendor(parse_single(value))
        if key == "Device":
            found = parse_single(value)
            return {"device_id": found.id, "device_name": found.name}
        if key == "SVendor":
            return {"subsystem_vendor_id": self._vendor(parse_single(value))["vendor_id"]}
        if key == "SDevice":
            return {"subsystem_device_id": parse_single(value).id}
        if key == "Module":
            return {"modules": (value,)} if value else {}
        if key == "NUMANode":
            return {"numa_node": int(value)} if re.match(r"[0-9]{1,9}\Z", value) else {}
        if key in ("Rev", "ProgIf"):
            name = "revision" if key == "Rev" else "prog_if"
            return {name: value.lower()} if re.match(r"[0-9a-fA-F]{2}\Z", value) else {}
        name = {"Driver": "driver", "IOMMUGroup": "iommu_group"}.get(key, "")
        return {name: value} if name and value else {}

    def _vendor(self, vendor: Named) -> Dict[str, Any]:
        return {"vendor_id": vendor.id or self.vendors.id_of(vendor.name), "vendor_name": vendor.name}

    def _take_device(self, text: str, indent: int, group: Optional[str]) -> bool:
        match = _DEVICE.match(text)
        if match is None:
            return False
        domain, slot, rest = match.groups()
        address = pci_address.normalize(slot if slot.count(":") > 1 else (domain or "") + slot)
        fields = self._quoted_fields(rest) if rest.startswith('"') else self._headline_fields(rest)
        if address is None or fields is None:
            self.current = None
            return False
        fields["address"] = address
        if group is not None:
            fields["iommu_group"] = group
        return self._begin(fields, indent)

    def _quoted_fields(self, rest: str) -> Optional[Dict[str, Any]]:
        """The C(-mm) style: quoted as for a shell, options in between, empty where there is no subsystem.

        BusyBox adds the driver with C(-k).
        """
        texts: List[str] = []
        fields: Dict[str, Any] = {}
        position = 0
        while position < len(rest):
            match = _QUOTED.match(rest, position)
            if match is None:
                return None
            if match.group(2):
                fields["revision" if match.group(2).lower() == "r" else "prog_if"] = match.group(3).lower()
            else:
                texts.append(re.sub(r"\\(.)", r"\1", match.group(1)))
            position = match.end()
            while position < len(rest) and rest[position] == " ":
                position += 1
        if len(texts) not in (3, 5, 6):
            return None
        for key, value in zip(("Class", "Vendor", "Device", "SVendor", "SDevice", "Driver"), texts):
            fields.update(self._record_fields(key, value))
        return fields

    def _headline_fields(self, rest: str) -> Optional[Dict[str, Any]]:
        fields: Dict[str, Any] = {}
        for pattern, name in ((_PROG_IF, "prog_if"), (_REVISION, "revision"), (_PROG_IF, "prog_if")):
            match = pattern.match(rest)
            if match is not None:
                rest = match.group(1)
                fields[name] = match.group(2).lower()
        match = _DRIVER.match(rest)
        if match is not None:
            rest, fields["driver"] = match.groups()
        match = _HEADLINE.match(rest)
        found = None if match is None else parse_class(match.group(1))
        if match is None or found is None or _IDS_INSIDE.search(match.group(2)):
            return None
        vendor, device = parse_pair(match.group(2), self.vendors)
        fields.update(class_code=found.id, class_name=found.name, vendor_id=vendor.id, vendor_name=vendor.name)
        fields.update(device_id=device.id, device_name=device.name)
        return fields

    def _begin(self, fields: Dict[str, Any], indent: int) -> bool:
        """A capture may list a device twice, in two styles; what contradicts the first time is not understood."""
        known = self.found.setdefault(fields["address"], {})
        self.current, self.indent, self.is_record, self.lost_indent = known, indent, False, False
        self.last_head = (indent, "")
        given = {name: value for name, value in fields.items() if value is not None}
        if any(known.get(name, value) != value for name, value in given.items() if name.endswith("_id")):
            self.current = None
            return False
        known.update({name: value for name, value in given.items() if name not in known})
        return True

    def _take_detail(self, text: str, indent: int) -> bool:
        if self.current is None or self.is_record:
            return False
        capabilities = self.current.setdefault("capabilities", Capabilities())
        head_indent, head = self.last_head
        if indent > head_indent and lspci_details.has_details(head):
            capabilities.take(head, text)
            return True
        if not lspci_details.is_head(text):
            if not (self.lost_indent and lspci_details.is_flat_detail(text)):
                return False
            capabilities.take(head, text)
            return True
        self.last_head = (indent, text)
        capabilities.take(text, text)
        if lspci_details.has_details(text):
            self.lost_indent = indent <= self.indent
        subsystem = _SUBSYSTEM.match(text)
        if subsystem is not None:
            vendor, device = parse_pair(subsystem.group(1), self.vendors)
            self.current["subsystem_vendor_id"] = vendor.id
            self.current["subsystem_device_id"] = device.id
            return True
        for name, value in lspci_details.read_detail(text).items():
            if name == "bar" and self.lost_indent:
                # The device's own come before, these are of its virtual functions.
                continue
            if name == "bar":
                self.current.setdefault("bars", {})[(value["index"], value["address"])] = value
            else:
                self.current[name] = value
        return True


def _with_parents(devices: List[PciDevice], found: Mapping[str, Mapping[str, Any]]) -> List[PciDevice]:
    """By the bus behind each bridge, where one bridge alone claims it."""
    behind: Dict[str, List[str]] = {}
    for address, fields in found.items():
        if "secondary" in fields and fields["secondary"] != "00":
            behind.setdefault(f"{address.partition(':')[0]}:{fields['secondary']}", []).append(address)
    above = {bus: bridges[0] for bus, bridges in behind.items() if len(bridges) == 1}
    return [
        device.having(parent=above[bus]) if bus in above and above[bus] != device.address else device
        for device in devices
        for bus in [device.address.rpartition(":")[0]]
    ]


def _device(found: Mapping[str, Any], has_siblings: bool) -> PciDevice:
    names = {entry.name for entry in dataclass_fields(PciDevice)}
    known = {name: value for name, value in found.items() if name in names}
    code, prog_if = found.get("class_code"), found.get("prog_if")
    if code is not None and prog_if is not None:
        known["class_code"] = code[:4] + prog_if
    known["bars"] = tuple(found.get("bars", {}).values())
    if "capabilities" in found:
        is_bridge = (known.get("class_code") or "").startswith("0604")
        known = {**found["capabilities"].fields(known["address"], is_bridge, has_siblings), **known}
    return PciDevice(**known)
