# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a wait says while it waits: its beginning, changes, a sign of life, its end. Nothing where nothing is missing."""

from __future__ import annotations

from typing import Dict, List

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.waiting import Outcome, View, target_key

# A line at least this often.
SILENCE_SECONDS = 30.0
# The first answers decide whether there is anything to wait for, so they are given this long before the first line.
GRACE_SECONDS = 3.0
WIDTH = 200
LISTED = 3


class Progress:
    """Remembers what was said. C(lines) is to be asked again and again during one wait."""

    def __init__(self, timeout: int) -> None:
        self._timeout = timeout
        self._said: Dict[object, str] = {}
        self._last = 0.0
        self._begun = False

    def lines(self, view: View) -> List[str]:
        missing = [outcome for outcome in view.outcomes if not outcome.ready]
        lines: List[str] = []
        if self._begun:
            lines += self._changes(view)
        elif missing and (view.complete or view.seconds >= GRACE_SECONDS):
            self._begun = True
            self._changes(view)
            lines.append(self._beginning(missing, len(view.outcomes)))
        if not self._begun:
            return []
        if not missing:
            lines.append(f"  all there after {view.seconds:.0f} s | {_count(len(view.outcomes))}")
        elif not lines and view.seconds - self._last >= SILENCE_SECONDS:
            lines.append(f"  waiting {view.seconds:.0f} s | {_listed(missing)}{_api(view.errors)}")
        if lines:
            self._last = view.seconds
        return [_short(line) for line in lines]

    def _beginning(self, missing: List[Outcome], total: int) -> str:
        number = _count(total) if len(missing) == total else f"{len(missing)} of {_count(total)}"
        return f"  waiting at most {self._timeout} s for {number} | {_listed(missing)}"

    def _changes(self, view: View) -> List[str]:
        lines = []
        for outcome in view.outcomes:
            key = target_key(outcome.target)
            if self._said.get(key) != outcome.reason:
                word = "ready after" if outcome.ready else "waiting"
                lines.append(f"  {word} {view.seconds:.0f} s | {_one(outcome)}")
                self._said[key] = outcome.reason
        return lines


def _count(number: int) -> str:
    return f"{number} object" if number == 1 else f"{number} objects"


def _one(outcome: Outcome) -> str:
    return f"{outcome.target.label()}: {outcome.reason}"


def _listed(missing: List[Outcome]) -> str:
    more = f" | and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
    return " | ".join(_one(outcome) for outcome in missing[:LISTED]) + more


def _api(errors: List[str]) -> str:
    return f" | the API: {errors[0]}" if errors else ""


def _short(line: str) -> str:
    """Messages of conditions may have several lines."""
    body = " ".join(line.split())
    return "  " + (body if len(body) <= WIDTH else body[: WIDTH - 3] + "...")
