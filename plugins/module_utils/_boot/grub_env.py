# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB's environment block, which GRUB itself writes in place: exactly 1024 bytes, lines of C(name=value), filled up with C(#)."""

from __future__ import annotations

import re
from typing import Dict, List, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

SIZE = 1024
_HEADER = "# GRUB Environment Block\n"
_SET = re.compile(r"^\s*set\s+(\w+)=(?:\"([^\"]*)\"|'([^']*)'|(\S*))\s*$")
_IF_EMPTY = re.compile(r"^\s*if \[ -z \"\$\{?(\w+)\}?\" \]")


def parse(text: str) -> Dict[str, str]:
    found = {}
    for line in _lines(text):
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found[name] = re.sub(r"\\(.)", r"\1", value)
    return found


def with_value(text: str, name: str, value: str) -> str:
    """The block with one variable set; the others, their order and comments stay."""
    lines = _lines(text) if text.startswith(_HEADER) else []
    escaped = value.replace("\\", "\\\\")
    places = [place for place, line in enumerate(lines) if line.startswith(f"{name}=")]
    if places:
        # Of several the last one counts.
        lines[places[-1]] = f"{name}={escaped}"
    else:
        lines.append(f"{name}={escaped}")
    body = _HEADER + "".join(f"{line}\n" for line in lines)
    size = len(body.encode())
    if size > SIZE:
        raise KatagpuError(
            f"[B19][block] The environment block of GRUB has {SIZE} bytes, and {name} would make it {size}. Nothing was changed. "
            "Fix: remove arguments that are not needed, or set them in /etc/default/grub and in every loader entry by hand."
        )
    return body + "#" * (SIZE - size)


def _lines(text: str) -> List[str]:
    """Without the header and the filling, which may stand behind the last line's end."""
    body = text[len(_HEADER) :] if text.startswith(_HEADER) else text
    return [line for line in body.rstrip("#").split("\n") if line]


def assigned(grub_cfg_text: str) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Variables that a grub.cfg sets in any case, and those that it sets where the environment block does not."""
    always: Dict[str, str] = {}
    otherwise: Dict[str, str] = {}
    empty = ""
    for line in grub_cfg_text.split("\n"):
        condition = _IF_EMPTY.match(line)
        match = _SET.match(line)
        if condition:
            empty = condition.group(1)
        elif line.strip() in ("fi", "else"):
            empty = ""
        elif match:
            value = next((group for group in match.groups()[1:] if group is not None), "")
            (otherwise if match.group(1) == empty else always)[match.group(1)] = value
    return always, otherwise
