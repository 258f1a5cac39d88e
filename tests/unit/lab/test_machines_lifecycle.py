# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a machine without starting it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import paths
from tests.lab.errors import LabError
from tests.lab.machines import lifecycle
from tests.lab.machines.profiles import PROFILES

A10 = PROFILES["a10"]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MACHINES", tmp_path / "machines")
    monkeypatch.setattr(paths, "LOGS", tmp_path / "logs")


def test_a_machine_has_two_names() -> None:
    assert lifecycle.profile_of("a10") is lifecycle.profile_of("kata-a10") is A10
    with pytest.raises(LabError, match="no machine 'a11'; there are: a10, "):
        lifecycle.profile_of("a11")


def test_a_status_that_is_missing_or_half_written_is_empty() -> None:
    assert lifecycle.supervisor_status(A10) == {}
    status = paths.ensure(lifecycle.folder_of(A10)) / "status.json"
    status.write_text('{"reason": ')
    assert lifecycle.supervisor_status(A10) == {}
    status.write_text('{"reason": "QEMU ended"}')
    assert lifecycle.supervisor_status(A10) == {"reason": "QEMU ended"}


def test_ssh_trusts_the_key_of_the_lab_only() -> None:
    argv = lifecycle.ssh_command(A10, ["uname", "-r"], connect_timeout=3)
    options = [argv[index + 1] for index, word in enumerate(argv) if word == "-o"]
    assert {"StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null", "BatchMode=yes", "ConnectTimeout=3"} <= {
        *options
    }
    assert argv[-3:] == [f"root@{A10.address}", "uname", "-r"]


def test_waiting_for_a_machine_that_ended_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "is_up", lambda profile: False)
    paths.ensure(lifecycle.folder_of(A10))
    (lifecycle.folder_of(A10) / "status.json").write_text('{"reason": "QEMU ended with status 1"}')
    with pytest.raises(LabError, match=r"machine a10: QEMU ended with status 1 \(logs: .*machine-a10"):
        lifecycle.wait_for_ssh(A10, print)


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "is_up", lambda profile: True)
    monkeypatch.setattr(lifecycle, "_banner", lambda profile: False)
    with pytest.raises(LabError, match="does not answer SSH after 0 s"):
        lifecycle.wait_for_ssh(A10, print, timeout_seconds=0)


def test_a_disk_of_another_image_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        returncode = 0
        stderr = ""

    made: list[list[str]] = []

    def create(argv: list[str], **_options: object) -> Done:
        made.append(argv)
        Path(argv[-1]).write_text("disk")
        return Done()

    monkeypatch.setattr(lifecycle.subprocess, "run", create)
    for base, disks in ((Path("one.qcow2"), 1), (Path("one.qcow2"), 1), (Path("two.qcow2"), 2)):
        lifecycle._overlay(A10, base, fresh=False)
        assert len(made) == disks
    assert str(Path("two.qcow2")) in made[-1]
