# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of the Boot Loader Specification: one file for each kernel, of which only the value of C(options) is edited."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import grub_cfg, tokens

_FIELD = re.compile(r"^[ \t]*([A-Za-z][\w-]*)(?:[ \t]+(.*?))?[ \t\r]*$", re.MULTILINE)
# GRUB does not take a variable for one behind a backslash.
_VARIABLE = re.compile(r"(?<!\\)\$(\w+)")
_TRIES = re.compile(r"\+\d+(-\d+)?$")


class Field(NamedTuple):
    """C(start) and C(end) are where the value stands in the text."""

    key: str
    value: str
    start: int
    end: int


def fields(text: str) -> List[Field]:
    found = []
    for match in _FIELD.finditer(text):
        end = match.end(2) if match.group(2) is not None else match.end(1)
        start = match.start(2) if match.group(2) is not None else match.end(1)
        found.append(Field(match.group(1), match.group(2) or "", start, end))
    return found


def value(text: str, key: str) -> str:
    """The first value of the key; nothing where there is none."""
    return next((field.value for field in fields(text) if field.key == key), "")


def options(text: str) -> List[Field]:
    return [field for field in fields(text) if field.key == "options"]


def with_value(text: str, field: Field, new: str) -> str:
    blank = "" if field.start > 0 and text[field.start - 1] in " \t" else " "
    return text[: field.start] + blank + new + text[field.end :]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """What GRUB makes of a value; a variable that is not set is nothing."""
    return _VARIABLE.sub(lambda match: f"{variables.get(match.group(1), '')} ", text)


def names(text: str) -> List[str]:
    return _VARIABLE.findall(text)


def identity(path: str) -> str:
    """The name by which a boot loader knows the entry, without what counts the attempts to boot it."""
    return _TRIES.sub("", path.rpartition("/")[2][: -len(".conf")])


def order(path: str) -> Tuple[Tuple[int, int, str], ...]:
    """A key that sorts entries by version; the greatest comes first in a boot menu."""
    parts = re.findall(r"\d+|[A-Za-z]+", identity(path))
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def summary(path: str, text: str, arguments: str, machine_id: Optional[str]) -> Dict[str, Any]:
    """As an entry of a generated configuration. Another system's entries, rescue entries and other programs are not ours."""
    version = value(text, "version")
    kernel = value(text, "linux")
    words = {token.key for token in tokens.parse(arguments).tokens}
    rescue = version.startswith("0-rescue") or "-0-rescue" in path
    recovery = rescue or bool(words & grub_cfg.RECOVERY_WORDS)
    owner = value(text, "machine-id")
    foreign = bool(machine_id and owner and owner != machine_id)
    return {
        "title": value(text, "title") or identity(path),
        "kernel": kernel,
        "release": version or grub_cfg.release(kernel),
        "arguments": arguments,
        "recovery": recovery,
        "managed": bool(kernel) and not recovery and not foreign,
    }
