# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of the VFIO family: what the kernel has, and which one a device needs."""

from __future__ import annotations

import fnmatch
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DRIVERS

GENERIC = "vfio-pci"
# Takes a device and does nothing with it.
STUB = "pci-stub"
# With these a group is viable without its member being passed on.
_HARMLESS = (STUB, "pcieport")
_PREFIX = "alias vfio_pci:"
_ALIASES = 64


def is_vfio(driver: Optional[str]) -> bool:
    """Variant drivers are named after their device: C(nvgrace_gpu_vfio_pci), C(mlx5_vfio_pci)."""
    return driver is not None and _normal(driver).endswith("vfio_pci")


def is_viable(driver: Optional[str]) -> bool:
    """Whether a group member with this driver lets the rest of its group be passed on."""
    return driver is None or driver in _HARMLESS or is_vfio(driver)


def same(one: Optional[str], other: Optional[str]) -> bool:
    """The module's name has underscores where that of its driver in sysfs may have hyphens."""
    return one == other or (one is not None and other is not None and _normal(one) == _normal(other))


def module_name(driver: str) -> str:
    return _normal(driver)


def read_drivers(root: HostRoot) -> Dict[str, Any]:
    """Names in sysfs, modules of the running kernel, and the devices that variant drivers name for themselves."""
    folder = f"/lib/modules/{root.read_line('/proc/sys/kernel/osrelease') or ''}"
    known = root.is_dir(folder) and folder != "/lib/modules/"
    aliases = _aliases(root, folder) if known else []
    modules = {module for _pattern, module in aliases}
    registered = [name for name in root.list(PCI_DRIVERS) if is_vfio(name) or name == STUB]
    return {
        "registered": registered,
        "loadable": sorted(modules | (_generic(root, folder) if known else set())) if known else None,
        "variants": [{"pattern": pattern, "module": module} for pattern, module in aliases if module != "vfio_pci"],
    }


def choose(device: PciDevice, drivers: Mapping[str, Any]) -> str:
    """The variant driver that names this device, else the generic one; spelled as sysfs spells it where it is known."""
    alias = _modalias(device)
    matching = [entry for entry in drivers.get("variants") or [] if fnmatch.fnmatchcase(alias, entry["pattern"])]
    if not matching:
        return GENERIC
    module = str(max(matching, key=lambda entry: len(entry["pattern"].replace("*", "")))["module"])
    return spell(module, drivers)


def spell(driver: str, drivers: Mapping[str, Any]) -> str:
    return next((str(name) for name in drivers.get("registered") or [] if same(name, driver)), driver)


def is_available(driver: str, drivers: Mapping[str, Any]) -> Optional[bool]:
    """Nothing where the modules of the kernel could not be read."""
    names = [*(drivers.get("registered") or []), *(drivers.get("loadable") or [])]
    if any(same(name, driver) for name in names):
        return True
    return None if drivers.get("loadable") is None else False


def _normal(name: str) -> str:
    return name.replace("-", "_")


def _modalias(device: PciDevice) -> str:
    code = (device.class_code or "").ljust(6, "0").upper()
    return "v{:0>8}d{:0>8}sv{:0>8}sd{:0>8}bc{}sc{}i{}".format(
        (device.vendor_id or "").upper(),
        (device.device_id or "").upper(),
        (device.subsystem_vendor_id or "").upper(),
        (device.subsystem_device_id or "").upper(),
        code[0:2],
        code[2:4],
        code[4:6],
    )


def _aliases(root: HostRoot, folder: str) -> List[Tuple[str, str]]:
    """The file is larger than other facts, so it is read line by line and only these lines are kept."""
    found: List[Tuple[str, str]] = []
    try:
        with open(root.path(f"{folder}/modules.alias"), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith(_PREFIX):
                    pattern, _space, module = line[len(_PREFIX) :].strip().rpartition(" ")
                    found.append((pattern, module))
    except OSError:
        pass
    return found[:_ALIASES]


def _generic(root: HostRoot, folder: str) -> Set[str]:
    texts = [root.read(f"{folder}/{name}", 4 * 1024 * 1024) or "" for name in ("modules.builtin", "modules.dep")]
    return {module_name(driver) for driver in (GENERIC, STUB) if any(f"/{driver}.ko" in text for text in texts)}
