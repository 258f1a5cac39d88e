# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries a plan out on a host; what runs commands and keeps backups is handed in."""

from __future__ import annotations

import os
from typing import Any, Callable, List, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import drop_in, facts, plan
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

Run = Callable[[List[str]], Tuple[int, str, str]]
Backup = Callable[[str], Any]


def apply(
    root: HostRoot,
    computed: plan.CmdlinePlan,
    present: Sequence[str],
    absent: Sequence[str],
    run: Run,
    backup: Backup,
    execute: bool,
) -> None:
    """A run that ends anywhere in between is finished by the next one, which compares what was generated."""
    for path, text in computed.writes.items():
        if path != drop_in.PATH and os.path.exists(root.path(path)):
            backup(root.path(path))
        if text is None:
            root.remove(path)
        else:
            root.write_atomic(path, text, drop_in.MODE)
    if not execute:
        return
    for command in computed.commands:
        code, out, error = run(command)
        if code != 0:
            written = ", ".join(computed.writes) or "no file"
            raise KatagpuError(
                f"{' '.join(command)} failed with status {code}, after writing {written}. The next boot has the old arguments. "
                f"Fix: solve what it reports and run again. Evidence: {(error or out).strip()[-2000:]}"
            )
    if computed.commands:
        plan.check_generated(facts.read_facts(root), present, absent)
