# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each target of the fuzzer for a moment, without atheris: its seeds, and a few changes of them that are the same everywhere."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.fuzz import changes
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

CHANGES = 100


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_takes_whatever_it_gets(name: str) -> None:
    begun = seeds(name)
    for data in islice(changes.inputs(begun, seed=1), len(begun) + CHANGES):
        TARGETS[name](data)


def test_changes_are_the_same_for_the_same_number() -> None:
    begun = [b"abc", b"def\n"]
    first, second, other = (list(islice(changes.inputs(begun, seed), 50)) for seed in (1, 1, 2))
    assert first == second != other and first[:3] == [*begun, b""]
    assert len(set(first)) > 20 and all(len(data) <= changes.LONGEST for data in first)
