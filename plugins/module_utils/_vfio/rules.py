# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our udev rules: one line for each address, guarded by the identity of the device that it was written for."""

from __future__ import annotations

import re
from typing import Dict, List, Mapping, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.address import sort_key
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.drivers import GENERIC, module_name

RULES = "/etc/udev/rules.d/10-katagpu-vfio.rules"
MODULES_LOAD = "/etc/modules-load.d/katagpu-vfio.conf"

_HEADER = """\
# Managed by katagpu.cluster.vfio_binding: one line for each PCI function that is bound to VFIO when it appears.
# The module adds and removes its own lines and keeps all others.
"""
_MODULES_HEADER = "# Managed by katagpu.cluster.vfio_binding.\n"
_OURS = re.compile(
    r'^ACTION=="add", SUBSYSTEM=="pci", KERNEL=="(?P<address>[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])", '
    r'(?P<guards>(?:ATTR\{\w+\}=="[^"]*", )*)ATTR\{driver_override\}="(?P<driver>[^"]+)"'
)
# The event of one display loads a driver that takes all others of its kind, also those whose own event comes later.
_FIRST = 'ACTION=="add", SUBSYSTEM=="pci", ATTR{class}=="0x03*|0x12*", ATTR{[pci/'
# What the initramfs of the installed kernels has of these lines; nothing where that is not known and does not matter.
PENDING = "pending"
MADE = "made"
_IMAGES = {
    PENDING: "# The initramfs of each kernel is to be made anew, because it may have other lines than these.",
    MADE: "# The initramfs of each kernel has been made with these lines.",
}
# Drivers that may have taken a function just before its rule ran, and that let go of an unopened device at once.
# The NVIDIA driver is not among them: taking a device from it can block for ever.
_RELEASES = ("snd_hda_intel", "xhci_hcd", "xhci_pci")


def parse(text: Optional[str]) -> Dict[str, str]:
    """Address to our line."""
    lines = _lines(text)
    return {match.group("address"): line for line in lines for match in [_OURS.match(line)] if match}


def images(text: Optional[str]) -> Optional[str]:
    """PENDING, MADE or nothing."""
    lines = _lines(text)
    return next((state for state, comment in _IMAGES.items() if comment in lines), None)


def driver_of(line: str) -> Optional[str]:
    match = _OURS.match(line)
    return match.group("driver") if match else None


def line_for(device: PciDevice, driver: str) -> str:
    """Effective at udev's coldplug, before modules are loaded for the device and long before the kubelet starts.

    The override keeps every other driver away; the driver is loaded and offered the device even where another module
    was loaded first.
    """
    keys = [
        ("vendor", device.vendor_id),
        ("device", device.device_id),
        ("subsystem_vendor", device.subsystem_vendor_id),
        ("subsystem_device", device.subsystem_device_id),
    ]
    guards = [f'ATTR{{{key}}}=="0x{value}"' for key, value in keys if value is not None]
    cases = "|".join(f"*/{name}" for name in _RELEASES)
    release = f"case $$(readlink /sys%p/driver) in {cases}) echo %k >/sys%p/driver/unbind;; esac"
    return ", ".join(
        [
            'ACTION=="add"',
            'SUBSYSTEM=="pci"',
            f'KERNEL=="{device.address}"',
            *guards,
            f'ATTR{{driver_override}}="{driver}"',
            f'RUN{{builtin}}+="kmod load {module_name(driver)}"',
            f"RUN+=\"/bin/sh -c '{release}; echo %k >/sys/bus/pci/drivers_probe'\"",
        ]
    )


def render(before: Optional[str], lines: Mapping[str, str], state: Optional[str] = None) -> Optional[str]:
    """The file with exactly C(lines) as ours; lines of others stay, and nothing is left of a file without any."""
    header = _HEADER.splitlines()
    others: List[str] = []
    for line in _lines(before):
        if not _OURS.match(line) and not line.startswith(_FIRST) and line not in (*header, *_IMAGES.values()):
            others.append(line)
    comment = [_IMAGES[state]] if state is not None and (lines or state == PENDING) else []
    if not lines and not comment and not any(line.strip() for line in others):
        return None
    ours = [lines[address] for address in sorted(lines, key=sort_key)]
    first = [_first(line) for line in ours]
    text = [*(header if ours or comment else []), *comment, *first, *ours, *others]
    return "".join(f"{line}\n" for line in text)


def _lines(text: Optional[str]) -> List[str]:
    """Only a line feed ends a line, so that all other bytes of others stay."""
    lines = (text or "").split("\n")
    return lines if lines[-1] else lines[:-1]


def _first(line: str) -> str:
    """The override alone, with the first event of any display, before a driver is loaded for that one."""
    match = _OURS.match(line)
    address, guards, driver = match.group("address", "guards", "driver") if match else ("", "", "")
    here = f"ATTR{{[pci/{address}]"
    guarded = guards.replace("ATTR{", here)
    return f'{_FIRST[: -len("ATTR{[pci/")]}{guarded}{here}driver_override}}="{driver}"'


def render_modules(lines: Mapping[str, str]) -> Optional[str]:
    drivers = sorted({driver_of(line) or GENERIC for line in lines.values()})
    return _MODULES_HEADER + "".join(f"{module_name(name)}\n" for name in drivers) if drivers else None
