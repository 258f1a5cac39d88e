# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what the operator asks for and refuses what a kernel or a boot loader would misread."""

from __future__ import annotations

import re
from typing import List, NamedTuple, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHELL = re.compile(r"['`$\\]")
_GRUB_SYNTAX = re.compile(r"[;&|<>{}]")
_NOTHING_CHANGED = "Nothing was changed."


class Wishes(NamedTuple):
    present: Tuple[tokens.Token, ...]
    absent: Tuple[tokens.Token, ...]

    def drops(self, token: tokens.Token) -> bool:
        return any(tokens.matches(token, spec) for spec in self.absent)

    def problems(self, line: tokens.CommandLine) -> Tuple[List[str], List[str]]:
        """What C(line) lacks and what it should not carry."""
        missing = [token.text for token in self.present if not tokens.carries(line, token)]
        unwanted = [spec.text for spec in self.absent if tokens.contains(line, spec)]
        return missing, unwanted

    def missing_from(self, line: tokens.CommandLine) -> List[tokens.Token]:
        return [token for token in self.present if not tokens.carries(line, token)]

    def adjusted(self, line: tokens.CommandLine) -> tokens.CommandLine:
        """C(line) with what it lacks and without what it should not carry; a token that another one overrides is moved."""
        line = tokens.without(line, self.drops)
        for token in self.missing_from(line):
            line = tokens.moved(line, token)
        return line


def read(present: Sequence[str], absent: Sequence[str]) -> Wishes:
    wanted = tuple(_token("present", text) for text in present)
    unwanted = tuple(_token("absent", text) for text in absent)
    for position, token in enumerate(wanted):
        for spec in unwanted:
            if tokens.matches(token, spec):
                _refuse_both(token, spec)
        for other in wanted[:position]:
            if other.key == token.key and other.value != token.value and not tokens.each_counts(token.key):
                raise KatagpuError(
                    f"present names {other.text} and {token.text}, and for {token.key} the last value wins. "
                    f"{_NOTHING_CHANGED} Fix: name one of them."
                )
    return Wishes(_unique(wanted), _unique(unwanted))


def _unique(items: Tuple[tokens.Token, ...]) -> Tuple[tokens.Token, ...]:
    return tuple(item for place, item in enumerate(items) if item.meaning not in {one.meaning for one in items[:place]})


def _refuse_both(token: tokens.Token, spec: tokens.Token) -> None:
    if spec.value is None and token.value is not None:
        raise KatagpuError(
            f"{token.text} is in present, and absent names {spec.text} with any value. "
            f"{_NOTHING_CHANGED} Fix: name the value that must go, for example {spec.text}=off."
        )
    raise KatagpuError(f"{token.text} is both in present and in absent. {_NOTHING_CHANGED} Fix: name it once.")


def _token(option: str, text: str) -> tokens.Token:
    if not text.strip():
        raise KatagpuError(f"{option} has an empty token. {_NOTHING_CHANGED} Fix: remove it.")
    if _CONTROL.search(text):
        raise KatagpuError(
            f"{option} has {text!r}, with a line break or a control character. "
            f"{_NOTHING_CHANGED} Fix: give each argument as one token on one line."
        )
    if text.count('"') % 2:
        raise KatagpuError(f"{option} has {text!r}, with a quote that is not closed. {_NOTHING_CHANGED} Fix: close it.")
    if _SHELL.search(text):
        raise KatagpuError(
            f"{option} has {text!r}. A boot loader's configuration is a script, in which the characters ' ` $ \\ "
            f'mean something else. {_NOTHING_CHANGED} Fix: use double quotes (name="a b") for values with spaces.'
        )
    found = tokens.parse(text)
    if len(found.tokens) != 1 or str(found) != found.tokens[0].text:
        raise KatagpuError(
            f"{option} has {text!r}, which is not one token. "
            f'{_NOTHING_CHANGED} Fix: give a list of tokens, and quote a value with spaces (name="a b").'
        )
    token = found.tokens[0]
    if _GRUB_SYNTAX.search(re.sub(r'"[^"]*"', "", text)):
        raise KatagpuError(
            f"{option} has {text!r}, with one of ; & | < > {{ }} outside quotes, which GRUB reads as its own syntax. "
            f"{_NOTHING_CHANGED} Fix: put the value in double quotes."
        )
    if not token.key or token.key.startswith("#") or text == tokens.END_OF_KERNEL:
        raise KatagpuError(f"{option} has {text!r}, which names no argument. {_NOTHING_CHANGED} Fix: write name=value.")
    return token
