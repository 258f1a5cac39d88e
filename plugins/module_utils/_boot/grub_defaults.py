# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /etc/default/grub and its drop-ins make of GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT.

A file is never written anew: an edit cuts characters out of it, so all the rest stays byte for byte.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import shell_words, tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

ALWAYS = "GRUB_CMDLINE_LINUX"
NORMAL = "GRUB_CMDLINE_LINUX_DEFAULT"
VARIABLES = (ALWAYS, NORMAL)

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_WORD = re.compile(r"[^\s;&|()]+")
_DECLARE = frozenset({"export", "readonly"})
_OPENING = frozenset({"if", "case", "for", "while", "until", "{"})
_CLOSING = frozenset({"fi", "esac", "done", "}"})
_BETWEEN = frozenset({"then", "else", "elif", "do", "!"})
_REACH_FAR = frozenset({".", "source", "eval", "read", "unset", "exit", "return", "exec"})


class Assignment(NamedTuple):
    name: str
    units: Tuple[shell_words.Unit, ...]
    conditional: bool
    line: int
    end: int = 0


class Parsed(NamedTuple):
    assignments: Tuple[Assignment, ...]
    doubts: Tuple[str, ...]


class Evaluation(NamedTuple):
    """C(texts) are the files after the edit, C(values) the variables, C(uncertain) what only a shell could tell."""

    texts: Dict[str, str]
    values: Dict[str, str]
    origins: Dict[str, List[str]]
    uncertain: List[str]

    @property
    def line(self) -> tokens.CommandLine:
        """grub-mkconfig puts the default arguments of normal entries behind those of all entries."""
        return tokens.parse(" ".join(self.values[name] for name in VARIABLES if self.values.get(name)))


def parse(text: str) -> Parsed:
    """Finds assignments; names every other statement that could have a say in our two variables."""
    return _Parser(text).run()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.depth = 0
        self.brackets = 0
        self.after_operator = False
        self.assignments: List[Assignment] = []
        self.doubts: List[str] = []

    def run(self) -> Parsed:
        while self.position < len(self.text):
            char = self.text[self.position]
            if char in " \t":
                self.position += 1
            elif char in "\n;":
                self.after_operator = False
                self.position += 1
            elif char in "&|":
                self.after_operator = True
                self.position += 1
            elif char in "()":
                self.brackets = max(0, self.brackets + (1 if char == "(" else -1))
                self.position += 1
            elif char == "#":
                end = self.text.find("\n", self.position)
                self.position = len(self.text) if end < 0 else end
            else:
                self._command()
        return Parsed(tuple(self.assignments), tuple(self.doubts))

    def _command(self) -> None:
        start = self.position
        first = _WORD.match(self.text, self.position)
        name = first.group(0) if first else ""
        if name in _OPENING or name in _CLOSING or name in _BETWEEN:
            self.depth = max(0, self.depth + (name in _OPENING) - (name in _CLOSING))
            self.position += len(name)
            if name in ("case", "for"):
                self._rest(start)
            return
        declared = name in _DECLARE
        if declared:
            self.position += len(name)
        found = self._assignments()
        words = self._rest(start)
        if found and words and not declared:
            self._doubt(start, "sets a variable for one command only")
        else:
            self.assignments += found
            if name in _REACH_FAR:
                self._doubt(start, f"{name} can change any variable")
            elif words and not declared and ALWAYS in self.text[start : self.position]:
                self._doubt(start, "is more than an assignment")

    def _assignments(self) -> List[Assignment]:
        found: List[Assignment] = []
        while True:
            self._blanks()
            match = _ASSIGNMENT.match(self.text, self.position)
            if not match:
                return found
            line = self.text.count("\n", 0, self.position) + 1
            units, self.position = shell_words.word(self.text, match.end())
            conditional = bool(self.depth or self.brackets or self.after_operator)
            found.append(Assignment(match.group(1), tuple(units), conditional, line, self.position))

    def _rest(self, start: int) -> int:
        """Goes to the end of the simple command and counts its words."""
        words = 0
        while True:
            self._blanks()
            if self.text[self.position : self.position + 1] in ("", "\n", ";", "&", "|", "(", ")", "#"):
                return words
            if self.text[self.position] in "<>":
                if self.text.startswith("<<", self.position):
                    self._doubt(start, "a here-document is not evaluated")
                self.position += 1
                continue
            _units, self.position = shell_words.word(self.text, self.position)
            words += 1

    def _blanks(self) -> None:
        while self.text[self.position : self.position + 1] in (" ", "\t"):
            self.position += 1

    def _doubt(self, start: int, why: str) -> None:
        line = self.text.count("\n", 0, start) + 1
        self.doubts.append(f"line {line}: {self.text[start : self.position].strip()}: {why}")


