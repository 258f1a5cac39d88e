# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/etc/kernel/cmdline as kernel-install of systemd reads it: lines that begin with a number sign are comments.

It does so since systemd 257, and handed them to the kernel before. What is made here holds for both, because nothing of ours is
put into a comment. What makes the loader entries that GRUB reads knows no comments.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Callable, List

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens, wishes

_LINES = re.compile(r"[^\n]*\n|[^\n]+")


def arguments(text: str) -> tokens.CommandLine:
    """What a kernel gets of it."""
    return tokens.parse("".join(line for line in _LINES.findall(text) if not _is_comment(line)))


def adjusted(text: str, wanted: wishes.Wishes) -> str:
    """C(text) with what it lacks and without what it should not carry. Comments stay."""
    text = _without(text, wanted.drops)
    for token in wanted.missing_from(arguments(text)):
        text = _with(_without(text, partial(_same, token)), token.text)
    return text


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _same(token: tokens.Token, item: tokens.Token) -> bool:
    return item.meaning == token.meaning


def _without(text: str, drop: Callable[[tokens.Token], bool]) -> str:
    lines: List[str] = _LINES.findall(text)
    return "".join(line if _is_comment(line) else str(tokens.without(tokens.parse(line), drop)) for line in lines)


def _with(text: str, word: str) -> str:
    """The word behind the last argument, which may stand above comments."""
    lines: List[str] = _LINES.findall(text)
    for index in reversed(range(len(lines))):
        line = tokens.parse(lines[index])
        if line.tokens and not _is_comment(lines[index]):
            lines[index] = str(tokens.with_token(line, word))
            return "".join(lines)
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{word}\n"
