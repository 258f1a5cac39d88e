# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads PCI functions from sysfs, without a subprocess and with few file accesses for each function."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci import address as pci_address
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.config_space import read_file
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

DEVICES = "/sys/bus/pci/devices"

_IO, _MEMORY, _PREFETCHABLE, _64_BIT, _UNSET = 0x100, 0x200, 0x2000, 0x100000, 0x20000000
_UEVENT = re.compile(r"^(PCI_CLASS|PCI_ID|PCI_SUBSYS_ID)=(\S+)$", re.MULTILINE)
_RESOURCE_LINES = 7
# Memory controllers, host and ISA bridges, system peripherals and counters: many on large machines, and never passed on.
_SYSTEM = ("05", "0600", "0601", "08", "1101")
_UNUSED = " 0x0000000000000000"


def read_devices(root: HostRoot) -> List[PciDevice]:
    """Every function in address order; names and loadable modules are left to other readers."""
    found = []
    for name in root.list(DEVICES):
        address = pci_address.normalize(name)
        if address is not None:
            found.append(_read_device(root.path(f"{DEVICES}/{name}"), address))
    return _with_reset(sorted(found, key=lambda device: pci_address.sort_key(device.address)))


def _read_device(folder: str, address: str) -> PciDevice:
    identity = _identity(folder)
    class_code = identity["class"]
    is_display = class_code is not None and class_code.startswith("03")
    is_bridge = class_code is not None and class_code.startswith("0604")
    is_system = class_code is None or class_code.startswith(_SYSTEM)
    boot_vga = _line(folder, "boot_vga") if is_display else None
    override = _line(folder, "driver_override")
    sriov = None if is_bridge else _sriov(folder)
    power_state = None if is_system else _line(folder, "power_state")
    methods = None if is_bridge or is_system else _line(folder, "reset_method")
    read = {} if is_system or _sleeps(folder, power_state) else _configuration(folder, address, sriov)
    if "revision" not in read:
        read["revision"] = _hex(_line(folder, "revision"), 2)
    return PciDevice(
        address=address,
        class_code=class_code,
        vendor_id=identity["vendor"],
        device_id=identity["device"],
        subsystem_vendor_id=identity["subsystem_vendor"],
        subsystem_device_id=identity["subsystem_device"],
        driver=_link_name(folder, "driver"),
        iommu_group=_link_name(folder, "iommu_group"),
        driver_override=None if override in (None, "", "(null)") else override,
        numa_node=_node(_line(folder, "numa_node")),
        boot_vga=None if boot_vga is None else boot_vga == "1",
        parent=_parent(folder),
        consumers=_consumers(folder) if is_display else (),
        power_state=power_state,
        reset_methods=None if methods is None else tuple(methods.split()),
        bars=_bars(_read(folder, "resource")),
        sriov=sriov,
        **read,
    )


def _sleeps(folder: str, power_state: Optional[str]) -> bool:
    """Reading the configuration space of such a device would switch its power on. Kernels before 5.11 do not tell more."""
    if power_state is None:
        return _line(folder, "power/runtime_status") == "suspended"
    return power_state == "D3cold"


