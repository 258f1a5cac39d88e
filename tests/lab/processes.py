# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, recognise and end the lab's processes.

A process is known by its pid *and* its start time (clock ticks since boot, field 22 of /proc/PID/stat), so a pid that
the kernel gave to somebody else meanwhile is never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab import paths, state


def start_time(pid: int) -> int | None:
    """Start time of a living process, or None when there is none (a zombie counts as none)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may itself contain spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    if not fields or fields[0] in ("Z", "X"):
        return None
    return int(fields[19])


def is_ours(record: Mapping[str, Any]) -> bool:
    """Whether the recorded process still runs and is the one that was recorded."""
    pid = record.get("pid")
    began = record.get("start_time")
    return isinstance(pid, int) and began is not None and start_time(pid) == began


def rss_kib(pid: int) -> int:
    """Resident memory of a process in KiB, shared pages included; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def age_seconds(record: Mapping[str, Any]) -> float:
    """How long a recorded process has been running."""
    ticks = os.sysconf("SC_CLK_TCK")
    uptime = float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
    return uptime - int(record["start_time"]) / ticks


def spawn(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> dict[str, Any]:
    """Start a process that outlives this one, its output appended to the log; return its record (not yet saved)."""
    paths.ensure(log.parent)
    with open(log, "ab") as output:
        child = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **env} if env else None,
            cwd=cwd or paths.REPO,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    _children[child.pid] = child
    return {"pid": child.pid, "start_time": start_time(child.pid), "log": str(log), "argv": [str(w) for w in argv]}


# Children of this very process must be reaped, or they stay zombies until it ends.
_children: dict[int, subprocess.Popen[bytes]] = {}


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def start(
    name: str,
    argv: Sequence[str | Path],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Start a named process and record it; when it runs already, its existing record is returned."""
    existing = find(name)
    if existing is not None:
        return existing
    record = spawn(argv, log or paths.LOGS / f"{name}.log", env=env, cwd=cwd) | extra
    with state.locked() as current:
        current["processes"][name] = record
    return record


def find(name: str) -> dict[str, Any] | None:
    """The record of a named process that still runs, else None."""
    record: dict[str, Any] | None = state.load()["processes"].get(name)
    if record is None:
        return None
    _reap(int(record["pid"]))
    return record if is_ours(record) else None


def running() -> dict[str, dict[str, Any]]:
    """All recorded processes that still run, by name."""
    return {name: record for name, record in state.load()["processes"].items() if is_ours(record)}


def _signal(record: Mapping[str, Any], number: int) -> None:
    # A pidfd closes the gap between looking at the start time and sending the signal.
    try:
        descriptor = os.pidfd_open(int(record["pid"]))
    except ProcessLookupError:
        return
    try:
        if is_ours(record):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def end(record: Mapping[str, Any], timeout_seconds: float = 10.0) -> bool:
    """End a recorded process: SIGTERM, then SIGKILL. False when it was not there (any more) or is not ours."""
    if not is_ours(record):
        return False
    _signal(record, signal.SIGTERM)
    for number, patience in ((signal.SIGKILL, timeout_seconds), (None, 5.0)):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            _reap(int(record["pid"]))
            if not is_ours(record):
                return True
            time.sleep(0.05)
        if number is not None:
            _signal(record, number)
    return not is_ours(record)


def stop(name: str, timeout_seconds: float = 10.0) -> bool:
    """End a named process and forget it. False when it did not run."""
    record = state.load()["processes"].get(name)
    if record is None:
        return False
    ended = end(record, timeout_seconds)
    with state.locked() as current:
        if current["processes"].get(name, {}).get("pid") == record["pid"]:
            del current["processes"][name]
    return ended
