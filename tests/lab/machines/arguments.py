# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base disk with other kernel arguments from its first boot on, as if GRUB had been configured so."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

from tests.lab import paths
from tests.lab.errors import LabError
from tests.lab.machines import image, recipe

_FILES = ("/etc/default/grub", "/boot/grub/grub.cfg")


def with_arguments(base: Path, arguments: str, progress: image.Progress) -> Path:
    """Cached beside the base disk. Safe to call from several processes."""
    if arguments == recipe.KERNEL_ARGUMENTS:
        return base
    final = base.with_name(f"arguments-{hashlib.sha256(arguments.encode()).hexdigest()[:8]}.qcow2")
    if final.exists():
        return final
    with open(paths.IMAGES / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.exists():
            return final
        progress(f"base disk with the kernel arguments {arguments}")
        log = paths.ensure(paths.LOGS) / "image.log"
        with tempfile.TemporaryDirectory(prefix="build-", dir=paths.IMAGES) as folder:
            work = Path(folder)
            disk, ready = work / "disk.raw", work / "ready.qcow2"
            image.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", base, disk], log, "qemu-img convert")
            for name in _FILES:
                _edit(disk, name, work / "edited", arguments, log)
            image.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, ready], log, "qemu-img convert")
            os.rename(ready, final)
    return final


def _edit(disk: Path, name: str, copy: Path, arguments: str, log: Path) -> None:
    """A file on the disk's file system, without mounting it."""
    debugfs, system = image.which("debugfs") or "debugfs", f"{disk}?offset={recipe.PARTITION_OFFSET}"
    copy.unlink(missing_ok=True)
    image.run([debugfs, "-R", f"dump -p {name} {copy}", system], log, "debugfs")
    text = copy.read_text(encoding="utf-8") if copy.exists() else ""
    if recipe.KERNEL_ARGUMENTS not in text:
        raise LabError(f"{name} of the base disk does not have the kernel arguments {recipe.KERNEL_ARGUMENTS}")
    mode = copy.stat().st_mode
    copy.write_text(text.replace(recipe.KERNEL_ARGUMENTS, arguments), encoding="utf-8")
    copy.chmod(mode)
    commands = copy.with_name("commands")
    folder, _, file = name.rpartition("/")
    commands.write_text(f"cd {folder}\nrm {file}\nwrite {copy} {file}\n", encoding="utf-8")
    image.run([debugfs, "-w", "-f", commands, system], log, "debugfs")
