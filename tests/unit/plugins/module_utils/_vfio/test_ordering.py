# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit that holds the node agents back until udev has made the bindings."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import ordering


def test_the_files_go_with_the_last_line() -> None:
    assert ordering.render({}) == {ordering.UNIT: None, ordering.WANTED: None}


def test_every_agent_waits_and_none_depends_on_it() -> None:
    unit, wanted = (
        ordering.render({"0000:65:00.0": "a line"})[path] or "" for path in (ordering.UNIT, ordering.WANTED)
    )
    (before,) = [line for line in unit.splitlines() if line.startswith("Before=")]
    assert before.partition("=")[2].split() == [
        *("kubelet.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service")
    ]
    assert "RequiredBy" not in unit + wanted and "Requires" not in unit + wanted
    assert f"Wants={Path(ordering.UNIT).name}" in wanted.splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    file = tmp_path / Path(ordering.UNIT).name
    file.write_text(ordering.render({"0000:65:00.0": "a line"})[ordering.UNIT] or "", encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
