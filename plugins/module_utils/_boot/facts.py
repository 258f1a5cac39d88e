# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What decides about the kernel's arguments on this machine: the boot loader, its sources and what it generated."""

from __future__ import annotations

import re
from typing import Any, Dict, List

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import bootloader, grub_cfg
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

DEFAULTS = "/etc/default/grub"
DROP_INS = "/etc/default/grub.d"
GRUB_CFG = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")

_GENERATED_LIMIT = 4 * 1024 * 1024
_MKCONFIG = ("/usr/sbin/grub-mkconfig", "/usr/sbin/grub2-mkconfig")


def read_facts(root: HostRoot) -> Dict[str, Any]:
    """C(files) are in the order in which grub-mkconfig reads them; C(generated) has one entry for each kernel line."""
    files = _sources(root)
    found = bootloader.detect(_hints(root, files))
    generated: Dict[str, List[Dict[str, Any]]] = {}
    for path in GRUB_CFG:
        text = root.read(path, _GENERATED_LIMIT)
        if text is not None:
            generated[path] = [entry.as_dict() for entry in grub_cfg.entries(text)]
    return {
        "bootloader": found.name,
        "supported": found.supported,
        "reason": found.reason,
        "running": (root.read("/proc/cmdline", 65536) or "").strip(),
        "files": files,
        "modes": {path: root.mode(path) for path in files},
        "generated": generated,
    }


def _sources(root: HostRoot) -> Dict[str, str]:
    files: Dict[str, str] = {}
    names = sorted(name for name in root.list(DROP_INS) if name.endswith(".cfg") and not name.startswith("."))
    for path in (DEFAULTS, *(f"{DROP_INS}/{name}" for name in names)):
        text = root.read(path)
        if text is not None:
            files[path] = text
    return files


def _hints(root: HostRoot, files: Dict[str, str]) -> Dict[str, Any]:
    os_release = _os_release(root.read("/etc/os-release", 16384) or root.read("/usr/lib/os-release", 16384) or "")
    mkconfig = "".join(root.read(path) or "" for path in _MKCONFIG)
    paths = (
        "/run/ostree-booted",
        "/usr/bin/rpm-ostree",
        "/etc/machine-config-daemon",
        "/etc/kernel/proxmox-boot-uuids",
        "/etc/kernelstub/configuration",
        "/boot/firmware/cmdline.txt",
        "/boot/loader/loader.conf",
        "/boot/efi/loader/loader.conf",
        "/efi/loader/loader.conf",
        "/usr/sbin/grubby",
        "/usr/sbin/update-grub",
        "/boot/extlinux/extlinux.conf",
        "/etc/zipl.conf",
        *GRUB_CFG,
    )
    return {
        "os_release": os_release,
        "paths": [path for path in paths if root.exists(path)],
        "loader_info": _loader_info(root),
        "bls_entries": bool([name for name in root.list("/boot/loader/entries") if name.endswith(".conf")]),
        "bls_enabled": bool(re.search(r"^GRUB_ENABLE_BLSCFG=[\"']?true", files.get(DEFAULTS, ""), re.MULTILINE)),
        "defaults": DEFAULTS in files,
        "mkconfig_reads_drop_ins": "default/grub.d" in mkconfig if mkconfig else None,
    }


def _os_release(text: str) -> Dict[str, str]:
    pairs = re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)
    return {name: value.strip().strip("\"'") for name, value in pairs}


def _loader_info(root: HostRoot) -> str:
    """What the boot loader that really ran wrote into an EFI variable (four bytes of attributes, then UTF-16)."""
    data = root.read_bytes("/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", 1024)
    return "" if data is None else data[4:].decode("utf-16-le", "ignore").rstrip("\0")
