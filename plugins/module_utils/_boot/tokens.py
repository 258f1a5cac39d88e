# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments as the kernel splits them: ordered tokens, quotes, duplicates; what is not touched stays as it is."""

from __future__ import annotations

import re
from typing import Callable, List, NamedTuple, Optional, Tuple

_PARTS = re.compile(r"((?:[^\s\"]|\"[^\"]*(?:\"|$))+)")

# Arguments of which each occurrence counts; of all others the last one wins. A list is read by its items.
_EACH_COUNTS = frozenset(
    {"console", "earlycon", "crashkernel", "hugepages", "hugepagesz", "initcall_blacklist", "memmap", "earlyprintk"}
)
_LISTS = frozenset({"modprobe.blacklist", "rd.driver.blacklist"})
# After this word the rest belongs to init and not to the kernel.
END_OF_KERNEL = "--"


class Token(NamedTuple):
    """C(key) is written with underscores, because the kernel takes a dash for one; C(value) is without its quotes."""

    text: str
    key: str
    value: Optional[str]

    @property
    def meaning(self) -> Tuple[str, Optional[str]]:
        return (self.key, self.value)


class CommandLine(NamedTuple):
    """Tokens and the white space around them, alternating and beginning with white space."""

    parts: Tuple[str, ...]

    def __str__(self) -> str:
        return "".join(self.parts)

    @property
    def tokens(self) -> List[Token]:
        return [token(text) for text in self.parts[1::2]]

    @property
    def kernel_tokens(self) -> List[Token]:
        found = []
        for item in self.tokens:
            if item.text == END_OF_KERNEL:
                break
            found.append(item)
        return found


def parse(text: str) -> CommandLine:
    return CommandLine(tuple(_PARTS.split(text)))


def token(text: str) -> Token:
    """Splits as the kernel does: a quote around the whole token or around its value only is not part of the value."""
    body = text[1:] if text.startswith('"') else text
    if text.startswith('"') and body.endswith('"'):
        body = body[:-1]
    name, equals, value = body.partition("=")
    if not equals:
        return Token(text, normal(name), None)
    if value.startswith('"'):
        value = value[1:]
        if value.endswith('"'):
            value = value[:-1]
    return Token(text, normal(name), value)


def normal(key: str) -> str:
    return key.replace("-", "_")


def removals(line: CommandLine, drop: Callable[[Token], bool]) -> List[Tuple[int, int]]:
    """The ranges of the text to cut: a token with the white space before it, at the beginning with that behind it."""
    spans: List[Tuple[int, int]] = []
    position = len(line.parts[0])
    kept = False
    for index in range(1, len(line.parts), 2):
        before, text, after = line.parts[index - 1 : index + 2]
        end = position + len(text)
        if text == END_OF_KERNEL:
            break
        if not drop(token(text)):
            kept = True
        elif kept:
            spans.append((position - len(before), end))
        else:
            spans.append((position, end + len(after)))
        position = end + len(after)
    return spans


def without(line: CommandLine, drop: Callable[[Token], bool]) -> CommandLine:
    text = str(line)
    for start, end in reversed(removals(line, drop)):
        text = text[:start] + text[end:]
    return parse(text)


def matches(item: Token, spec: Token) -> bool:
    """A bare key stands for the argument with any value, a key with a value only for that value."""
    return item.key == spec.key and (spec.value is None or item.value == spec.value)


def each_counts(key: str) -> bool:
    return key in _EACH_COUNTS or key in _LISTS


def carries(line: CommandLine, wanted: Token) -> bool:
    """Whether the kernel that reads this line does what C(wanted) says."""
    same = [item for item in line.kernel_tokens if item.key == wanted.key]
    if wanted.key in _LISTS and wanted.value is not None:
        items = {entry for item in same for entry in (item.value or "").split(",")}
        return set(wanted.value.split(",")) <= items
    if each_counts(wanted.key):
        return any(item.meaning == wanted.meaning for item in same)
    return bool(same) and same[-1].meaning == wanted.meaning


def contains(line: CommandLine, spec: Token) -> bool:
    return any(matches(item, spec) for item in line.kernel_tokens)


def moved(line: CommandLine, wanted: Token) -> CommandLine:
    """The token behind the last one, and nowhere else."""
    return with_token(without(line, lambda item: item.meaning == wanted.meaning), wanted.text)


def with_token(line: CommandLine, text: str) -> CommandLine:
    """The token behind the last one; white space at the end, such as a line's end, stays there."""
    before, after = "".join(line.parts[:-1]), line.parts[-1]
    if len(line.parts) == 1:
        return parse(f"{text}{after}")
    return parse(f"{before} {text}{after}")
