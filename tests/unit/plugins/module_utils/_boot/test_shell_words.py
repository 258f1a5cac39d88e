# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words as a shell takes them apart, with the place of every character."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import shell_words
from ansible_collections.katagpu.cluster.plugins.module_utils._boot.shell_words import (
    LITERAL,
    MARK,
    OPAQUE,
    REFERENCE,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError


def kinds(text: str) -> list[tuple[str, str]]:
    units, _end = shell_words.word(text, 0)
    return [(unit.kind, unit.text) for unit in units]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\\\nb", [(LITERAL, "a"), (MARK, ""), (LITERAL, "b")]),
        ("a\\", [(LITERAL, "a"), (MARK, "")]),
        ("\\$a", [(LITERAL, "$"), (LITERAL, "a")]),
        ("'$a'", [(MARK, ""), (LITERAL, "$"), (LITERAL, "a"), (MARK, "")]),
        ('"\\\n\\a"', [(MARK, ""), (MARK, ""), (LITERAL, "\\"), (LITERAL, "a"), (MARK, "")]),
        ('"\\`\\\\"', [(MARK, ""), (LITERAL, "`"), (LITERAL, "\\"), (MARK, "")]),
        ("$a${b}", [(REFERENCE, "a"), (REFERENCE, "b")]),
        ("$", [(LITERAL, "$")]),
        ("$.a", [(LITERAL, "$"), (LITERAL, "."), (LITERAL, "a")]),
        ("$?x", [(OPAQUE, "$?"), (LITERAL, "x")]),
        ("$1", [(OPAQUE, "$1")]),
        ("`a b`c", [(OPAQUE, "`a b`"), (LITERAL, "c")]),
        ("`a\\`b`c", [(OPAQUE, "`a\\`b`"), (LITERAL, "c")]),
        ("$(a (b) c)d", [(OPAQUE, "$(a (b) c)"), (LITERAL, "d")]),
        ("$(a ')' b)d", [(OPAQUE, "$(a ')' b)"), (LITERAL, "d")]),
        ("$(a \\) b)d", [(OPAQUE, "$(a \\) b)"), (LITERAL, "d")]),
        ("${a:-{b}}d", [(OPAQUE, "${a:-{b}}"), (LITERAL, "d")]),
        ('"$(a)"', [(MARK, ""), (OPAQUE, "$(a)"), (MARK, "")]),
    ],
)
def test_a_word_is_taken_apart(text: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize("end", list(" \t\n;&|<>()"))
def test_a_word_ends_where_a_shell_ends_it(end: str) -> None:
    units, position = shell_words.word(f"x=ab{end}c", 2)
    assert [unit.text for unit in units] == ["a", "b"] and position == 4
    assert [(unit.start, unit.end) for unit in units] == [(2, 3), (3, 4)]


@pytest.mark.parametrize("text", ["'a", '"a', "`a", "`a\\`", "$(a", "${a-", '"${a-', "$(a '"])
def test_what_is_never_closed_is_named_with_its_line(text: str) -> None:
    with pytest.raises(KatagpuError, match=r"^line 3: the quote or bracket that begins here is never closed$"):
        shell_words.word(f"\n\n{text}", 2)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab$ {}()`'\"\\?-\n#=", max_size=14))
def test_every_character_is_in_one_unit_in_its_order(text: str) -> None:
    try:
        units, end = shell_words.word(text, 0)
    except KatagpuError:
        return
    assert [unit.start for unit in units] == [0, *(unit.end for unit in units)][: len(units)]
    assert end == (units[-1].end if units else 0)
    for unit in units:
        assert unit.kind != LITERAL or unit.text in text[unit.start : unit.end]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab{}'\"\\ #=", max_size=12))
def test_literals_agree_with_a_shell(text: str) -> None:
    source = f"A={text}\n"
    try:
        units, end = shell_words.word(source, 2)
    except KatagpuError:
        assert subprocess.run(["sh", "-c", source], env={}, check=False, capture_output=True).returncode != 0
        return
    script = f'{source[:end]}\nprintf %s "$A"'
    said = subprocess.run(["sh", "-c", script], env={}, check=True, capture_output=True).stdout.decode()
    assert "".join(unit.text for unit in units) == said
