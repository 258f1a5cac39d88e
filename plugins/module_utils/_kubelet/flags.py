# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags out of a command line, or out of the texts that make one: unit files and environment files."""

from __future__ import annotations

import re
import shlex
from typing import Dict, Iterable, List

_FLAG = re.compile(r"""(?:^|(?<=[\s"'=]))--([a-z][a-z0-9-]*)(?:=|[ \t]+(?!-))("[^"]*"|'[^']*'|[^\s"']*)""")
_COMMENT = re.compile(r"^\s*[#;].*$", re.MULTILINE)


def of_arguments(arguments: Iterable[str]) -> Dict[str, List[str]]:
    """Name to values, in their order. A flag without a value has the value C(true), as for the kubelet."""
    found: Dict[str, List[str]] = {}
    waiting = ""
    for argument in arguments:
        if argument.startswith("--"):
            name, separator, value = argument[2:].partition("=")
            found.setdefault(name, []).append(value if separator else "true")
            waiting = "" if separator else name
        elif waiting:
            found[waiting][-1] = argument
            waiting = ""
    return found


def of_text(text: str) -> Dict[str, List[str]]:
    found: Dict[str, List[str]] = {}
    for name, value in _FLAG.findall(_COMMENT.sub("", text)):
        found.setdefault(name, []).append(value.strip("\"'"))
    return found


def of_unit(text: str) -> Dict[str, List[str]]:
    """Flags of the commands of a unit file, whose words may be quoted and on lines of their own."""
    found: Dict[str, List[str]] = {}
    for line in _COMMENT.sub("", text).replace("\\\n", " ").splitlines():
        if not line.startswith("ExecStart="):
            continue
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        for name, values in of_arguments(words).items():
            found.setdefault(name, []).extend(values)
    return found
