# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel lines of a generated grub.cfg, each with what tells a normal entry from a recovery or a foreign one."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens

_SECTION = re.compile(r"^### (BEGIN|END) (\S+) ###")
_ENTRY = re.compile(r"^\s*menuentry\s+('[^']*'|\"[^\"]*\")(.*)$")
_ID = re.compile(r"(?:menuentry_id_option|--id)\s+('[^']*'|\"[^\"]*\"|\S+)")
_LINUX = re.compile(r"^\s*linux(?:efi|16)?\s+(\S+)[ \t]*(.*)$")
RECOVERY_WORDS = frozenset({"single", "recovery"})


class Entry(NamedTuple):
    title: str
    kernel: str
    release: str
    arguments: str
    recovery: bool
    managed: bool

    def as_dict(self) -> Dict[str, Any]:
        return dict(self._asdict())


def entries(text: str) -> List[Entry]:
    """C(managed) are those that follow GRUB_CMDLINE_LINUX_DEFAULT: normal entries of grub-mkconfig's Linux scripts."""
    found: List[Entry] = []
    section = title = identity = ""
    for line in text.split("\n"):
        marker = _SECTION.match(line)
        if marker:
            section = marker.group(2) if marker.group(1) == "BEGIN" else ""
            continue
        entry = _ENTRY.match(line)
        if entry:
            title = entry.group(1)[1:-1]
            match = _ID.search(entry.group(2))
            identity = match.group(1).strip("'\"") if match else ""
            continue
        kernel = _LINUX.match(line)
        if kernel:
            found.append(_entry(section, title, identity, kernel.group(1), kernel.group(2).rstrip()))
    return found


def _entry(section: str, title: str, identity: str, kernel: str, arguments: str) -> Entry:
    words = {token.key for token in tokens.parse(arguments).tokens}
    recovery = "-recovery-" in identity or bool(words & RECOVERY_WORDS)
    ours = not section or "linux" in section.rsplit("/", 1)[-1]
    foreign = identity.startswith("osprober") or "memtest" in kernel
    return Entry(title, kernel, release(kernel), arguments, recovery, ours and not recovery and not foreign)


def release(kernel: str) -> str:
    """The kernel's version, as its file is named."""
    return kernel.rpartition("/")[2].partition("-")[2]
