# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which system this is: boot, machine, kernel, distribution."""

from __future__ import annotations

import platform
import re
from typing import Any, Dict, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import facts as boot_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._modules import initramfs
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.plan import BLACKLIST_PATH
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.rules import RULES

# What takes effect at a boot: whether this boot has read it is told by its age.
_TAKES_EFFECT_AT_BOOT = (BLACKLIST_PATH, RULES)
_OS_RELEASE = ("id", "id_like", "version_id", "pretty_name")
_PRODUCT = "/sys/class/dmi/id/product_name"
_VENDOR = "/sys/class/dmi/id/sys_vendor"
# Substrings of DMI vendor or product names that the well-known hypervisors set.
_HYPERVISORS = (
    ("qemu", "qemu"),
    ("kvm", "kvm"),
    ("vmware", "vmware"),
    ("virtualbox", "oracle"),
    ("innotek", "oracle"),
    ("xen", "xen"),
    ("virtual machine", "microsoft"),
    ("amazon ec2", "amazon"),
    ("google compute engine", "google"),
    ("openstack", "kvm"),
)


def read_platform(root: HostRoot) -> Dict[str, Any]:
    return {
        "boot_id": root.read_line("/proc/sys/kernel/random/boot_id"),
        "boot_time": _boot_time(root),
        "modified": _modified(root),
        "machine_id": root.read_line("/etc/machine-id"),
        "hostname": root.read_line("/proc/sys/kernel/hostname") or root.read_line("/etc/hostname"),
        "kernel": root.read_line("/proc/sys/kernel/osrelease"),
        # A copied tree does not say for which processor it is.
        "architecture": platform.machine() if root.is_live else None,
        "os_release": parse_os_release(root.read("/etc/os-release") or root.read("/usr/lib/os-release") or ""),
        "virtualization": read_virtualization(root),
        "python": platform.python_version(),
    }


def _boot_time(root: HostRoot) -> Optional[int]:
    match = re.search(r"^btime (\d+)$", root.read("/proc/stat") or "", re.MULTILINE)
    return int(match.group(1)) if match else None


def _modified(root: HostRoot) -> Dict[str, float]:
    image = initramfs.image(root, root.read_line("/proc/sys/kernel/osrelease") or "")
    paths = [*boot_facts.candidates(root), *_TAKES_EFFECT_AT_BOOT, *([image] if image else [])]
    return {path: seconds for path in paths for seconds in [root.modified(path)] if seconds is not None}


def parse_os_release(text: str) -> Dict[str, str]:
    values = {}
    for line in text.splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and key.lower() in _OS_RELEASE:
            values[key.lower()] = value.strip().strip("\"'")
    return values


def read_virtualization(root: HostRoot) -> Dict[str, Any]:
    """What hints at a guest; bare metal has neither flag nor name."""
    names = [root.read_line(path) for path in (_VENDOR, _PRODUCT)]
    joined = " ".join(name for name in names if name).lower()
    hypervisor = next((kind for word, kind in _HYPERVISORS if word in joined), None)
    flags = _cpu_flags(root)
    return {
        "guest": "hypervisor" in flags or hypervisor is not None,
        "hypervisor": hypervisor,
        "sys_vendor": names[0],
        "product_name": names[1],
    }


def _cpu_flags(root: HostRoot) -> set[str]:
    for line in (root.read("/proc/cpuinfo", 16 * 1024) or "").splitlines():
        key, _separator, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()
