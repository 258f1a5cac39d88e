# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes the initramfs of a host, which images there are, and what is kept out of them."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

from ansible_collections.katagpu.cluster.plugins.module_utils._boot.facts import read_facts as read_boot
from ansible_collections.katagpu.cluster.plugins.module_utils._modules import initramfs
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.facts import module_name
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.early import DRACUT, INITRAMFS_TOOLS, OTHER

# dracut brings its wrapper under the name of update-initramfs, but not this.
_MKINITRAMFS = "/usr/sbin/mkinitramfs"
_MODPROBE_D = ("/usr/lib/modprobe.d", "/lib/modprobe.d", "/run/modprobe.d", "/etc/modprobe.d")
_KEPT_OUT = re.compile(r"(?m)^\s*(?:blacklist\s+(\S+)\s*$|install\s+(\S+)\s+\S*/(?:false|true)\b)")


def read_early(root: HostRoot) -> Dict[str, Any]:
    found = initramfs.read_facts(root, "")
    releases = sorted({*root.list("/lib/modules"), *root.list("/usr/lib/modules")})
    images = [image for release in releases for image in [initramfs.image(root, release)] if image]
    generator = _generator(root, found)
    # Only kernel-install has to know what the boot loader starts.
    asks_boot = generator == DRACUT and initramfs.KERNEL_INSTALL in found["tools"]
    return {
        "generator": generator,
        "images": images,
        "commands": initramfs.commands(found, read_boot(root) if asks_boot else {}) if images else [],
        "kept_out": _kept_out(root),
    }


def _generator(root: HostRoot, found: Mapping[str, Any]) -> str:
    if found["part_of_image"]:
        return OTHER
    if root.exists(_MKINITRAMFS):
        return INITRAMFS_TOOLS
    return DRACUT if initramfs.DRACUT in found["tools"] else OTHER


def _kept_out(root: HostRoot) -> List[str]:
    """By the running kernel's arguments or by modprobe's configuration, which the image gets a copy of."""
    texts = [
        root.read(f"{folder}/{name}", 65536) or ""
        for folder in _MODPROBE_D
        for name in root.list(folder)
        if name.endswith(".conf")
    ]
    names = [one or other for text in texts for one, other in _KEPT_OUT.findall(text)]
    for word in (root.read_line("/proc/cmdline") or "").split():
        key, _equals, value = word.partition("=")
        if key in ("modprobe.blacklist", "module_blacklist", "rd.driver.blacklist"):
            names += value.split(",")
    return sorted({module_name(name) for name in names if name})
