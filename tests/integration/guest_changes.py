# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes in a guest while something else goes on, as its own kernel tells it."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.lab.machines import lifecycle

WATCH = Path(__file__).with_name("guest_watch.py")


@contextlib.contextmanager
def watched(machine: str, paths: Sequence[str], cut: int = 0) -> Iterator[Callable[[], list[str]]]:
    """Begins when the kernel watches. Gives what asks for the changes so far; with C(cut) the power goes at that change."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "changes")
        remote = f"python3 - {cut} {' '.join(paths)}"
        command = lifecycle.ssh_command(lifecycle.profile_of(machine), [remote])
        with WATCH.open("rb") as script, file.open("wb") as output:
            process = subprocess.Popen(command, stdin=script, stdout=output)
        try:
            deadline = time.monotonic() + 60
            while not file.read_bytes().startswith(b"watching"):
                assert process.poll() is None and time.monotonic() < deadline, "the watcher did not start"
                time.sleep(0.2)
            yield lambda: file.read_text(encoding="utf-8").splitlines()[1:]
        finally:
            process.kill()
            process.wait()
