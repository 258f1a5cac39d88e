# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device nodes processes have open or mapped, in whichever container they run and by whichever thread."""

from __future__ import annotations

import os
import platform
import re
import stat
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

try:
    import ctypes

    _LIBC: Optional[ctypes.CDLL] = ctypes.CDLL(None)
except (ImportError, OSError):  # A Python without it, or a system without a shared C library.
    _LIBC = None

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.storage import read_mounts

_NOT_DEVICES = ("socket:", "pipe:", "anon_inode:", "/memfd:", "/dmabuf:")
# Asking such a file system for a file's state may never return.
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "fuse", "lustre")
_KCMP = {"x86_64": 312, "aarch64": 272, "ppc64le": 354}
_KCMP_FILES = 2
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")
_MACHINES = ("qemu", "kvm", "cloud-hypervisor", "crosvm")


class Number(NamedTuple):
    """What identifies a device node, whatever its path."""

    kind: str
    major: int
    minor: int


Stat = Callable[[str], Optional[Number]]
# Whether two threads have the same table of open files; nothing where that cannot be told.
SharesFiles = Callable[[str, str], Optional[bool]]


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


def kernel_compares(one: str, other: str) -> Optional[bool]:
    """By kcmp(2), which costs a fraction of comparing what the two tables hold."""
    call = _KCMP.get(platform.machine())
    if call is None or _LIBC is None:
        return None
    result = int(_LIBC.syscall(call, int(one), int(other), _KCMP_FILES, 0, 0))
    return None if result < 0 else result == 0


def open_nodes(
    root: HostRoot, stat_node: Stat = stat_number, shares_files: Optional[SharesFiles] = None
) -> Iterator[Tuple[str, str, Number]]:
    """Process id, path as the process sees it, and number. A process that ends meanwhile is left out."""
    same = shares_files or (kernel_compares if root.is_live else lambda one, other: None)
    remote = _Remote(root)
    for process in _processes(root):
        avoided = remote.below(process)
        seen = set()
        for paths, target in _targets(root, process, same):
            if target.startswith(_NOT_DEVICES) or (avoided and target.startswith(avoided)):
                continue
            number = next((found for found in map(stat_node, paths) if found is not None), None)
            if number is not None and number not in seen:
                seen.add(number)
                yield process, target, number


def described(root: HostRoot, process: str) -> str:
    """Such as C(812 (nvidia-persiste, nvidia-persistenced.service)), which says what is to be stopped."""
    name = root.read_line(f"/proc/{process}/comm") or "unknown"
    unit = unit_of(root.read(f"/proc/{process}/cgroup") or "")
    return f"{process} ({name}, {unit})" if unit else f"{process} ({name})"


def unit_of(cgroups: str) -> Optional[str]:
    """The pod, else the innermost unit of systemd that is more than a slice."""
    paths = [line.split(":", 2)[2] for line in cgroups.splitlines() if re.match(r"\d+:(?:|name=systemd):/", line)]
    for path in paths:
        pod = _POD.search(path)
        if pod is not None:
            return f"pod {pod.group(1).replace('_', '-')}"
        for part in reversed(path.split("/")):
            if part.endswith((".service", ".scope")):
                return part
    return None


def machines(root: HostRoot, addresses: Iterable[str]) -> Iterator[Tuple[str, List[str]]]:
    """Virtual machines that name one of the addresses in their command line, also while they have no file of it open."""
    spelled = {address: re.compile(_spellings(address)) for address in addresses}
    for process in _processes(root):
        words = (root.read(f"/proc/{process}/cmdline", 128 * 1024) or "").split("\0")
        if os.path.basename(words[0]).startswith(_MACHINES):
            text = "\0".join(words[1:])
            named = [address for address, pattern in spelled.items() if pattern.search(text)]
            if named:
                yield process, named


def _spellings(address: str) -> str:
    """QEMU takes C(host=65:00.0) too."""
    domain, _colon, short = address.partition(":")
    prefix = rf"(?:{domain}:)?" if domain == "0000" else f"{domain}:"
    return rf"(?<![0-9a-f:]){prefix}{re.escape(short)}(?![0-9])"


def _processes(root: HostRoot) -> List[str]:
    return [name for name in root.list("/proc") if name.isdigit()]


def _targets(root: HostRoot, process: str, same: SharesFiles) -> Iterator[Tuple[List[str], str]]:
    """Of all threads: one may have a table of its own, and where the first has ended only the others have one."""
    folder = f"/proc/{process}"
    yield from _descriptors(root, folder)
    others = [name for name in root.list(f"{folder}/task") if name != process]
    for thread in others:
        if not same(process, thread):
            yield from _descriptors(root, f"{folder}/task/{thread}")
    # Each thread has a folder of this kind too, though none that is listed.
    ended = others and not root.read_bytes(f"{folder}/maps", 1)
    yield from _mappings(root, f"/proc/{others[0]}" if ended else folder)


def _descriptors(root: HostRoot, folder: str) -> Iterator[Tuple[List[str], str]]:
    for descriptor in root.list(f"{folder}/fd"):
        path = root.path(f"{folder}/fd/{descriptor}")
        try:
            target = os.readlink(path)
        except OSError:
            continue
        yield [path], target


def _mappings(root: HostRoot, folder: str) -> Iterator[Tuple[List[str], str]]:
    """A mapping outlives the descriptor it was made with. Devices are mapped shared, or stand below /dev."""
    try:
        with open(root.path(f"{folder}/maps"), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                words = line.rstrip("\n").split(None, 5)
                if len(words) < 6 or not (words[5].startswith("/dev/") or (words[1][3:] == "s" and words[5][0] == "/")):
                    continue
                start, _dash, end = words[0].partition("-")
                # The link reaches a node that was removed since; only privileged processes may follow it.
                link = f"{folder}/map_files/{start.lstrip('0')}-{end.lstrip('0')}"
                yield [root.path(link), root.path(f"{folder}/root{words[5]}")], words[5]
    except OSError:
        return


class _Remote:
    """Paths that are not touched, for each mount namespace, because containers mount what the host does not."""

    def __init__(self, root: HostRoot) -> None:
        self._root = root
        self._known: Dict[Optional[str], Tuple[str, ...]] = {}

    def below(self, process: str) -> Tuple[str, ...]:
        space = self._root.link_name(f"/proc/{process}/ns/mnt")
        if space not in self._known:
            mounts = read_mounts(self._root, process if space is not None else "1")
            self._known[space] = tuple(
                mount.target.rstrip("/") + "/" for mount in mounts if mount.kind.partition(".")[0] in _REMOTE
            )
        return self._known[space]
