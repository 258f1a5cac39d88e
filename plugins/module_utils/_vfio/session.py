# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the SSH session of this run comes from, which sudo keeps from what it starts."""

from __future__ import annotations

import re
from typing import Mapping

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

_VARIABLE = "SSH_CONNECTION"
_PARENT = re.compile(r"^PPid:\s*(\d+)$", re.MULTILINE)
_DEPTH = 32


def ssh_connection(environment: Mapping[str, str], root: HostRoot, process: str = "self") -> str:
    """The variable of that name of this process, else of the nearest one above that has it."""
    own = environment.get(_VARIABLE, "")
    for _depth in range(0 if own else _DEPTH):
        match = _PARENT.search(root.read(f"/proc/{process}/status") or "")
        if match is None or match.group(1) == "0":
            break
        process = match.group(1)
        for entry in (root.read(f"/proc/{process}/environ") or "").split("\0"):
            name, _equals, value = entry.partition("=")
            if name == _VARIABLE and value:
                return value
    return own
