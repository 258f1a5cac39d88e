# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel modules could drive a function, from the aliases that depmod wrote for the running kernel."""

from __future__ import annotations

import re
from typing import Dict, List, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

_LIMIT = 16 * 1024 * 1024
_RELEASE = re.compile(r"[A-Za-z0-9._+~-]+\Z")

_PREFIX = b"alias pci:v"
_ALIAS = re.compile(rb"alias pci:v(\*|[0-9A-F]{8})d(\*|[0-9A-F]{8})(sv\S+) (\S+)\s*\Z")

# The rest of an alias after vendor and device, which must fit the function, and the module's name.
_Rest = Tuple[bytes, str]


def with_modules(root: HostRoot, devices: Sequence[PciDevice]) -> List[PciDevice]:
    """Devices with C(modules); unchanged where the kernel's release or its aliases are not there to be read."""
    release = root.read_line("/proc/sys/kernel/osrelease") or ""
    data = root.read_bytes(f"/lib/modules/{release}/modules.alias", _LIMIT) if _RELEASE.match(release) else None
    if not data:
        return list(devices)
    aliases = _aliases(data, devices)
    known: Dict[Tuple[bytes, bytes, bytes], Tuple[str, ...]] = {}
    result = []
    for device in devices:
        key = _key(device)
        if key not in known:
            known[key] = _lookup(aliases, key)
        result.append(device.having(modules=known[key]))
    return result


def _aliases(data: bytes, devices: Sequence[PciDevice]) -> Dict[Tuple[bytes, bytes], List[_Rest]]:
    """Aliases that could fit one of the devices, by vendor and device; the file has tens of thousands of others."""
    wanted = {(vendor, device) for vendor, device, _rest in map(_key, devices)}
    wanted |= {(vendor, b"*") for vendor, _device in wanted} | {(b"*", b"*")}
    vendors = tuple({_PREFIX + vendor for vendor, _device in wanted})
    found: Dict[Tuple[bytes, bytes], List[_Rest]] = {}
    for line in data.split(b"\n"):
        match = _ALIAS.match(line) if line.startswith(_PREFIX) and line.startswith(vendors) else None
        if match is None:
            continue
        vendor, device, rest, module = match.groups()
        if (vendor, device) in wanted:
            found.setdefault((vendor, device), []).append((rest, module.decode("utf-8", "replace")))
    return found


def _key(device: PciDevice) -> Tuple[bytes, bytes, bytes]:
    code = (device.class_code or "").upper().ljust(6, "0")
    rest = (
        f"sv0000{device.subsystem_vendor_id or '0000'}sd0000{device.subsystem_device_id or '0000'}".upper()
        .replace("SV", "sv")
        .replace("SD", "sd")
        + f"bc{code[:2]}sc{code[2:4]}i{code[4:]}"
    )
    vendor, number = f"0000{device.vendor_id}".upper(), f"0000{device.device_id}".upper()
    return vendor.encode("ascii"), number.encode("ascii"), rest.encode("ascii")


def _lookup(aliases: Dict[Tuple[bytes, bytes], List[_Rest]], key: Tuple[bytes, bytes, bytes]) -> Tuple[str, ...]:
    vendor, device, rest = key
    modules: Dict[str, None] = {}
    for alias in ((vendor, device), (vendor, b"*"), (b"*", b"*")):
        for pattern, module in aliases.get(alias, ()):
            if fits(pattern, rest):
                modules[module] = None
    return tuple(modules)


def fits(pattern: bytes, text: bytes) -> bool:
    """Each star stands for any bytes. As a regular expression a pattern of many stars would take for ever."""
    first, *others = pattern.split(b"*")
    if not others:
        return pattern == text
    last = others.pop()
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in others:
        position = text.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return True
