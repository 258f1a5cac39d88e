# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""State and processes: nothing that the lab did not start is ever signalled."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import paths, processes, state

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)",
]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "STATE_FILE", tmp_path / "state.json")
    monkeypatch.setattr(paths, "LOGS", tmp_path / "logs")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(SLEEP)
    yield child
    child.kill()
    child.wait()


def test_start_find_stop() -> None:
    record = processes.start("one", SLEEP, colour="blue")
    assert record["colour"] == "blue"
    assert processes.find("one") == record
    assert processes.start("one", SLEEP)["pid"] == record["pid"], "a running process is not started twice"
    assert set(processes.running()) == {"one"}
    assert processes.stop("one") is True
    assert processes.find("one") is None
    assert processes.start_time(record["pid"]) is None
    assert processes.stop("one") is False


def test_a_recycled_pid_is_never_signalled(stranger: subprocess.Popen[bytes]) -> None:
    began = processes.start_time(stranger.pid)
    assert began is not None
    with state.locked() as current:
        current["processes"]["old"] = {"pid": stranger.pid, "start_time": began - 1}
    assert processes.find("old") is None
    assert processes.stop("old") is False
    assert stranger.poll() is None, "a process of somebody else was ended"
    assert "old" not in state.load()["processes"]


def test_a_record_without_start_time_is_not_ours(stranger: subprocess.Popen[bytes]) -> None:
    assert processes.end({"pid": stranger.pid}) is False
    assert stranger.poll() is None


def test_what_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    record = processes.start("stubborn", STUBBORN, log=tmp_path / "out.log")
    for _ in range(200):
        if "ready" in (tmp_path / "out.log").read_text(encoding="utf-8"):
            break
        threading.Event().wait(0.05)
    assert processes.end(record, timeout_seconds=0.3) is True
    assert processes.start_time(record["pid"]) is None


def test_a_dead_child_is_not_running() -> None:
    record = processes.start("brief", [sys.executable, "-c", "pass"])
    for _ in range(200):
        if processes.find("brief") is None:
            break
        threading.Event().wait(0.05)
    assert processes.find("brief") is None
    assert processes.is_ours(record) is False


def test_a_command_name_with_parentheses(tmp_path: Path) -> None:
    script = tmp_path / "odd ) name (x"
    script.symlink_to(Path(sys.executable).resolve())
    child = subprocess.Popen([script, "-c", "import sys; print(1, flush=True); sys.stdin.read()"], stdin=-1, stdout=-1)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert isinstance(processes.start_time(child.pid), int)
    finally:
        child.kill()
        child.communicate()


def test_state_survives_writers_side_by_side(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with state.locked() as current:
            current["machines"][str(number)] = {}

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(state.load()["machines"]) == 20
    assert json.loads((tmp_path / "state.json").read_text(encoding="utf-8")) == state.load()


def test_an_exception_leaves_the_state_as_it_was() -> None:
    with state.locked() as current:
        current["machines"]["kept"] = {}
    with pytest.raises(RuntimeError), state.locked() as current:
        current["machines"].clear()
        raise RuntimeError
    assert set(state.load()["machines"]) == {"kept"}
