# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File access below one root, so that every reader and writer also works on a copied tree."""

from __future__ import annotations

import os
import stat
from typing import List, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

READ_LIMIT = 256 * 1024


class HostRoot:
    """Paths are given as on the host (C(/sys/...)) and looked up below C(root)."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root)

    @property
    def is_live(self) -> bool:
        """Whether this is the running system and not a copied tree."""
        return self.root == "/"

    def path(self, absolute: str) -> str:
        if self.is_live:
            return absolute
        return os.path.join(self.root, absolute.lstrip("/"))

    def inside(self, real_path: str) -> str:
        """The host's view of a path of this machine."""
        if self.is_live:
            return real_path
        return "/" + os.path.relpath(real_path, self.root)

    def read_bytes(self, absolute: str, limit: int = READ_LIMIT) -> Optional[bytes]:
        """Up to C(limit) bytes, or nothing where the file is absent or cannot be read."""
        try:
            with open(self.path(absolute), "rb") as handle:
                return handle.read(limit)
        except OSError:
            return None

    def read(self, absolute: str, limit: int = READ_LIMIT) -> Optional[str]:
        data = self.read_bytes(absolute, limit)
        return None if data is None else data.decode("utf-8", "replace")

    def read_line(self, absolute: str) -> Optional[str]:
        text = self.read(absolute, 4096)
        return None if text is None else text.strip()

    def list(self, absolute: str) -> List[str]:
        """Sorted names, none where the folder is absent."""
        try:
            return sorted(os.listdir(self.path(absolute)))
        except OSError:
            return []

    def exists(self, absolute: str) -> bool:
        return os.path.exists(self.path(absolute))

    def is_dir(self, absolute: str) -> bool:
        return os.path.isdir(self.path(absolute))

    def link_name(self, absolute: str) -> Optional[str]:
        """The last part of what a symbolic link points to, as sysfs uses them for drivers and groups."""
        try:
            return os.path.basename(os.readlink(self.path(absolute)))
        except OSError:
            return None

    def resolve(self, absolute: str) -> Optional[str]:
        """The canonical path, as the host sees it, or nothing where it does not exist."""
        real = os.path.realpath(self.path(absolute))
        return self.inside(real) if os.path.exists(real) else None

    def mode(self, absolute: str) -> Optional[int]:
        try:
            return stat.S_IMODE(os.stat(self.path(absolute)).st_mode)
        except OSError:
            return None

    def modified(self, absolute: str) -> Optional[float]:
        """When the content was last written, in seconds since the epoch."""
        try:
            return os.stat(self.path(absolute)).st_mtime
        except OSError:
            return None

    def set_modified(self, absolute: str, seconds: float) -> None:
        os.utime(self.path(absolute), (seconds, seconds))

    def write_atomic(self, absolute: str, text: str, mode: int = 0o644) -> None:
        """Writes beside the target and renames; an existing file keeps its mode and owner, a link stays one."""
        # Below another root a link may point to this machine's own files.
        target = os.path.realpath(absolute) if self.is_live else self.path(absolute)
        try:
            _replace(target, text, mode)
        except OSError as error:
            raise KatagpuError(
                f"{absolute} could not be written: {error.strerror or error}. It is as it was. "
                f"Fix: see to it that root can write to {os.path.dirname(absolute)} (read-only, full), then run again."
            ) from error

    def replace(self, new: str, absolute: str) -> None:
        """A file that somebody else has written beside the target takes its place, with mode and owner of the old one."""
        try:
            handle = os.open(self.path(new), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            _take_place(self.path(new), self.path(absolute), None)
        except OSError as error:
            raise KatagpuError(
                f"{absolute} could not be replaced: {error.strerror or error}. It is as it was. "
                f"Fix: see to it that root can write to {os.path.dirname(absolute)} (read-only, full), then run again."
            ) from error

    def remove(self, absolute: str) -> None:
        try:
            os.unlink(self.path(absolute))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise KatagpuError(
                f"{absolute} could not be removed: {error.strerror or error}. It is as it was. "
                f"Fix: see to it that root can write to {os.path.dirname(absolute)}, then run again."
            ) from error


def _replace(target: str, text: str, mode: int) -> None:
    folder, name = os.path.split(target)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    # Always the same name, so that what a power cut leaves behind is gone after the next run.
    temporary = os.path.join(folder, f".katagpu-{name}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        _take_place(temporary, target, mode)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


def _take_place(temporary: str, target: str, mode: Optional[int]) -> None:
    """C(mode) is for a file that is not there yet."""
    try:
        before = os.stat(target)
        os.chmod(temporary, stat.S_IMODE(before.st_mode))
        os.chown(temporary, before.st_uid, before.st_gid)
        _copy_label(target, temporary)
    except FileNotFoundError:
        if mode is not None:
            os.chmod(temporary, mode)
    os.rename(temporary, target)
    _sync_folder(os.path.dirname(target))


def _copy_label(source: str, target: str) -> None:
    """The label of SELinux, which a new file would get from its folder; where there is none, nothing is to do."""
    try:
        os.setxattr(target, "security.selinux", os.getxattr(source, "security.selinux"))
    except OSError:
        pass


def _sync_folder(folder: str) -> None:
    """So that the new name survives a power cut; not every file system can do it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
