# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the console that the firmware began lies in memory, as long as it has not been taken over."""

from __future__ import annotations

import re
from typing import List

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

# Names of drivers/firmware/sysfb and of the drivers that follow it.
_LINE = re.compile(
    r"^\s*([0-9a-f]+)-([0-9a-f]+) : (BOOTFB|efifb|vesafb|simplefb|simpledrm|simple-framebuffer(?:\.\d+)?)$",
    re.MULTILINE,
)


def read_framebuffers(root: HostRoot) -> List[List[object]]:
    """Start, end and name; none without privileges, because the kernel then shows zeros."""
    found = _LINE.findall(root.read("/proc/iomem") or "")
    ranges = {(int(start, 16), int(end, 16)): name for start, end, name in found}
    return [[start, end, name] for (start, end), name in sorted(ranges.items()) if end]
