# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes one file of the kubelet, if it still is what was read."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet import facts
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

Backup = Callable[[str], Any]


def replace(
    root: HostRoot,
    path: str,
    content: str,
    sha256: Optional[str],
    mode: int,
    backup: Optional[Backup],
) -> Dict[str, Any]:
    """C(sha256) is that of the file that was read; nothing means that there was none."""
    target = _real(root, path)
    _require(root, target, sha256)
    kept = str(backup(root.path(target))) if backup and sha256 else ""
    # Noted first: a run that ends in between leaves a restart too much, never one too few.
    _note(root, path, kept)
    _require(root, target, sha256)
    root.write_atomic(target, content, mode)
    return {"backup_file": kept}


def _require(root: HostRoot, path: str, sha256: Optional[str]) -> None:
    now = facts.digest(root, path)
    if now != sha256:
        raise KatagpuError(
            f"{path} changed after it was read (sha256 was {sha256 or 'none'}, is {now or 'none'}). It was not written. "
            "Fix: run again; the new content is read and merged then."
        )


def _real(root: HostRoot, path: str) -> str:
    """What a link points to, so that the link stays one."""
    if not os.path.islink(root.path(path)):
        return path
    found = root.resolve(path) if root.is_live else None
    if found is None:
        raise KatagpuError(
            f"{path} is a link that cannot be followed here. It was not written. Fix: name the real file."
        )
    return found


def _note(root: HostRoot, path: str, backup: str) -> None:
    """A kubelet that does not run reads the file when it starts."""
    process = facts.read_process(root)
    if process:
        noted = {"unit": process["unit"], "pid": process["pid"], "started": process["started"]}
        root.write_atomic(facts.PENDING, json.dumps({**noted, "path": path, "backup": backup}) + "\n", 0o644)
