# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes grub.cfg anew in one step.

grub-mkconfig empties the old file and fills it again, so a host that loses power in between has no boot menu. It is made
to write beside the old file, which the new one then replaces.
"""

from __future__ import annotations

from typing import Callable, List, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

Run = Callable[[List[str]], Tuple[int, str, str]]

UPDATE_GRUB = ["update-grub"]
MKCONFIG = ["grub2-mkconfig", "-o"]
_GRUB_CFG = "/boot/grub/grub.cfg"
_SUFFIX = ".katagpu"


def run(root: HostRoot, command: List[str], execute: Run) -> Tuple[int, str, str]:
    """Runs any command of a plan; what generates a grub.cfg, in this way."""
    if command == UPDATE_GRUB:
        words, target = [*UPDATE_GRUB, "-o"], _GRUB_CFG
    elif command[:2] == MKCONFIG:
        words, target = MKCONFIG, command[2]
    else:
        return execute(command)
    target = root.resolve(target) or target
    new = f"{target}{_SUFFIX}"
    try:
        result = execute([*words, new])
        # A wrapper that takes no options has written the file itself.
        if result[0] == 0 and root.exists(new):
            root.replace(new, target)
        return result
    finally:
        root.remove(new)
