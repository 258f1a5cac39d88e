# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own file below /etc/default/grub.d, the only place where this collection adds arguments."""

from __future__ import annotations

from typing import List, Optional, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import grub_defaults, shell_words, tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

PATH = "/etc/default/grub.d/99-katagpu.cfg"
MODE = 0o644
MARKER = "# Managed by katagpu.cluster.kernel_cmdline"
_HEADER = f"{MARKER}: the file goes away when its last argument does.\n"


def read(text: Optional[str]) -> List[tokens.Token]:
    """The arguments that the file adds."""
    if text is None:
        return []
    if not text.startswith(MARKER):
        raise KatagpuError(
            f"{PATH} exists and was not written by this collection. Nothing was changed. "
            "Fix: rename that file; its settings keep their effect under another name."
        )
    added = "".join(
        unit.text
        for assignment in grub_defaults.parse(text).assignments
        if assignment.name in grub_defaults.VARIABLES
        for unit in assignment.units
        if unit.kind == shell_words.LITERAL
    )
    return tokens.parse(added).tokens


def render(added: Sequence[tokens.Token], variable: str) -> Optional[str]:
    if not added:
        return None
    words = " ".join(token.text.replace('"', '\\"') for token in added)
    return f'{_HEADER}{variable}="${variable} {words}"\n'
