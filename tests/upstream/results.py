# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one check found, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, DIFFERS, NOTE, SKIPPED = "ok", "DIFFERS", "note", "SKIPPED"


@dataclass(frozen=True)
class Result:
    """One line, with details below it where it is not simply right."""

    subject: str
    state: str
    text: str
    details: tuple[str, ...] = ()


def judged(subject: str, text: str, problems: Iterable[str]) -> Result:
    """Right where there are no problems."""
    details = tuple(problems)
    return Result(subject, DIFFERS if details else OK, text, details)


def lines(results: Iterable[Result]) -> list[str]:
    """By subject, in the order in which they came."""
    out: list[str] = []
    subject = ""
    for one in results:
        if one.subject != subject:
            subject = one.subject
            out += ["", subject]
        out.append(f"  {one.state:<8} {one.text}")
        out += [f"             {detail}" for detail in one.details]
    return out


def summary(results: Iterable[Result]) -> str:
    """Counts by state."""
    counts = {state: 0 for state in (OK, NOTE, DIFFERS, SKIPPED)}
    for one in results:
        counts[one.state] += 1
    return ", ".join(f"{count} {state}" for state, count in counts.items())
