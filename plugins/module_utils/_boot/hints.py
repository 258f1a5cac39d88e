# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells which boot loader a machine has."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

DEFAULTS = "/etc/default/grub"
GRUB_CFG = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
# Where the EFI system partition or the extended boot loader partition is mounted.
BOOT_ROOTS = ("/efi", "/boot", "/boot/efi")

GENERATED_LIMIT = 4 * 1024 * 1024
_MKCONFIG = ("/usr/sbin/grub-mkconfig", "/usr/sbin/grub2-mkconfig")
_VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_PATHS = (
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
    "/usr/sbin/transactional-update",
    "/boot/extlinux/extlinux.conf",
    "/etc/zipl.conf",
    *GRUB_CFG,
)


def read_hints(root: HostRoot, grub_cfgs: Dict[str, str], entries: List[str]) -> Dict[str, Any]:
    """C(grub_cfgs) are the texts of all files of that name, C(entries) the paths of the loader entries."""
    defaults = root.read(DEFAULTS)
    mkconfig = "".join(root.read(path) or "" for path in _MKCONFIG)
    loader_type = re.search(r"^LOADER_TYPE=[\"']?([\w-]*)", root.read("/etc/sysconfig/bootloader") or "", re.MULTILINE)
    return {
        "os_release": os_release(root),
        "paths": [path for path in _PATHS if root.exists(path)],
        "loader_info": _efi_text(root, "LoaderInfo"),
        "loader_type": loader_type.group(1) if loader_type else "",
        "booted_uki": root.exists(f"/sys/firmware/efi/efivars/StubInfo-{_VENDOR}"),
        "ukis": ukis(root),
        "bls_entries": bool(entries),
        "bls_enabled": bool(re.search(r"^GRUB_ENABLE_BLSCFG=[\"']?true", defaults or "", re.MULTILINE)),
        "runs_blscfg": any(re.search(r"^\s*blscfg\b", text, re.MULTILINE) for text in grub_cfgs.values()),
        "menus_on_esp": [
            path
            for path, text in grub_cfgs.items()
            if "/EFI/" in path and re.search(r"^\s*menuentry ", text, re.MULTILINE)
        ],
        "defaults": defaults is not None,
        "mkconfig_reads_drop_ins": "default/grub.d" in mkconfig if mkconfig else None,
        "read_only_root": _read_only_root(root.read("/proc/mounts") or ""),
    }


def grub_cfg_paths(root: HostRoot) -> Tuple[str, ...]:
    esp = "/boot/efi/EFI"
    return (*GRUB_CFG, *(path for name in root.list(esp) for path in [f"{esp}/{name}/grub.cfg"] if root.exists(path)))


def ukis(root: HostRoot) -> List[str]:
    folders = [f"{base}/EFI/Linux" for base in BOOT_ROOTS]
    return [f"{folder}/{name}" for folder in folders for name in root.list(folder) if name.lower().endswith(".efi")]


def os_release(root: HostRoot) -> Dict[str, str]:
    text = root.read("/etc/os-release", 16384) or root.read("/usr/lib/os-release", 16384) or ""
    pairs = re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)
    return {name: value.strip().strip("\"'") for name, value in pairs}


def _efi_text(root: HostRoot, name: str) -> str:
    """What the boot loader that really ran wrote into an EFI variable (four bytes of attributes, then UTF-16)."""
    data = root.read_bytes(f"/sys/firmware/efi/efivars/{name}-{_VENDOR}", 1024)
    return "" if data is None else data[4:].decode("utf-16-le", "ignore").rstrip("\0")


def _read_only_root(mounts: str) -> bool:
    """The last mount on C(/) is the one that counts."""
    options = [line.split()[3] for line in mounts.splitlines() if line.split()[1:2] == ["/"] and len(line.split()) > 3]
    return bool(options) and "ro" in options[-1].split(",")
