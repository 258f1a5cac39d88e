# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine whose QEMU crashes comes back; one that powers off, or crashes again and again, stays down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.machines import supervisor
from tests.lab.machines.profiles import PROFILES
from tests.lab.machines.supervisor import CRASHES_ALLOWED, Machine, Status

CRASH = "kill -SEGV $$"


def run(tmp_path: Path, script: str) -> tuple[int, dict[str, object]]:
    status = Status(tmp_path / "status.json")
    counted = f"echo start >> {tmp_path}/starts; {script}"
    code = Machine(PROFILES["a10"], status, ["sh", "-c", counted], tmp_path / "serial").run()
    return code, json.loads(status.path.read_text(encoding="utf-8"))


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text(encoding="utf-8").splitlines())


def test_a_crash_is_followed_by_a_new_start(tmp_path: Path) -> None:
    code, notes = run(tmp_path, f"[ $(wc -l < {tmp_path}/starts) -gt 1 ] || {CRASH}")
    assert code == 0
    assert notes["reason"] == "the guest powered off"
    assert notes["crashes"] == 1
    assert starts(tmp_path) == 2


def test_a_kernel_that_panics_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stand there for ever. What starts afterwards writes its console anew, as QEMU does."""
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.05)
    panic = "echo 'Kernel panic - not syncing: Fatal exception' > serial; exec sleep 60"
    code, notes = run(tmp_path, f"cd {tmp_path}; if [ $(wc -l < starts) -gt 1 ]; then : > serial; exit 0; fi; {panic}")
    assert (code, notes["crashes"], starts(tmp_path)) == (0, 1, 2)


def test_crashes_without_end_are_given_up(tmp_path: Path) -> None:
    code, notes = run(tmp_path, CRASH)
    assert code < 0
    assert str(notes["reason"]).startswith("QEMU ended with status -")
    assert starts(tmp_path) == CRASHES_ALLOWED + 1


@pytest.mark.parametrize(
    ("script", "reason"), [("true", "the guest powered off"), ("exit 3", "QEMU ended with status 3")]
)
def test_an_end_by_itself_is_final(tmp_path: Path, script: str, reason: str) -> None:
    _code, notes = run(tmp_path, script)
    assert notes["reason"] == reason
    assert starts(tmp_path) == 1
