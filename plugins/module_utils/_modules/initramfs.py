# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the initramfs of a kernel is, and what makes those of all kernels anew."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._boot.bootloader import SYSTEMD_BOOT
from ansible_collections.katagpu.cluster.plugins.module_utils._boot.hints import BOOT_ROOTS, os_release
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

UPDATE_INITRAMFS = "/usr/sbin/update-initramfs"
DRACUT = "/usr/bin/dracut"
KERNEL_INSTALL = "/usr/bin/kernel-install"


def read_facts(root: HostRoot, release: str) -> Dict[str, Any]:
    kernels = {name: f"/usr/lib/modules/{name}/vmlinuz" for name in root.list("/usr/lib/modules")}
    return {
        "image": image(root, release),
        "tools": [path for path in (UPDATE_INITRAMFS, DRACUT, KERNEL_INSTALL) if root.exists(path)],
        "kernels": {name: path for name, path in kernels.items() if root.exists(path)},
        "part_of_image": root.exists("/run/ostree-booted"),
    }


def image(root: HostRoot, release: str) -> Optional[str]:
    """As Debian, RHEL and SUSE name it, then where kernel-install puts it."""
    if not release:
        return None
    for path in (f"/boot/initrd.img-{release}", f"/boot/initramfs-{release}.img", f"/boot/initrd-{release}"):
        if root.exists(path):
            return path
    for folder in [f"{base}/{token}/{release}" for token in _entry_tokens(root) if token for base in BOOT_ROOTS]:
        for name in root.list(folder):
            if name.startswith("initrd"):
                return f"{folder}/{name}"
    return None


def _entry_tokens(root: HostRoot) -> List[Optional[str]]:
    """Names that kernel-install gives its folders, whether it was told one or chose."""
    files = [root.read_line(path) for path in ("/etc/kernel/entry-token", "/etc/machine-id")]
    release = os_release(root)
    return [*files, release.get("IMAGE_ID"), release.get("ID"), "Default"]


def commands(facts: Mapping[str, Any], boot: Mapping[str, Any]) -> List[List[str]]:
    """Nothing where the initramfs comes with the system's image or nothing known makes it.

    update-initramfs tells the boot loader itself. dracut would not find the folders of kernel-install, which is therefore asked
    for each kernel, but only for those whose entry is its own.
    """
    if facts["part_of_image"]:
        return []
    if UPDATE_INITRAMFS in facts["tools"]:
        return [[UPDATE_INITRAMFS, "-u", "-k", "all"]]
    if boot.get("bootloader") == SYSTEMD_BOOT:
        entries = [entry for lines in boot["generated"].values() for entry in lines]
        own = {entry["release"] for entry in entries if entry["kernel"].endswith(f"/{entry['release']}/linux")}
        kernels = sorted(own & {*facts["kernels"]}) if KERNEL_INSTALL in facts["tools"] else []
        return [[KERNEL_INSTALL, "add", name, facts["kernels"][name]] for name in kernels]
    return [[DRACUT, "--force", "--regenerate-all"]] if DRACUT in facts["tools"] else []
