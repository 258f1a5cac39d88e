# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the shell's grammar that files of variable assignments use, with the place of every character kept."""

from __future__ import annotations

import re
from typing import List, NamedTuple, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

LITERAL = "literal"
MARK = "mark"  # A quote or a line continuation: no text of its own.
REFERENCE = "reference"  # C(text) is the variable's name.
OPAQUE = "opaque"  # Something only a shell can evaluate.

_REFERENCE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_ENDS_WORD = " \t\n;&|<>()"  # A carriage return is part of a word, for a shell as well.


class Unit(NamedTuple):
    """One piece of a word: where it stands in the file and what it means."""

    start: int
    end: int
    kind: str
    text: str


def word(text: str, position: int) -> Tuple[List[Unit], int]:
    """The word at C(position) and where it ends."""
    units: List[Unit] = []
    while position < len(text) and text[position] not in _ENDS_WORD:
        char = text[position]
        following = text[position + 1 : position + 2]
        if char == "'":
            position = _single_quoted(text, position, units)
        elif char == '"':
            position = _double_quoted(text, position, units)
        elif char == "\\" and following in ("\n", ""):
            position = _add(units, position, 1 + len(following), MARK, "")
        elif char == "\\":
            position = _add(units, position, 2, LITERAL, following)
        elif char in "$`":
            position = _expansion(text, position, units)
        else:
            position = _add(units, position, 1, LITERAL, char)
    return units, position


def _add(units: List[Unit], position: int, length: int, kind: str, text: str) -> int:
    units.append(Unit(position, position + length, kind, text))
    return position + length


def _single_quoted(text: str, position: int, units: List[Unit]) -> int:
    end = text.find("'", position + 1)
    if end < 0:
        raise _unterminated(text, position)
    position = _add(units, position, 1, MARK, "")
    while position < end:
        position = _add(units, position, 1, LITERAL, text[position])
    return _add(units, position, 1, MARK, "")


def _double_quoted(text: str, start: int, units: List[Unit]) -> int:
    position = _add(units, start, 1, MARK, "")
    while position < len(text):
        char = text[position]
        following = text[position + 1 : position + 2]
        if char == '"':
            return _add(units, position, 1, MARK, "")
        if char == "\\" and following == "\n":
            position = _add(units, position, 2, MARK, "")
        elif char == "\\" and following and following in '$`"\\':
            position = _add(units, position, 2, LITERAL, following)
        elif char in "$`":
            position = _expansion(text, position, units)
        else:
            position = _add(units, position, 1, LITERAL, char)
    raise _unterminated(text, start)


def _expansion(text: str, position: int, units: List[Unit]) -> int:
    match = _REFERENCE.match(text, position)
    if match:
        return _add(units, position, match.end() - position, REFERENCE, match.group(1) or match.group(2))
    following = text[position + 1 : position + 2]
    if text[position] == "`":
        end = _after_backtick(text, position)
    elif following == "(":
        end = _after_bracket(text, position + 1, "(", ")")
    elif following == "{":
        end = _after_bracket(text, position + 1, "{", "}")
    elif following and following in "@*#?$!0123456789-":
        end = position + 2
    else:
        return _add(units, position, 1, LITERAL, "$")
    return _add(units, position, end - position, OPAQUE, text[position:end])


def _after_backtick(text: str, start: int) -> int:
    position = start + 1
    while position < len(text) and text[position] != "`":
        position += 2 if text[position] == "\\" else 1
    if position >= len(text):
        raise _unterminated(text, start)
    return position + 1


def _after_bracket(text: str, start: int, opening: str, closing: str) -> int:
    depth, position = 0, start
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "'":
            position = max(text.find("'", position + 1), position)
        elif char == opening:
            depth += 1
        elif char == closing:
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    raise _unterminated(text, start)


def _unterminated(text: str, position: int) -> KatagpuError:
    line = text.count("\n", 0, position) + 1
    return KatagpuError(f"line {line}: the quote or bracket that begins here is never closed")
