# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing below a root: all or nothing, and an operator can read why not."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot


@pytest.mark.parametrize(
    ("call", "code", "part"),
    [
        ("open", errno.EROFS, "Read-only file system"),
        ("fsync", errno.ENOSPC, "No space left on device"),
        ("rename", errno.EACCES, "Permission denied"),
    ],
)
def test_a_write_that_fails_says_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, part: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/x.conf").write_text("before")

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(f"os.{call}", refuse)
    with pytest.raises(KatagpuError) as raised:
        HostRoot(str(tmp_path)).write_atomic("/etc/x.conf", "after")
    message = str(raised.value)
    assert message.startswith("/etc/x.conf could not be written") and part in message
    assert "It is as it was." in message and " Fix: " in message
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["x.conf"]
    assert (tmp_path / "etc/x.conf").read_text() == "before"


def test_a_file_that_cannot_be_removed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    root = HostRoot(str(tmp_path))
    root.remove("/etc/absent")
    monkeypatch.setattr("os.unlink", refuse)
    with pytest.raises(KatagpuError, match=r"/etc/x\.conf could not be removed: Read-only file system"):
        root.remove("/etc/x.conf")


def test_a_link_stays_one_on_the_running_system(tmp_path: Path) -> None:
    """Such as /etc/default/grub that a configuration management keeps elsewhere."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/grub").write_text("before")
    (tmp_path / "grub").symlink_to("kept/grub")
    HostRoot("/").write_atomic(str(tmp_path / "grub"), "after")
    assert (tmp_path / "grub").is_symlink()
    assert (tmp_path / "kept/grub").read_text() == "after"


def test_what_a_power_cut_has_left_is_gone_after_the_next_write(tmp_path: Path) -> None:
    (tmp_path / ".katagpu-x.conf").write_text("half of it, and longer than the whole")
    HostRoot(str(tmp_path)).write_atomic("/x.conf", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["x.conf"]
    assert (tmp_path / "x.conf").read_text() == "whole"
