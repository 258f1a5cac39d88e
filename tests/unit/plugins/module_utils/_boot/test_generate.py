# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The old grub.cfg is whole until the new one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import generate
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

Ran = tuple[int, str, str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "boot/grub/grub.cfg"
    file.parent.mkdir(parents=True)
    file.write_text("old")
    file.chmod(0o400)
    return file


def test_the_old_file_is_replaced_as_a_whole_and_keeps_its_mode(config: Path, tmp_path: Path) -> None:
    def run(command: list[str]) -> Ran:
        assert config.read_text() == "old"
        (tmp_path / command[-1][1:]).write_text("new")
        return 0, "", ""

    before = config.stat().st_ino
    assert generate.run(HostRoot(str(tmp_path)), ["update-grub"], run)[0] == 0
    assert (config.read_text(), config.stat().st_mode & 0o777) == ("new", 0o400)
    assert config.stat().st_ino != before and list(config.parent.iterdir()) == [config]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(config: Path, tmp_path: Path) -> None:
    def run(command: list[str]) -> Ran:
        (tmp_path / command[-1][1:]).write_text("half")
        return 1, "", "no"

    assert generate.run(HostRoot(str(tmp_path)), ["update-grub"], run) == (1, "", "no")
    assert config.read_text() == "old" and list(config.parent.iterdir()) == [config]


def test_a_wrapper_that_takes_no_options_is_believed(config: Path, tmp_path: Path) -> None:
    def run(command: list[str]) -> Ran:
        config.chmod(0o600)
        config.write_text("by the wrapper")
        return 0, "", ""

    assert generate.run(HostRoot(str(tmp_path)), ["update-grub"], run)[0] == 0
    assert config.read_text() == "by the wrapper"


def test_a_link_stays_one(config: Path, tmp_path: Path) -> None:
    real = tmp_path / "boot/efi/grub.cfg"
    real.parent.mkdir()
    config.rename(real)
    config.symlink_to(real)

    def run(command: list[str]) -> Ran:
        assert command == ["update-grub", "-o", "/boot/efi/grub.cfg.katagpu"]
        (tmp_path / command[-1][1:]).write_text("new")
        return 0, "", ""

    generate.run(HostRoot(str(tmp_path)), ["update-grub"], run)
    assert config.is_symlink() and real.read_text() == "new"


def test_suse_has_another_command_and_others_are_run_as_they_are(tmp_path: Path) -> None:
    ran: list[list[str]] = []

    def run(command: list[str]) -> Ran:
        ran.append(command)
        return 0, "", ""

    root = HostRoot(str(tmp_path))
    generate.run(root, ["grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"], run)
    generate.run(root, ["rpm-ostree", "kargs", "--append=a"], run)
    assert ran == [["grub2-mkconfig", "-o", "/boot/grub2/grub.cfg.katagpu"], ["rpm-ostree", "kargs", "--append=a"]]
