# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of machine of the lab is tested and stands in the documentation. Whether that is true the lab shows."""

from __future__ import annotations

import yaml

from tests import stages
from tests.contract import product
from tests.docs import profiles
from tests.integration.profiles.machine import RESULTS
from tests.lab.machines.profiles import PROFILES

KEPT = yaml.safe_load(RESULTS.read_text(encoding="utf-8"))
# Of the end-to-end run.
ELSEWHERE = {"a10", "workstation"}


def test_every_profile_has_a_test_and_each_result_a_profile() -> None:
    assert set(profiles.names()) == set(PROFILES) - ELSEWHERE
    assert list(KEPT) == [name for name in profiles.names() if name in KEPT] != []


def test_the_page_is_made_of_the_results() -> None:
    assert profiles.PAGE.read_text(encoding="utf-8") == profiles.page(KEPT), "run python -m tests.docs.profiles"


def test_the_results_are_of_the_machines_that_there_are() -> None:
    for name, result in KEPT.items():
        assert result["machine"] == PROFILES[name].description
        assert result["outcome"] and result["findings"], name
        assert bool(result["messages"]) == any(
            one["severity"] == "block" and one["state"] == "open" for one in result["findings"]
        )


def test_machines_can_be_told_apart() -> None:
    assert len({profile.node for profile in PROFILES.values()}) == len(PROFILES)
    assert len({profile.address for profile in PROFILES.values()}) == len(PROFILES)


def test_over_time_every_profile_with_a_result_is_run() -> None:
    chosen = {stages.chosen(f"{number:040x}") for number in range(len(KEPT))}
    assert chosen == set(KEPT)
    assert stages.chosen("") in KEPT


def test_make_has_a_target_for_all_of_them() -> None:
    makefile = (product.REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert "\nprofiles: " in makefile and "\ntest-all: " in makefile
    assert {f"profile-{name}" for name in profiles.names()} <= set(stages.SETS)
    whole = {stage.name for stage in stages.SETS["test-all"]}
    assert {f"profile-{name}" for name in profiles.names()} <= whole
    of_a_commit = [stage.name for stage in stages.SETS["test"] if stage.name.startswith("profile-")]
    assert len(of_a_commit) == 1
    assert {stage.name for stage in stages.SETS["test"]} <= whole
