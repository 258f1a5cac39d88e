# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be known before a device is handed over: who needs it, who uses it, and what we wrote before."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Iterable, List, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.facts import NO_IOMMU
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import power
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.drivers import read_drivers
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.early import DROP_IN
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.early_facts import read_early
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.holders import read_holders
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.journal import read_journal
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.network import read_network
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.ordering import UNIT, WANTED
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import IOMMU_GROUPS, PCI_DEVICES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Stat, stat_number
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.rules import MODULES_LOAD, RULES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.storage import read_storage

_DRIVERCTL = "/etc/driverctl.d"
# Between two scans, so that a monitor that opens the device now and then is seen.
SCAN_INTERVAL = 2.0


def read_facts(
    root: HostRoot, addresses: Optional[Iterable[str]] = None, ssh_connection: str = "", scans: int = 1
) -> Dict[str, Any]:
    """Without C(addresses), what is in use is looked up for NVIDIA functions and the members of their groups."""
    looked_up = sorted(set(addresses)) if addresses is not None else nvidia_and_members(root)
    critical: Dict[str, List[str]] = {}
    for reasons in (read_storage(root), read_network(root, ssh_connection)):
        for address, texts in reasons.items():
            critical.setdefault(address, []).extend(texts)
    return {
        "critical": {address: critical[address] for address in sorted(critical)},
        "in_use": read_in_use(root, looked_up, scans),
        "looked_up": looked_up,
        "silent": [address for address in looked_up if _is_silent(root, address)],
        "d3cold": power.read_power_off(root, looked_up),
        "idle_d3_disabled": root.read_line(power.IDLE_D3_DISABLED) == "Y",
        "driverctl": _driverctl(root),
        "sriov": _sriov(root),
        "mdev": _mdev(root),
        "noiommu": [
            name for name in root.list(IOMMU_GROUPS) if root.read_line(f"{IOMMU_GROUPS}/{name}/name") == NO_IOMMU
        ],
        "vfio_nodes": root.list("/dev/vfio"),
        "drivers": read_drivers(root),
        "nvidia_version": _nvidia_version(root),
        "mig": _mig(root),
        "journal": read_journal(root),
        "early": read_early(root),
        "persistent_files": {
            path: text for path in (RULES, MODULES_LOAD, DROP_IN, UNIT, WANTED) for text in [root.read(path)] if text
        },
    }


def read_in_use(
    root: HostRoot,
    addresses: Iterable[str],
    scans: int = 1,
    stat_node: Stat = stat_number,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, List[str]]:
    """The union of several scans."""
    wanted = list(addresses)
    found: Dict[str, List[str]] = {}
    for scan in range(scans):
        if scan:
            sleep(SCAN_INTERVAL)
        for address, holders in read_holders(root, wanted, stat_node).items():
            known = found.setdefault(address, [])
            known.extend(holder for holder in holders if holder not in known)
    return {address: found[address] for address in sorted(found)}


def nvidia_and_members(root: HostRoot) -> List[str]:
    found = set()
    for address in root.list(PCI_DEVICES):
        if (root.read_line(f"{PCI_DEVICES}/{address}/vendor") or "").lower() == "0x10de":
            group = root.link_name(f"{PCI_DEVICES}/{address}/iommu_group")
            found.add(address)
            found.update(root.list(f"{IOMMU_GROUPS}/{group}/devices") if group is not None else [])
    return sorted(found)


def _is_silent(root: HostRoot, address: str) -> bool:
    """A device that is off the bus answers every read with ones; one that sleeps would be woken by this and is left alone."""
    if power.sleeps(root, address):
        return False
    try:
        # Without a buffer, because each byte read is an access to the device.
        with open(root.path(f"{PCI_DEVICES}/{address}/config"), "rb", buffering=0) as stream:
            return stream.read(4) == b"\xff\xff\xff\xff"
    except OSError:
        return False


def _driverctl(root: HostRoot) -> Dict[str, str]:
    """Address to the driver that driverctl sets at every boot."""
    found = {}
    for name in root.list(_DRIVERCTL):
        if name.startswith("pci-"):
            found[name[len("pci-") :]] = root.read_line(f"{_DRIVERCTL}/{name}") or ""
    return found


def _sriov(root: HostRoot) -> Dict[str, int]:
    """Address to the number of virtual functions that exist now."""
    found = {}
    for address in root.list(PCI_DEVICES):
        count = root.read_line(f"{PCI_DEVICES}/{address}/sriov_numvfs") or ""
        if count.isdigit() and int(count):
            found[address] = int(count)
    return found


def _mdev(root: HostRoot) -> Dict[str, List[str]]:
    """Address to the mediated devices made from it, which lie below it in sysfs."""
    found: Dict[str, List[str]] = {}
    for name in root.list("/sys/bus/mdev/devices"):
        parts = (root.resolve(f"/sys/bus/mdev/devices/{name}") or "").split("/")
        for part in parts:
            if root.exists(f"{PCI_DEVICES}/{part}") and part:
                found.setdefault(part, []).append(name)
    return found


def _mig(root: HostRoot) -> List[str]:
    """GPUs, as the NVIDIA driver numbers them, that are divided into instances."""
    folder = "/proc/driver/nvidia/capabilities"
    return [
        name
        for name in root.list(folder)
        if name.startswith("gpu") and any(part.startswith("gi") for part in root.list(f"{folder}/{name}/mig"))
    ]


def _nvidia_version(root: HostRoot) -> Optional[str]:
    for word in (root.read("/proc/driver/nvidia/version", 4096) or "").split():
        if word[:1].isdigit() and "." in word:
            return word
    return None
