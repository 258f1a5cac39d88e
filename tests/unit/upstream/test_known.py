# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known differences: only where they are known, and never more than their pattern says."""

from __future__ import annotations

import re

from tests.upstream import known
from tests.upstream.results import DIFFERS, NOTE, OK
from tests.upstream.script import STEPS

RACE = "Node gpu-unnamed nvidia.com/gpu.deploy.driver: only ours has it, 'true'"


def test_a_known_difference_is_known_only_in_its_version_and_step() -> None:
    assert known.split("v26.7.0", "defaultWorkload=container", [RACE])[0] == []
    assert known.split("v26.3.3", "defaultWorkload=container", [RACE])[0] == [RACE]
    assert known.split("v26.7.0", "mode kata", [RACE])[0] == [RACE]
    other = RACE.replace("gpu-unnamed", "kata-1")
    assert known.split("v26.7.0", "defaultWorkload=container", [other])[0] == [other]


def test_what_was_said_before_is_counted_and_still_differs() -> None:
    before: set[str] = set()
    first = known.judged("s", "v23.9.2", "one", ["a", "b"], before)
    again = known.judged("s", "v23.9.2", "two", ["a", "c"], before)
    assert [one.state for one in (*first, *again)] == [DIFFERS, DIFFERS]
    assert first[0].details == ("a", "b")
    assert again[0].details == ("c", "and 1 as in the steps before")
    assert [one.state for one in known.judged("s", "v23.9.2", "three", [], before)] == [OK]


def test_a_known_difference_is_noted_with_its_reason() -> None:
    right, note = known.judged("s", "v26.7.0", "defaultWorkload=container", [RACE], set())
    assert (right.state, note.state) == (OK, NOTE) and "race" in note.details[0]


def test_every_known_difference_has_a_step_of_the_script() -> None:
    for one in known.KNOWN:
        assert any(re.match(one.step, step.name) for step in STEPS), one
