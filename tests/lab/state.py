# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's record of what it started: one JSON file, written atomically and only under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab import paths

State = dict[str, Any]


def _empty() -> State:
    return {"processes": {}, "machines": {}}


def load(path: Path | None = None) -> State:
    """The state as last saved; an absent file is an empty state."""
    path = path or paths.STATE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _empty()
    return {**_empty(), **content}


def _save(state: State, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)


@contextlib.contextmanager
def locked(path: Path | None = None) -> Iterator[State]:
    """Hold the lock, yield the state, save it when the block ends without an exception.

    Keep the block short and do not nest it: the lock is exclusive, also between threads.
    """
    path = path or paths.STATE_FILE
    paths.ensure(path.parent)
    with open(path.with_name(f"{path.name}.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = load(path)
        yield state
        _save(state, path)


def save(state: State, path: Path | None = None) -> None:
    """Replace the whole state. Prefer locked(), which cannot lose what another process wrote."""
    path = path or paths.STATE_FILE
    with locked(path) as current:
        current.clear()
        current.update(state)
