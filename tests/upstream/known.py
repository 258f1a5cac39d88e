# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between the stand-in and upstream that our facts do not claim away: each with its reason, none without."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.upstream.results import DIFFERS, NOTE, OK, Result


@dataclass(frozen=True)
class Known:
    """Patterns of versions, steps and sentences."""

    versions: str
    step: str
    sentence: str
    reason: str


KNOWN = (
    Known(
        r"v26\.7\.",
        r"defaultWorkload=",
        r"Node gpu-unnamed nvidia\.com/gpu\.deploy\.",
        "which default the labels follow is a race between two controllers (row nodes.default-workload-race)",
    ),
    Known(
        r"v",
        r"sandboxWorkloads\.enabled=false",
        r"Node \S+ nvidia\.com/gpu-driver-upgrade-state: only upstream",
        "the controller of driver upgrades is not imitated; the collection refuses sandboxWorkloads.enabled=false",
    ),
)


def split(version: str, step: str, sentences: Iterable[str]) -> tuple[list[str], dict[str, int]]:
    """Differences that nobody has explained, and how many there are for each reason."""
    left: list[str] = []
    explained: dict[str, int] = {}
    for text in sentences:
        found = next(
            (
                one.reason
                for one in KNOWN
                if re.match(one.versions, version) and re.match(one.step, step) and re.match(one.sentence, text)
            ),
            None,
        )
        if found is None:
            left.append(text)
        else:
            explained[found] = explained.get(found, 0) + 1
    return left, explained


def judged(subject: str, version: str, step: str, sentences: Iterable[str], before: set[str]) -> list[Result]:
    """Results of one step. What an earlier step has shown is counted and not said again; `before` is added to."""
    left, explained = split(version, step, sentences)
    fresh = [text for text in left if text not in before]
    before.update(left)
    text = f"as the stand-in: {step}"
    if len(left) > len(fresh):
        fresh.append(f"and {len(left) - len(fresh)} as in the steps before")
    results = [Result(subject, DIFFERS if left else OK, text, tuple(fresh))]
    details = tuple(f"{count} labels: {reason}" for reason, count in explained.items())
    return [*results, Result(subject, NOTE, f"known of: {step}", details)] if details else results
