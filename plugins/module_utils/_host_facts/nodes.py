# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the node runs with: device nodes, containerd, CDI and artifacts. Text is handed over unparsed."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

_DEVICES = ("/dev/kvm", "/dev/vhost-vsock", "/dev/vhost-net", "/dev/iommu")
_CONTAINERD_CONFIGS = (
    "/etc/containerd/config.toml",
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
    "/etc/k0s/containerd.toml",
    "/var/snap/microk8s/current/args/containerd.toml",
)
_CONTAINERD_DROP_INS = ("/etc/containerd/conf.d", "/etc/containerd/config.d")
_CDI = ("/etc/cdi", "/var/run/cdi")
_FILE = 256 * 1024
_FOLDER = 64


def read_devices(root: HostRoot) -> Dict[str, Any]:
    devices: Dict[str, Any] = {path: root.exists(path) for path in _DEVICES}
    devices["/dev/vfio"] = [name for name in root.list("/dev/vfio") if name not in ("vfio", "devices")]
    # Which function a node of its own belongs to; nothing where sysfs does not say it.
    devices["/dev/vfio/devices"] = {
        name: root.link_name(f"/sys/class/vfio-dev/{name}/device") for name in root.list("/dev/vfio/devices")
    }
    return devices


def read_containerd(root: HostRoot) -> Dict[str, Any]:
    drop_ins: Dict[str, Optional[str]] = {}
    for folder in _CONTAINERD_DROP_INS:
        drop_ins.update(_folder(root, folder, (".toml",)))
    return {
        "configs": _whole(root, _CONTAINERD_CONFIGS),
        "drop_ins": drop_ins,
        "socket": root.exists("/run/containerd/containerd.sock"),
    }


def read_cdi(root: HostRoot) -> Dict[str, Optional[str]]:
    """One folder where the other is a link to it: a file is listed under the first name it has."""
    specs: Dict[str, Optional[str]] = {}
    seen = set()
    for folder in _CDI:
        real = root.resolve(folder)
        if real is None or real in seen:
            continue
        seen.add(real)
        specs.update(_folder(root, folder, (".json", ".yaml", ".yml")))
    return specs


def read_artifacts(root: HostRoot, folders: Iterable[str]) -> Dict[str, Optional[List[str]]]:
    """Names below each folder, two levels deep as kata-manager lays them out; nothing where the folder is absent."""
    found: Dict[str, Optional[List[str]]] = {}
    for folder in folders:
        if not root.is_dir(folder):
            found[folder] = None
            continue
        names: List[str] = []
        for name in root.list(folder)[:_FOLDER]:
            child = f"{folder.rstrip('/')}/{name}"
            if root.is_dir(child):
                names.extend(f"{name}/{inner}" for inner in root.list(child)[:_FOLDER])
            else:
                names.append(name)
        found[folder] = names
    return found


def _whole(root: HostRoot, paths: Iterable[str]) -> Dict[str, Optional[str]]:
    """Nothing where the file is too large, because a parser would take a cut text for a broken file."""
    texts: Dict[str, Optional[str]] = {}
    for path in paths:
        data = root.read_bytes(path, _FILE + 1)
        if data is not None:
            texts[path] = data.decode("utf-8", "replace") if len(data) <= _FILE else None
    return texts


def _folder(root: HostRoot, folder: str, endings: tuple[str, ...]) -> Dict[str, Optional[str]]:
    names = [name for name in root.list(folder) if name.endswith(endings)][:_FOLDER]
    return _whole(root, [f"{folder}/{name}" for name in names])
