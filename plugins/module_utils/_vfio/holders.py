# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a device: processes by device number, so that a node in a container's own /dev counts too."""

from __future__ import annotations

import os
import re
import stat
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.storage import read_mounts

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\Z")
_NOT_DEVICES = ("socket:", "pipe:", "anon_inode:", "/memfd:")
# Asking such a file system for a file's state may never return.
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "fuse", "lustre")
_NVIDIA_MINOR = re.compile(r"^Device Minor:\s*(\d+)", re.MULTILINE)
# Minor numbers below this are GPUs; 255 is the control node of all of them.
_NVIDIA_CONTROL = 254
_HOLDERS = 16


class Number(NamedTuple):
    """What identifies a device node, whatever its path."""

    kind: str
    major: int
    minor: int


Stat = Callable[[str], Optional[Number]]


def stat_number(path: str) -> Optional[Number]:
    try:
        state = os.stat(path)
    except OSError:
        return None
    if stat.S_ISCHR(state.st_mode):
        return Number("char", os.major(state.st_rdev), os.minor(state.st_rdev))
    if stat.S_ISBLK(state.st_mode):
        return Number("block", os.major(state.st_rdev), os.minor(state.st_rdev))
    return None


def read_holders(root: HostRoot, addresses: Iterable[str], stat_node: Stat = stat_number) -> Dict[str, List[str]]:
    """Address to holders, such as C(process 812 (Xorg) has /dev/dri/card0); one scan for all devices."""
    wanted = list(addresses)
    numbers, nvidia = _numbers(root, wanted), _nvidia(root, wanted)
    found: Dict[str, List[str]] = {}
    for address in wanted:
        for name in root.list(f"{PCI_DEVICES}/{address}/graphics"):
            _note(found, [address], f"kernel console on {name}")
    if numbers or nvidia:
        for process, path, number in _open_nodes(root, stat_node):
            owners = numbers.get(number, set()) | nvidia.get(number, set())
            owners |= nvidia.get(Number(number.kind, number.major, -1), set()) if not owners else set()
            _note(found, owners, f"process {process} has {path}")
    _kernel_users(root, wanted, found)
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


def _nvidia(root: HostRoot, addresses: List[str]) -> Dict[Number, Set[str]]:
    """The NVIDIA driver's nodes are not in sysfs; nodes that name no GPU count for all of them (minor -1)."""
    bound = {name for name in addresses if (root.link_name(f"{PCI_DEVICES}/{name}/driver") or "") == "nvidia"}
    found: Dict[Number, Set[str]] = {}
    if not bound:
        return found
    for line in (root.read("/proc/devices") or "").splitlines():
        major, _space, name = line.strip().partition(" ")
        if not (major.isdigit() and name.strip().startswith("nvidia")):
            continue
        found[Number("char", int(major), -1)] = set(bound)
        if name.strip() in ("nvidia", "nvidia-frontend"):
            for address in bound:
                text = root.read(f"/proc/driver/nvidia/gpus/{address}/information") or ""
                match = _NVIDIA_MINOR.search(text)
                if match and int(match.group(1)) < _NVIDIA_CONTROL:
                    found.setdefault(Number("char", int(major), int(match.group(1))), set()).add(address)
    return found


def _open_nodes(root: HostRoot, stat_node: Stat) -> Iterable[Tuple[str, str, Number]]:
    remote = tuple(
        mount.target.rstrip("/") + "/" for mount in read_mounts(root) if mount.kind.partition(".")[0] in _REMOTE
    )
    for process in root.list("/proc"):
        if not process.isdigit():
            continue
        seen: Set[str] = set()
        for path, target in _targets(root, process):
            if target in seen or target.startswith(_NOT_DEVICES) or (remote and target.startswith(remote)):
                continue
            seen.add(target)
            number = stat_node(path)
            if number is not None:
                name = root.read_line(f"/proc/{process}/comm") or "unknown"
                yield f"{process} ({name})", target, number


def _targets(root: HostRoot, process: str) -> Iterable[Tuple[str, str]]:
    """Open files, and mappings that outlive the descriptor they were made with."""
    folder = f"/proc/{process}/fd"
    for descriptor in root.list(folder):
        path = root.path(f"{folder}/{descriptor}")
        try:
            yield path, os.readlink(path)
        except OSError:
            continue
    for line in (root.read(f"/proc/{process}/maps", 1024 * 1024) or "").splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/dev/"):
            yield root.path(f"/proc/{process}/root{words[5]}"), words[5]


def _kernel_users(root: HostRoot, addresses: List[str], found: Dict[str, List[str]]) -> None:
    """A reference count above the modules that depend on nvidia means a user that has no process."""
    bound = [name for name in addresses if (root.link_name(f"{PCI_DEVICES}/{name}/driver") or "") == "nvidia"]
    count = root.read_line("/sys/module/nvidia/refcnt") or ""
    holders = root.list("/sys/module/nvidia/holders")
    if bound and count.isdigit() and int(count) > len(holders):
        _note(found, bound, f"kernel: module nvidia has {count} references, {len(holders)} of them by modules")
    if bound and "nvidia_drm" in holders:
        _note(found, bound, "kernel: module nvidia_drm is loaded on top of nvidia")


def _note(found: Dict[str, List[str]], addresses: Iterable[str], holder: str) -> None:
    for address in addresses:
        known = found.setdefault(address, [])
        if holder not in known and len(known) < _HOLDERS:
            known.append(holder)
