# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of vendors and devices from a pci.ids file, of which only the vendors asked for are taken apart."""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.classes import class_name
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

DEFAULT_PATHS = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids")

# The file has 1.4 MB in 2024; the limit only keeps a mistaken path from filling the memory.
_LIMIT = 16 * 1024 * 1024
_VENDOR_LINE = re.compile(rb"^([0-9a-f]{4})[ \t]+(.*?)[ \t\r]*$", re.MULTILINE)
_DEVICE_LINE = re.compile(rb"^\t([0-9a-f]{4})[ \t]+(.*?)[ \t\r]*$", re.MULTILINE)
_NEXT_VENDOR = re.compile(rb"^[0-9A-Za-z]", re.MULTILINE)


class PciIds:
    """The text of a pci.ids file."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = b"\n" + data
        self._vendors: Dict[str, Optional[str]] = {}
        self._devices: Dict[str, Dict[str, str]] = {}

    def vendor_names(self) -> Dict[str, str]:
        return {key.decode("ascii"): _text(name) for key, name in _VENDOR_LINE.findall(self._data)}

    def vendor(self, vendor_id: Optional[str]) -> Optional[str]:
        if vendor_id is None:
            return None
        if vendor_id not in self._vendors:
            self._read_vendor(vendor_id)
        return self._vendors[vendor_id]

    def device(self, vendor_id: Optional[str], device_id: Optional[str]) -> Optional[str]:
        if vendor_id is None or device_id is None or self.vendor(vendor_id) is None:
            return None
        return self._devices[vendor_id].get(device_id)

    def _read_vendor(self, vendor_id: str) -> None:
        self._vendors[vendor_id] = None
        start = self._data.find(b"\n" + vendor_id.encode("ascii") + b"  ")
        match = None if start < 0 else _VENDOR_LINE.match(self._data, start + 1)
        if match is None:
            return
        following = _NEXT_VENDOR.search(self._data, match.end())
        block = self._data[match.end() : len(self._data) if following is None else following.start()]
        self._vendors[vendor_id] = _text(match.group(2))
        self._devices[vendor_id] = {key.decode("ascii"): _text(name) for key, name in _DEVICE_LINE.findall(block)}


def load(root: HostRoot, path: Optional[str] = None) -> PciIds:
    """The database named, or else the first usual one; without any, names stay unknown."""
    for candidate in DEFAULT_PATHS if path is None else (path,):
        data = root.read_bytes(candidate, _LIMIT)
        if data is not None:
            return PciIds(data)
    if path is not None:
        raise KatagpuError(
            f"pci_ids: {path} cannot be read. Names cannot be looked up. Nothing was changed. "
            "Fix: give the path of a pci.ids file on this host, or leave the option out."
        )
    return PciIds()


def with_names(devices: Iterable[PciDevice], ids: PciIds) -> List[PciDevice]:
    """Fills names that the source did not give; given ones stay."""
    return [
        device.having(
            class_name=device.class_name or class_name(device.class_code),
            vendor_name=device.vendor_name or ids.vendor(device.vendor_id),
            device_name=device.device_name or ids.device(device.vendor_id, device.device_id),
        )
        for device in devices
    ]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