def evaluate(files: Mapping[str, str], drop: Callable[[tokens.Token], bool] = lambda _token: False) -> Evaluation:
    """Runs the files in their order; tokens that C(drop) names are cut where they stand in our two variables."""
    texts: Dict[str, str] = {}
    values: Dict[str, str] = {}
    origins: Dict[str, List[str]] = {}
    uncertain: List[str] = []
    unknown: Set[str] = set()
    for path, text in files.items():
        try:
            parsed = parse(text)
        except KatagpuError as error:
            raise KatagpuError(
                f"{path}: {error}. grub-mkconfig cannot read it either. Nothing was changed. Fix: correct that file."
            ) from error
        uncertain += [f"{path}: {doubt}" for doubt in parsed.doubts]
        cuts: List[Tuple[int, int]] = []
        for assignment in parsed.assignments:
            name = assignment.name
            pieces = [_expand(unit, values) for unit in assignment.units]
            value = "".join(pieces)
            if name in VARIABLES:
                keep = [True] * len(value)
                for start, end in tokens.removals(tokens.parse(value), drop):
                    _cut(assignment.units, pieces, start, end, cuts, keep)
                value = "".join(char for char, kept in zip(value, keep) if kept)
            if any(_is_unknown(unit, unknown) for unit in assignment.units):
                unknown.add(name)
                if name in VARIABLES:
                    uncertain.append(f"{path}: line {assignment.line}: the value of {name} needs a shell")
            elif not assignment.conditional:
                unknown.discard(name)
            if assignment.conditional:
                if name in VARIABLES:
                    uncertain.append(f"{path}: line {assignment.line}: {name} is set under a condition")
                continue
            values[name] = value
            chained = any(unit.kind == shell_words.REFERENCE and unit.text == name for unit in assignment.units)
            origins[name] = [*(origins.get(name, []) if chained else []), path]
        for start, end in sorted(cuts, reverse=True):
            text = text[:start] + text[end:]
        texts[path] = text
    return Evaluation(texts, values, origins, uncertain)


def _is_unknown(unit: shell_words.Unit, unknown: Set[str]) -> bool:
    return unit.kind == shell_words.OPAQUE or (unit.kind == shell_words.REFERENCE and unit.text in unknown)


def _expand(unit: shell_words.Unit, values: Mapping[str, str]) -> str:
    if unit.kind == shell_words.REFERENCE:
        return values.get(unit.text, "")
    return unit.text if unit.kind == shell_words.LITERAL else ""


def _cut(
    units: Tuple[shell_words.Unit, ...],
    pieces: List[str],
    start: int,
    end: int,
    cuts: List[Tuple[int, int]],
    keep: List[bool],
) -> None:
    """Marks the characters from C(start) to C(end) of the value that are written here and not taken from a variable."""
    position = 0
    for unit, piece in zip(units, pieces):
        if unit.kind == shell_words.LITERAL and start <= position < end:
            cuts.append((unit.start, unit.end))
            keep[position] = False
        position += len(piece)


def with_tokens(text: str, name: str, added: Sequence[tokens.Token]) -> str:
    """The file with tokens at the end of the last unconditional value of a variable, inside its quotes where it has some."""
    words = " ".join(token.text for token in added)
    quoted = words.replace('"', '\\"')
    places = [item for item in parse(text).assignments if item.name == name and not item.conditional]
    if not places:
        newline = "" if not text or text.endswith("\n") else "\n"
        return f'{text}{newline}{name}="{quoted}"\n'
    last = places[-1]
    blank = " " if any(unit.kind != shell_words.MARK for unit in last.units) else ""
    closing = text[last.units[-1].start : last.end] if last.units and last.units[-1].kind == shell_words.MARK else ""
    if closing == "'":
        return f"{text[: last.end - 1]}{blank}{words}{text[last.end - 1 :]}"
    if closing == '"':
        return f"{text[: last.end - 1]}{blank}{quoted}{text[last.end - 1 :]}"
    return f'{text[: last.end]}"{blank}{quoted}"{text[last.end :]}'
