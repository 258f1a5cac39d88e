# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a device: processes by device number, so that a node in a container's own /dev counts too."""

from __future__ import annotations

import os
import re
from typing import Dict, Iterable, List, Mapping, Optional, Set

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import processes
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Number, Stat, stat_number

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\Z")
_NVIDIA_MINOR = re.compile(r"^Device Minor:\s*(\d+)", re.MULTILINE)
# The driver that a function is on, to the first letters of the names that its nodes have in /proc/devices.
_NVIDIA_NODES: Mapping[str, str] = {"nvidia": "nvidia", "nvidia-nvswitch": "nvidia-nvswitch"}
# Units that use the GPUs of the NVIDIA driver without an end, or again and again.
_NVIDIA_UNITS = (
    "nvidia-persistenced.service",
    "nvidia-fabricmanager.service",
    "nvidia-dcgm.service",
    "nvidia-powerd.service",
    "dcgm-exporter.service",
)
_DISPLAY_MANAGER = "/etc/systemd/system/display-manager.service"
_CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
_HOLDERS = 16


def read_holders(root: HostRoot, addresses: Iterable[str], stat_node: Stat = stat_number) -> Dict[str, List[str]]:
    """Address to holders, such as C(process 812 (Xorg) has /dev/dri/card0); one scan for all devices."""
    wanted = list(addresses)
    numbers, nvidia = _numbers(root, wanted), _nvidia(root, wanted)
    found: Dict[str, List[str]] = {}
    if numbers or nvidia:
        for process, path, number in processes.open_nodes(root, stat_node):
            owners = numbers.get(number) or nvidia.get(number)
            if owners is None:
                owners = nvidia.get(Number(number.kind, number.major, _ANY), set())
            if owners:
                _note(found, owners, f"process {processes.described(root, process)} has {path}")
    for process, named in processes.machines(root, wanted):
        _note(found, named, f"virtual machine {processes.described(root, process)} names it in its command line")
    _kernel_users(root, wanted, found)
    _units(root, wanted, found)
    return found


def _numbers(root: HostRoot, addresses: List[str]) -> Dict[Number, Set[str]]:
    """Every device node of a function: display, sound, disk, input, VFIO."""
    found: Dict[Number, Set[str]] = {}
    for address in addresses:
        folder = root.resolve(f"{PCI_DEVICES}/{address}")
        if folder is None:
            continue
        top = root.path(folder)
        for path, folders, files in os.walk(top):
            if path == top:
                folders[:] = [name for name in folders if not _ADDRESS.match(name)]
            if "dev" in files:
                kind = "block" if "/block/" in path else "char"
                _add(found, kind, root.read_line(root.inside(f"{path}/dev")), address)
        group = root.link_name(f"{PCI_DEVICES}/{address}/iommu_group")
        if group is not None:
            _add(found, "char", root.read_line(f"/sys/class/vfio/{group}/dev"), address)
    return found


def _add(found: Dict[Number, Set[str]], kind: str, text: Optional[str], address: str) -> None:
    major, colon, minor = (text or "").partition(":")
    if colon and major.isdigit() and minor.isdigit():
        found.setdefault(Number(kind, int(major), int(minor)), set()).add(address)


# A minor number that stands for all others of its major number.
_ANY = -1


def _nvidia(root: HostRoot, addresses: List[str]) -> Dict[Number, Set[str]]:
    """The NVIDIA driver's nodes are not in sysfs; those that name no GPU count for all of them."""
    found: Dict[Number, Set[str]] = {}
    for driver, prefix in _NVIDIA_NODES.items():
        bound = set(_on(root, addresses, driver))
        for line in (root.read("/proc/devices") or "").splitlines() if bound else ():
            major, _space, name = line.strip().partition(" ")
            if major.isdigit() and name.strip().startswith(prefix):
                found.setdefault(Number("char", int(major), _ANY), set()).update(bound)
                if name.strip() in ("nvidia", "nvidia-frontend"):
                    found.update(_of_one(root, int(major), bound))
    return found


def _of_one(root: HostRoot, major: int, bound: Set[str]) -> Dict[Number, Set[str]]:
    """The node of each GPU, also of those that nobody asks for, which then count for no other."""
    found: Dict[Number, Set[str]] = {}
    for address in root.list("/proc/driver/nvidia/gpus"):
        match = _NVIDIA_MINOR.search(root.read(f"/proc/driver/nvidia/gpus/{address}/information") or "")
        if match is not None:
            found[Number("char", major, int(match.group(1)))] = {address} & bound
    return found


def _kernel_users(root: HostRoot, addresses: List[str], found: Dict[str, List[str]]) -> None:
    """A reference count above the modules that depend on nvidia means a user that has no process."""
    for address in addresses:
        for name in root.list(f"{PCI_DEVICES}/{address}/graphics"):
            _note(found, [address], f"kernel console on {name}")
    bound = [address for driver in _NVIDIA_NODES for address in _on(root, addresses, driver)]
    if not bound:
        return
    count = root.read_line("/sys/module/nvidia/refcnt") or ""
    holders = root.list("/sys/module/nvidia/holders")
    if count.isdigit() and int(count) > len(holders):
        _note(found, bound, f"kernel: module nvidia has {count} references, {len(holders)} of them by modules")
    # It depends on nvidia_modeset, so nvidia itself need not name it.
    if root.exists("/sys/module/nvidia_drm"):
        values = {name: root.read_line(f"/sys/module/nvidia_drm/parameters/{name}") for name in ("modeset", "fbdev")}
        shown = ", ".join(f"{name}={value}" for name, value in values.items() if value)
        _note(found, bound, "kernel: module nvidia_drm is loaded on top of nvidia" + (f" ({shown})" if shown else ""))
    for line in (root.read("/proc/fb") or "").splitlines():
        if "nvidia" in line:
            _note(found, bound, f"kernel console on fb{line.strip()}")


def _units(root: HostRoot, addresses: List[str], found: Dict[str, List[str]]) -> None:
    """A unit has its control group as long as it is active, and may open the device at any moment."""
    bound = [address for driver in _NVIDIA_NODES for address in _on(root, addresses, driver)]
    displays = [address for address in addresses if root.list(f"{PCI_DEVICES}/{address}/drm")]
    wanted = [(unit, bound) for unit in _NVIDIA_UNITS] + [(root.link_name(_DISPLAY_MANAGER), displays)]
    for unit, users in wanted:
        if users and unit and any(root.is_dir(f"{base}/system.slice/{unit}") for base in _CGROUPS):
            _note(found, users, f"service {unit} is active")


def _on(root: HostRoot, addresses: Iterable[str], driver: str) -> List[str]:
    return [name for name in addresses if root.link_name(f"{PCI_DEVICES}/{name}/driver") == driver]


def _note(found: Dict[str, List[str]], addresses: Iterable[str], holder: str) -> None:
    for address in addresses:
        known = found.setdefault(address, [])
        if holder not in known and len(known) < _HOLDERS:
            known.append(holder)