def _configuration(folder: str, address: str, sriov: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """As the kernel has it: later functions make a device one of several, and virtual functions are each alone."""
    if sriov is not None and sriov["physical_function"] is not None:
        return read_file(f"{folder}/config", multifunction=False)
    return read_file(f"{folder}/config", multifunction=None if address.endswith(".0") else True)


def _with_reset(devices: List[PciDevice]) -> List[PciDevice]:
    """A kernel that has the attribute hides it for a device that it cannot reset; an older one has it for none."""
    if all(device.reset_methods is None for device in devices):
        return devices
    return [
        device.having(reset_methods=())
        if device.reset_methods is None and device.is_endpoint and not device.has_class(*_SYSTEM)
        else device
        for device in devices
    ]


def _identity(folder: str) -> Dict[str, Optional[str]]:
    """One read of uevent says what otherwise takes five; a copied tree may have only the single files."""
    values = dict(_UEVENT.findall(_read(folder, "uevent") or ""))
    if len(values) == 3:
        vendor, _colon, device = values["PCI_ID"].partition(":")
        subsystem_vendor, _colon, subsystem_device = values["PCI_SUBSYS_ID"].partition(":")
        raw = {"class": values["PCI_CLASS"], "vendor": vendor, "device": device}
        raw.update(subsystem_vendor=subsystem_vendor, subsystem_device=subsystem_device)
    else:
        names = ("class", "vendor", "device", "subsystem_vendor", "subsystem_device")
        raw = {name: _line(folder, name) or "" for name in names}
    identity = {name: _hex(value, 6 if name == "class" else 4) for name, value in raw.items()}
    if identity["subsystem_vendor"] in ("0000", "ffff"):
        # Bridges without a subsystem capability report this; no vendor has these numbers.
        identity["subsystem_vendor"] = identity["subsystem_device"] = None
    return identity


def _read(folder: str, name: str) -> Optional[str]:
    """An attribute is at most one page; without Python's buffering this costs a third, thousands of times over."""
    try:
        handle = os.open(f"{folder}/{name}", os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(handle, 4096).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(handle)


def _line(folder: str, name: str) -> Optional[str]:
    text = _read(folder, name)
    return None if text is None else text.strip()


def _link_name(folder: str, name: str) -> Optional[str]:
    try:
        return os.path.basename(os.readlink(f"{folder}/{name}"))
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _hex(text: Optional[str], width: int) -> Optional[str]:
    try:
        return f"{int(text or '', 16):0{width}x}"
    except ValueError:
        return None


def _node(text: Optional[str]) -> Optional[int]:
    """The kernel writes -1 where the firmware named no node."""
    return int(text) if text is not None and text.isdigit() else None


def _parent(folder: str) -> Optional[str]:
    """The upstream bridge: the last but one part of the path behind the link, where that is a function."""
    try:
        target = os.readlink(folder)
    except OSError:
        return None
    parts = target.rstrip("/").split("/")
    return pci_address.normalize(parts[-2]) if len(parts) > 1 else None


def _consumers(folder: str) -> Tuple[str, ...]:
    """The kernel links the audio and USB functions of a graphics card to its display function."""
    try:
        names = os.listdir(folder)
    except OSError:
        return ()
    prefix = "consumer:pci:"
    return tuple(sorted(name[len(prefix) :] for name in names if name.startswith(prefix)))


def _bars(text: Optional[str]) -> Tuple[Mapping[str, Any], ...]:
    """The first seven lines are the base address registers and the expansion ROM; the rest are bridge windows."""
    found: List[Mapping[str, Any]] = []
    for index, line in enumerate((text or "").split("\n", _RESOURCE_LINES)[:_RESOURCE_LINES]):
        if line.endswith(_UNUSED):
            continue
        try:
            start, end, flags = (int(word, 16) for word in line.split())
        except ValueError:
            continue
        if not flags & (_IO | _MEMORY):
            continue
        found.append(
            {
                "index": index,
                "type": "memory" if flags & _MEMORY else "io",
                "address": f"0x{start:x}",
                "size": end - start + 1,
                "bits": 64 if flags & _64_BIT else 32,
                "prefetchable": bool(flags & _PREFETCHABLE),
                "assigned": start != 0 and not flags & _UNSET,
            }
        )
    return tuple(found)


def _sriov(folder: str) -> Optional[Mapping[str, Any]]:
    physical = _link_name(folder, "physfn")
    total = _line(folder, "sriov_totalvfs")
    if physical is None and total is None:
        return None
    return {
        "total_vfs": _node(total) or 0,
        "num_vfs": _node(_line(folder, "sriov_numvfs")) or 0,
        "physical_function": physical,
    }
