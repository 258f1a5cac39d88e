# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capabilities in a capture: the lines of lspci -vv, and the bytes of -x to -xxxx, which say more and are believed first."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.config_space import (
    ACS_BITS,
    CONVENTIONAL,
    NO_ACS,
    decode,
    read_power_state,
    read_sriov,
)

# pciutils (ls-caps.c, ls-ecaps.c; v3.13.0).
_HEAD = re.compile(r"Capabilities: \[([0-9a-f]{2,3})(?: v\d+)?\] (.*)\Z")
_DENIED = ("Capabilities: <access denied>", "Capabilities: <unreadable>")
_EXPRESS = re.compile(r"Express(?: \(v\d+\))? (.*)\Z")
# The longer name first where one begins another.
_TYPES = (
    ("Legacy Endpoint", "legacy_endpoint"),
    ("Endpoint", "endpoint"),
    ("Root Port", "root_port"),
    ("Upstream Port", "upstream_port"),
    ("Downstream Port", "downstream_port"),
    ("PCI-Express to PCI", "pcie_to_pci_bridge"),
    ("PCI/PCI-X to PCI-Express", "pci_to_pcie_bridge"),
    ("Root Complex Integrated Endpoint", "integrated_endpoint"),
    ("Root Complex Event Collector", "event_collector"),
)
_LINK = re.compile(r"Lnk(Cap|Sta):\s.*?\bSpeed ([\d.]+)GT/s(?: \(\w+\))?, Width x(\d+)")
_ACS = re.compile(r"ACS(Cap|Ctl):\s+(.*)\Z")
_ACS_NAMES = dict(
    zip(("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans"), ACS_BITS)
)
_RESIZABLE = re.compile(r"BAR (\d): current size: (\d+)([KMGT])B, supported: (.*)\Z")
_RANGE = re.compile(r"(\d+)([KMGT])B")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SRIOV = re.compile(r"Initial VFs: \d+, Total VFs: (\d+), Number of VFs: (\d+)")
_POWER = re.compile(r"Status: (D[0-3])\b")
_POWER_STATES = {"D0": "D0", "D1": "D1", "D2": "D2", "D3": "D3hot"}
_BYTES = re.compile(r"([0-9a-f]{2,3}): ((?:[0-9a-f]{2} ?){1,16})\Z")
_EXTENDED = 0x100


class Capabilities:
    """What one device's lines have said so far."""

    def __init__(self) -> None:
        self._fields: Dict[str, Any] = {}
        self._parts: Dict[str, Dict[str, Any]] = {}
        self._resizable: List[Mapping[str, Any]] = []
        self._heads: List[Tuple[int, str]] = []
        self._denied = False
        self._bytes: Dict[int, int] = {}

    def take(self, head: str, text: str) -> None:
        """C(head) is the first line of the capability that the line belongs to, itself included."""
        data = _BYTES.match(text)
        if data is not None:
            start = int(data.group(1), 16)
            self._bytes.update((start + place, int(value, 16)) for place, value in enumerate(data.group(2).split()))
            return
        self._denied = self._denied or text in _DENIED
        power = _POWER.match(text)
        if power is not None:
            # The register of the same name that every device has begins otherwise.
            self._fields["power_state"] = _POWER_STATES[power.group(1)]
            return
        match = _HEAD.match(head)
        if match is not None and head == text:
            self._heads.append((int(match.group(1), 16), match.group(2)))
            kind = _EXPRESS.match(match.group(2))
            if kind is not None:
                self._fields["express_type"] = next(
                    (code for name, code in _TYPES if kind.group(1).startswith(name)), None
                )
        elif match is not None:
            self._take_detail(match.group(2), text)

    def fields(self, address: str, is_bridge: bool, has_siblings: bool) -> Dict[str, Any]:
        """As those that configuration space itself gives."""
        multifunction = True if has_siblings or not address.endswith(".0") else None
        found = self._of_lines(is_bridge, multifunction)
        if self._bytes:
            sriov, power_state = read_sriov(self._read), read_power_state(self._read)
            found.update(decode(self._read, multifunction))
            found.update({"sriov": sriov} if sriov else {}, **({"power_state": power_state} if power_state else {}))
        return found

    def _of_lines(self, is_bridge: bool, multifunction: Optional[bool]) -> Dict[str, Any]:
        found = dict(self._fields)
        link = self._parts.get("link", {})
        if len(link) == 4 and link["max_width"]:
            found["link"] = {name: link[name] for name in ("speed", "width", "max_speed", "max_width")}
        access = self._parts.get("acs", {})
        if len(access) == 2:
            found["acs"] = {name: access[name] for name in ("capability", "control")}
        elif self._lacks_acs() and (is_bridge or multifunction):
            found["acs"] = NO_ACS
        if self._heads and not self._denied and "express_type" not in found:
            found["express_type"] = CONVENTIONAL
        if self._resizable:
            found["resizable_bars"] = tuple(self._resizable)
        if multifunction:
            found["multifunction"] = True
        return found

    def _lacks_acs(self) -> bool:
        """Only where the capabilities beyond the first 256 bytes were shown, or where there can be none."""
        if not self._heads or self._denied or any("Access Control Services" in name for _offset, name in self._heads):
            return False
        extended = any(offset >= _EXTENDED for offset, _name in self._heads)
        return extended or not any(name.startswith("Express") for _offset, name in self._heads)

    def _take_detail(self, name: str, text: str) -> None:
        link, access = _LINK.match(text), _ACS.match(text)
        sriov, resizable = _SRIOV.match(text), _RESIZABLE.match(text)
        if link is not None and name.startswith("Express"):
            prefix = "max_" if link.group(1) == "Cap" else ""
            found = {f"{prefix}speed": float(link.group(2)), f"{prefix}width": int(link.group(3))}
            self._parts.setdefault("link", {}).update(found)
        elif access is not None and name.startswith("Access Control"):
            key = "capability" if access.group(1) == "Cap" else "control"
            self._parts.setdefault("acs", {})[key] = _switched_on(access.group(2).split())
        elif sriov is not None and name.startswith("Single Root"):
            self._fields["sriov"] = {
                "total_vfs": int(sriov.group(1)),
                "num_vfs": int(sriov.group(2)),
                "physical_function": None,
            }
        elif resizable is not None and name.startswith(("Physical Resizable", "Resizable")):
            self._resizable.append(
                {
                    "index": int(resizable.group(1)),
                    "size": int(resizable.group(2)) * _UNITS[resizable.group(3)],
                    "supported_sizes": [
                        int(number) * _UNITS[unit] for number, unit in _RANGE.findall(resizable.group(4))
                    ],
                }
            )

    def _read(self, size: int, offset: int) -> bytes:
        """As far as the bytes go without a gap."""
        data = bytearray()
        while len(data) < size and offset + len(data) in self._bytes:
            data.append(self._bytes[offset + len(data)])
        return bytes(data)


def _switched_on(words: Sequence[str]) -> List[str]:
    on = {word[:-1] for word in words if word.endswith("+")}
    return [bit for name, bit in _ACS_NAMES.items() if name in on]
