# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries a plan out on a host; what runs commands and keeps backups is handed in."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import drop_in, facts, generate, hints, plan
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

Backup = Callable[[str], Any]

# The names of backups have characters that a FAT file system refuses, and boot loaders read every file of these folders.
BACKUPS = "/var/lib/katagpu/backup"
_NEW_MODES = {drop_in.PATH: drop_in.MODE}


def apply(
    root: HostRoot,
    computed: plan.CmdlinePlan,
    present: Sequence[str],
    absent: Sequence[str],
    run: generate.Run,
    backup: Backup,
    execute: bool,
) -> None:
    """A run that ends anywhere in between is finished by the next one, which reads all of it again."""
    for path, text in computed.writes.items():
        if path != drop_in.PATH and os.path.exists(root.path(path)):
            _keep(root, path, computed.before[path] or "", backup)
        if text is None:
            root.remove(path)
        else:
            root.write_atomic(path, text, _NEW_MODES.get(path, 0o644))
    _order_ages(root, computed.touch)
    if not execute and computed.commands:
        return
    for command in computed.commands:
        code, out, error = generate.run(root, command, run)
        if code != 0:
            written = ", ".join(computed.writes) or "no file"
            raise KatagpuError(
                f"{' '.join(command)} failed with status {code}, after writing {written}. The next boot has the old arguments. "
                f"Fix: solve what it reports and run again. Evidence: {(error or out).strip()[-2000:]}"
            )
    if computed.commands or computed.writes:
        plan.check_generated(facts.read_facts(root), present, absent)


def _keep(root: HostRoot, path: str, before: str, backup: Backup) -> None:
    """What was there before the first change by this collection is worth most, so a copy of ours is not replaced."""
    if not path.startswith(("/boot/", "/efi/")):
        backup(root.path(path))
        return
    copy = f"{BACKUPS}{path}"
    if not root.exists(copy):
        root.write_atomic(copy, before, 0o600)


def _order_ages(root: HostRoot, touch: Dict[str, bool]) -> None:
    defaults = root.modified(hints.DEFAULTS)
    for path, younger in touch.items():
        modified = root.modified(path)
        if defaults is not None and modified is not None and (modified >= defaults) is not younger:
            root.set_modified(path, defaults if younger else defaults - 1)
