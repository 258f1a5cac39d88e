# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.progress import WIDTH, Progress
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.waiting import Outcome, Target, View


def outcome(name: str, ready: bool, reason: str = "0 of 1 available") -> Outcome:
    return Outcome(Target("apps/v1", "DaemonSet", name, "ns", {}), ready, reason, 0.0, False)


def view(seconds: float, *outcomes: Outcome, complete: bool = True, errors: tuple[str, ...] = ()) -> View:
    return View(list(outcomes), complete, seconds, list(errors))


def test_nothing_is_said_where_all_is_there() -> None:
    progress = Progress(60)
    first = view(0.1, outcome("a", True), Outcome(Target("v1", "Node", "n", None, {}), False, "", 0.0, False))
    assert progress.lines(first._replace(complete=False)) == []
    assert progress.lines(view(0.2, outcome("a", True), outcome("b", True))) == []


def test_one_line_at_first_one_for_each_change_and_one_at_the_end() -> None:
    progress = Progress(60)
    assert progress.lines(view(0.1, outcome("a", False), outcome("b", True))) == [
        "  waiting at most 60 s for 1 of 2 objects | DaemonSet ns/a: 0 of 1 available"
    ]
    assert progress.lines(view(1, outcome("a", False), outcome("b", True))) == []
    assert progress.lines(view(2, outcome("a", False, "pulling\nimage"), outcome("b", True))) == [
        "  waiting 2 s | DaemonSet ns/a: pulling image"
    ]
    assert progress.lines(view(9, outcome("a", True, "1 of 1"), outcome("b", True))) == [
        "  ready after 9 s | DaemonSet ns/a: 1 of 1",
        "  all there after 9 s | 2 objects",
    ]


def test_a_line_at_least_every_thirty_seconds() -> None:
    progress = Progress(600)
    missing = [outcome(name, False) for name in "abcde"]
    said = [second for second in range(100) if progress.lines(view(second, *missing, errors=("no route",)))]
    assert said == [0, 30, 60, 90]
    line = progress.lines(view(130, *missing, errors=("no route",)))[0]
    assert line.endswith("and 2 more | the API: no route")


def test_an_api_that_does_not_answer_does_not_silence_the_beginning() -> None:
    progress = Progress(60)
    unread = outcome("a", False, "has not been read")
    assert progress.lines(view(2, unread, complete=False)) == []
    assert len(progress.lines(view(4, unread, complete=False))) == 1


def test_a_long_message_is_one_line() -> None:
    line = Progress(60).lines(view(0, outcome("a", False, "very\n" * 200)))[0]
    assert len(line) <= WIDTH + 2
    assert "\n" not in line
