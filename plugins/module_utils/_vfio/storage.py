# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PCI functions hold the host's file systems and swap, through partitions, device mapper, RAID and multipath."""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional, Set

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import boot_configuration
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES, functions_of

_BLOCK = "/sys/class/block"
_NVME_CONTROLLER = re.compile(r"nvme\d+\Z")
_ESCAPE = re.compile(r"\\([0-7]{3})")
# Depth of stacked devices (LVM on LUKS on RAID on multipath is four); bounds a loop in a broken tree.
_DEPTH = 12
_LIMIT = 2 * 1024 * 1024
# File systems whose mount names no single block device, so that their disks cannot be told from others.
_POOLED = ("zfs", "bcachefs")
_VOLUMES_OF_POOLS = ("zd",)
_STACKED = ("dm-", "md", "bcache", "drbd")
_UNKNOWN = "disks unknown"
_NO_DISK = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "tmpfs", "ramfs", "rootfs", "overlay", "squashfs")


class Mount(NamedTuple):
    number: str
    target: str
    kind: str
    source: str


def read_storage(root: HostRoot) -> Dict[str, List[str]]:
    """Address to reasons such as C(holds /boot)."""
    reasons: Dict[str, List[str]] = {}
    mounts = read_mounts(root)
    for mount in mounts:
        block = _block_of_mount(root, mount)
        if block is not None:
            _note_block(root, reasons, block, f"holds {mount.target}", mount.kind)
        elif mount.kind in _POOLED or (mount.target == "/" and mount.kind not in _NO_DISK and mount.source != "none"):
            _note(
                reasons,
                storage_controllers(root),
                f"may hold {mount.target} ({mount.kind} from {mount.source}, {_UNKNOWN})",
            )
    for source in read_swaps(root):
        block = block_name(root, source) if source.startswith("/dev/") else _block_below(root, mounts, source)
        if block is not None:
            _note_block(root, reasons, block, f"holds swap {source}")
    mounted = {mount.target for mount in mounts}
    for wish in boot_configuration.read_wishes(root):
        block = block_name(root, wish.source)
        if block is not None and wish.target not in mounted:
            _note_block(root, reasons, block, wish.reason)
    _stacked(root, reasons)
    return reasons


def _note_block(root: HostRoot, reasons: Dict[str, List[str]], block: str, reason: str, kind: str = "") -> None:
    for member in _btrfs_members(root, block) if kind == "btrfs" else [block]:
        if member.startswith(_VOLUMES_OF_POOLS):
            _note(reasons, storage_controllers(root), f"may {reason.replace('holds', 'hold', 1)} ({_UNKNOWN})")
        else:
            _note(reasons, addresses_of_block(root, member), reason)


def _stacked(root: HostRoot, reasons: Dict[str, List[str]]) -> None:
    """Arrays and volumes that are assembled without being mounted, as for a database or a storage cluster."""
    for name in root.list(_BLOCK):
        if name.startswith(_STACKED):
            known = root.read_line(f"{_BLOCK}/{name}/dm/name") or name
            idle = addresses_of_block(root, name) - set(reasons)
            _note(reasons, idle, f"is part of {known}")


def _block_below(root: HostRoot, mounts: List[Mount], path: str) -> Optional[str]:
    """Of the file system with a file, such as one to swap to."""
    holding = [mount for mount in mounts if path.startswith(mount.target.rstrip("/") + "/")]
    return _block_of_mount(root, max(holding, key=lambda mount: len(mount.target))) if holding else None


def read_mounts(root: HostRoot, process: str = "1") -> List[Mount]:
    """Mounts of the first process where readable: those of the host, even if this one runs in a container."""
    for path in (f"/proc/{process}/mountinfo", "/proc/self/mountinfo"):
        text = root.read(path, _LIMIT)
        if text:
            return _parse_mountinfo(text)
    return _parse_mounts(root.read("/proc/mounts", _LIMIT) or "")


def read_swaps(root: HostRoot) -> List[str]:
    lines = (root.read("/proc/swaps") or "").splitlines()[1:]
    return [_unescape(line.split()[0]) for line in lines if line.split()]


def storage_controllers(root: HostRoot) -> Set[str]:
    """Functions with at least one block device below them, and all of the storage class."""
    found = {
        address for name in root.list(_BLOCK) for address in functions_of(root, root.resolve(f"{_BLOCK}/{name}") or "")
    }
    for address in root.list(PCI_DEVICES):
        if (root.read_line(f"{PCI_DEVICES}/{address}/class") or "").startswith("0x01"):
            found.add(address)
    return found


def addresses_of_block(root: HostRoot, name: str, depth: int = 0) -> Set[str]:
    """A device may lie on several: the members of an array, the paths of a multipath device."""
    path = root.resolve(f"{_BLOCK}/{name}")
    if path is None or depth > _DEPTH:
        return set()
    found: Set[str] = set(functions_of(root, path))
    folder = path if root.is_dir(f"{path}/slaves") else path.rpartition("/")[0]
    for slave in root.list(f"{path}/slaves") or root.list(f"{folder}/slaves"):
        found |= addresses_of_block(root, slave, depth + 1)
    if "/nvme-subsystem/" in path:
        # With native multipath the disk is below a virtual subsystem, which links to its controllers.
        subsystem = path.split("/nvme-subsystem/")[1].split("/")[0]
        base = path.split("/nvme-subsystem/")[0] + "/nvme-subsystem/" + subsystem
        for controller in root.list(base):
            if _NVME_CONTROLLER.match(controller):
                found.update(functions_of(root, root.resolve(f"{base}/{controller}") or ""))
    return found


def _block_of_mount(root: HostRoot, mount: Mount) -> Optional[str]:
    if mount.number and not mount.number.startswith("0:"):
        path = root.resolve(f"/sys/dev/block/{mount.number}")
        if path is not None:
            return path.rpartition("/")[2]
    return block_name(root, mount.source)


def _btrfs_members(root: HostRoot, block: str) -> List[str]:
    """All disks of the file system, of which a mount names only one."""
    for identity in root.list("/sys/fs/btrfs"):
        members = root.list(f"/sys/fs/btrfs/{identity}/devices")
        if block in members:
            return members
    return [block]


def block_name(root: HostRoot, source: str) -> Optional[str]:
    """Btrfs mounts have an anonymous number, and /dev/mapper names are links: the source decides then."""
    if not source.startswith("/dev/"):
        return None
    for candidate in (root.resolve(source) or source, source):
        name = candidate.rpartition("/")[2]
        if root.exists(f"{_BLOCK}/{name}"):
            return name
    for name in root.list(_BLOCK):
        if name.startswith("dm-") and root.read_line(f"{_BLOCK}/{name}/dm/name") == source.rpartition("/")[2]:
            return name
    return None


def _parse_mountinfo(text: str) -> List[Mount]:
    mounts = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        first, second = left.split(), right.split()
        if separator and len(first) >= 5 and len(second) >= 2:
            mounts.append(Mount(first[2], _unescape(first[4]), second[0], _unescape(second[1])))
    return mounts


def _parse_mounts(text: str) -> List[Mount]:
    rows = [line.split() for line in text.splitlines()]
    return [Mount("", _unescape(row[1]), row[2], _unescape(row[0])) for row in rows if len(row) >= 3]


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), text)


def _note(reasons: Dict[str, List[str]], addresses: Set[str], reason: str) -> None:
    for address in addresses:
        known = reasons.setdefault(address, [])
        if reason not in known:
            known.append(reason)
