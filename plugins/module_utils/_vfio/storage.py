# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PCI functions hold the host's file systems and swap, through partitions, device mapper, RAID and multipath."""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional, Set

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES, pci_address_of

_BLOCK = "/sys/class/block"
_NVME_CONTROLLER = re.compile(r"nvme\d+\Z")
_ESCAPE = re.compile(r"\\([0-7]{3})")
# Depth of stacked devices (LVM on LUKS on RAID on multipath is four); bounds a loop in a broken tree.
_DEPTH = 12
_LIMIT = 2 * 1024 * 1024
# File systems whose mount names no single block device, so that their disks cannot be told from others.
_POOLED = ("zfs", "bcachefs")
_NO_DISK = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "tmpfs", "ramfs", "rootfs", "overlay", "squashfs")


class Mount(NamedTuple):
    number: str
    target: str
    kind: str
    source: str


def read_storage(root: HostRoot) -> Dict[str, List[str]]:
    """Address to reasons such as C(holds /boot)."""
    reasons: Dict[str, List[str]] = {}
    for mount in read_mounts(root):
        block = _block_of_mount(root, mount)
        if block is not None:
            for member in _btrfs_members(root, block) if mount.kind == "btrfs" else [block]:
                _note(reasons, addresses_of_block(root, member), f"holds {mount.target}")
        elif mount.kind in _POOLED or (mount.target == "/" and mount.kind not in _NO_DISK and mount.source != "none"):
            everything = storage_controllers(root)
            _note(reasons, everything, f"may hold {mount.target} ({mount.kind} from {mount.source}, disks unknown)")
    for source in read_swaps(root):
        name = _block_name(root, source)
        if name is not None:
            _note(reasons, addresses_of_block(root, name), f"holds swap {source}")
    return reasons


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
    found = {pci_address_of(root.resolve(f"{_BLOCK}/{name}") or "") for name in root.list(_BLOCK)}
    for address in root.list(PCI_DEVICES):
        if (root.read_line(f"{PCI_DEVICES}/{address}/class") or "").startswith("0x01"):
            found.add(address)
    return {address for address in found if address is not None}


def addresses_of_block(root: HostRoot, name: str, depth: int = 0) -> Set[str]:
    """A device may lie on several: the members of an array, the paths of a multipath device."""
    path = root.resolve(f"{_BLOCK}/{name}")
    if path is None or depth > _DEPTH:
        return set()
    found: Set[str] = set()
    address = pci_address_of(path)
    if address is not None:
        found.add(address)
    folder = path if root.is_dir(f"{path}/slaves") else path.rpartition("/")[0]
    for slave in root.list(f"{path}/slaves") or root.list(f"{folder}/slaves"):
        found |= addresses_of_block(root, slave, depth + 1)
    if address is None and "/nvme-subsystem/" in path:
        # With native multipath the disk is below a virtual subsystem, which links to its controllers.
        subsystem = path.split("/nvme-subsystem/")[1].split("/")[0]
        base = path.split("/nvme-subsystem/")[0] + "/nvme-subsystem/" + subsystem
        for controller in root.list(base):
            if _NVME_CONTROLLER.match(controller):
                found.add(pci_address_of(root.resolve(f"{base}/{controller}") or "") or "")
    return found - {""}


def _block_of_mount(root: HostRoot, mount: Mount) -> Optional[str]:
    if mount.number and not mount.number.startswith("0:"):
        path = root.resolve(f"/sys/dev/block/{mount.number}")
        if path is not None:
            return path.rpartition("/")[2]
    return _block_name(root, mount.source)


def _btrfs_members(root: HostRoot, block: str) -> List[str]:
    """All disks of the file system, of which a mount names only one."""
    for identity in root.list("/sys/fs/btrfs"):
        members = root.list(f"/sys/fs/btrfs/{identity}/devices")
        if block in members:
            return members
    return [block]


def _block_name(root: HostRoot, source: str) -> Optional[str]:
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
