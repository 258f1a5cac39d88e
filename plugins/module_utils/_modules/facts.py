# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel modules there are, which are loaded, and what is configured for the next boot."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, Optional, Set

from ansible_collections.katagpu.cluster.plugins.module_utils._modules import initramfs
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

WANTED = (
    "vfio",
    "vfio_pci",
    "vfio_iommu_type1",
    "iommufd",
    "vhost_vsock",
    "vhost_net",
    "kvm",
    "kvm_intel",
    "kvm_amd",
)
_DRIVERS = ("nouveau", "nvidia", "nvidia_drm", "nvidia_uvm", "nvidiafb", "vmw_vsock_vmci_transport")
# Debian gives the modules of its driver packages names of their own.
_HOST_DRIVER = re.compile(r"nvidia(_(current|tesla|legacy)(_\d\w*)?)?(_open)?$")
_LARGE = 4 * 1024 * 1024


def module_name(name: str) -> str:
    """Modules are looked up with underscores, whatever the file or the user writes."""
    return name.replace("-", "_")


def read_facts(root: HostRoot, names: Iterable[str] = ()) -> Dict[str, Any]:
    """C(names) are asked for besides those that GPU passthrough needs."""
    release = root.read_line("/proc/sys/kernel/osrelease") or ""
    asked = sorted({module_name(name) for name in (*WANTED, *_DRIVERS, *names)})
    folder = _modules_folder(root, release)
    builtin = _names(root.read(f"{folder}/modules.builtin", _LARGE)) if folder else None
    loadable = _names(root.read(f"{folder}/modules.dep", _LARGE)) if folder else None
    loaded = sorted(line.split(" ", 1)[0] for line in (root.read("/proc/modules") or "").splitlines() if line)
    known_builtin = sorted(name for name in asked if builtin is not None and name in builtin)
    return {
        "kernel_release": release,
        "loaded": loaded,
        "builtin": known_builtin,
        "available": {
            name: name in loaded or name in known_builtin or (loadable is not None and name in loadable)
            for name in asked
        },
        "missing_in": _missing_in(root, release, asked),
        "host_drivers": sorted(name for name in {*(builtin or ()), *(loadable or ())} if _HOST_DRIVER.match(name)),
        "modprobe_d": _texts(root, ("/usr/lib/modprobe.d", "/lib/modprobe.d", "/run/modprobe.d", "/etc/modprobe.d")),
        "modules_load_d": {
            **_texts(root, ("/usr/lib/modules-load.d", "/run/modules-load.d", "/etc/modules-load.d")),
            **_single(root, "/etc/modules"),
        },
        "initramfs": initramfs.read_facts(root, release),
    }


def _missing_in(root: HostRoot, running: str, asked: Iterable[str]) -> Dict[str, List[str]]:
    """What the other installed kernels lack; the next boot may start one of them."""
    found = {}
    for release in root.list("/lib/modules"):
        folder = f"/lib/modules/{release}"
        texts = [root.read(f"{folder}/{name}", _LARGE) for name in ("modules.builtin", "modules.dep")]
        if release != running and texts[1] is not None:
            known = {name for text in texts for name in _names(text) or ()}
            found[release] = [name for name in asked if name not in known]
    return found


def _modules_folder(root: HostRoot, release: str) -> Optional[str]:
    if not release:
        return None
    for base in ("/lib/modules", "/usr/lib/modules"):
        if root.is_dir(f"{base}/{release}"):
            return f"{base}/{release}"
    return None


def _names(text: Optional[str]) -> Optional[Set[str]]:
    """Module names out of C(modules.builtin) and C(modules.dep), whose lines begin with a path."""
    if text is None:
        return None
    pattern = re.compile(r"^(?:\S*/)?([^/\s:]+)\.ko(?:\.(?:xz|gz|zst))?(?::|$)", re.MULTILINE)
    return {module_name(match.group(1)) for match in pattern.finditer(text)}


def _texts(root: HostRoot, folders: Iterable[str]) -> Dict[str, str]:
    """A name found in a later folder replaces the same name of an earlier one, as modprobe and systemd do."""
    found: Dict[str, str] = {}
    seen: Dict[str, str] = {}
    for folder in folders:
        for name in root.list(folder):
            text = root.read(f"{folder}/{name}", 65536) if name.endswith(".conf") else None
            if text is None:
                continue
            if name in seen:
                found.pop(seen[name], None)
            seen[name] = f"{folder}/{name}"
            found[f"{folder}/{name}"] = text
    return found


def _single(root: HostRoot, path: str) -> Dict[str, str]:
    text = root.read(path, 65536)
    return {} if text is None else {path: text}
