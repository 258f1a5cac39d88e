# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one boot loader's planner answers, and the words with which all of them refuse."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens, wishes
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import READ_LIMIT


class Edit(NamedTuple):
    """C(writes) has the new text of a path, or nothing where the file goes away, in the order in which they are written.

    C(regenerate) is run where something is written or what was generated is not as wanted, C(commands) in any case.
    C(touch) has files that must stay younger (true) or older (false) than /etc/default/grub.
    """

    configured_before: str
    configured_after: str
    before: Dict[str, Optional[str]]
    writes: Dict[str, Optional[str]]
    uncertain: List[str]
    regenerate: List[List[str]]
    commands: List[List[str]]
    touch: Dict[str, bool]


def words(line: tokens.CommandLine) -> str:
    return " ".join(token.text for token in line.tokens)


def assess_entries(facts: Mapping[str, Any], wanted: wishes.Wishes) -> List[Dict[str, Any]]:
    """Every kernel that can be started, and what a normal one lacks or should not carry."""
    found = []
    for path, lines in facts["generated"].items():
        for line in lines:
            missing: List[str] = []
            unwanted: List[str] = []
            if line["managed"]:
                missing, unwanted = wanted.problems(tokens.parse(line["arguments"]))
            found.append({"path": path, **line, "missing": missing, "unwanted": unwanted})
    return found


def lack(missing: Sequence[str], unwanted: Sequence[str]) -> str:
    parts = [f"would lack {' '.join(missing)}"] if missing else []
    parts += [f"would still carry {' '.join(unwanted)}"] if unwanted else []
    return " and ".join(parts)


def check_writable(before: Mapping[str, Optional[str]], writes: Mapping[str, Optional[str]]) -> None:
    for path in writes:
        text = before.get(path) or ""
        if "\ufffd" in text or len(text) >= READ_LIMIT:
            raise KatagpuError(
                f"{path} is not UTF-8 text or is larger than {READ_LIMIT} bytes, so an edit could lose some of it. "
                "Nothing was changed. Fix: correct that file."
            )
