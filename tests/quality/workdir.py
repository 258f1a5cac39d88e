# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the product in which mutmut may change what it likes, with the names under which the tests import it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.quality.planners import PLUGINS, REPOSITORY

WORKDIR = REPOSITORY / ".build" / "mutants"
MUTATED = WORKDIR / "mutants"
COLLECTION = Path("ansible_collections/katagpu/cluster")
SOURCES = COLLECTION / "plugins"
# The tests find the collection below this, as in a checkout.
_LINK = Path(".build/collections")
_TESTS = ("conftest.py", "fuzz", "unit")
# The playbooks that they run do not see which mutant is on.
_WITH_PLAYBOOKS = ("action", "filter/test_manifest_filters.py", "plugin_utils/test_artifacts.py")
# What some tests read and no mutant changes.
_BESIDE = ("galaxy.yml", "meta", "playbooks", "roles")
# A mutant's tests get so many times the seconds that they take without a mutant, and that after so many more.
_TIMES, _SECONDS = 10.0, 1.5


def prepare(modules: Sequence[Path], tests: Sequence[str]) -> None:
    shutil.rmtree(WORKDIR, ignore_errors=True)
    shutil.copytree(PLUGINS, WORKDIR / SOURCES, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _TESTS:
        source = REPOSITORY / "tests" / name
        if source.is_dir():
            shutil.copytree(source, WORKDIR / "tests" / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            (WORKDIR / "tests").mkdir(exist_ok=True)
            shutil.copy2(source, WORKDIR / "tests" / name)
    for folder in (MUTATED, MUTATED / COLLECTION):
        folder.mkdir(parents=True, exist_ok=True)
        for name in _BESIDE:
            (folder / name).symlink_to(REPOSITORY / name)
    link = MUTATED / _LINK / "ansible_collections"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(MUTATED / "ansible_collections", target_is_directory=True)
    (WORKDIR / "pyproject.toml").write_text(_configuration(modules, tests), encoding="utf-8")


def _configuration(modules: Sequence[Path], tests: Sequence[str]) -> str:
    without = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:cov",
        *(f"--ignore=tests/unit/plugins/{path}" for path in _WITH_PLAYBOOKS),
    ]
    lines = [
        "[tool.mutmut]",
        f'source_paths = ["{SOURCES.parts[0]}"]',
        f"only_mutate = {[str(SOURCES / path) for path in modules]}",
        f"pytest_add_cli_args_test_selection = {list(tests)}",
        f"pytest_add_cli_args = {without}",
        f"timeout_multiplier = {_TIMES}",
        f"timeout_constant = {_SECONDS}",
        "use_git_change_detection = false",
    ]
    return "\n".join(lines) + "\n"
