# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What decides about the kubelet's configuration on this machine. Text is handed over unparsed; nothing is judged."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, Iterable, List, Mapping, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet import flags
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

# The first line of every file of ours.
MARKER = "# Managed by katagpu.cluster.kubelet_config"
# Gone with the next boot, as is the need that it notes.
PENDING = "/run/katagpu/kubelet-restart.json"

CONFIGS = (
    "/var/lib/kubelet/config.yaml",
    "/etc/kubernetes/kubelet/config.json",
    "/etc/kubernetes/kubelet-config.yaml",
)
FLAGS = (
    "/var/lib/kubelet/kubeadm-flags.env",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/etc/kubernetes/kubelet.env",
    "/etc/systemd/system/kubelet.service",
    "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/usr/lib/systemd/system/kubelet.service",
    "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/lib/systemd/system/kubelet.service",
)
UNITS = (
    "kubelet.service",
    "rke2-server.service",
    "rke2-agent.service",
    "k3s.service",
    "k3s-agent.service",
    "k0scontroller.service",
    "k0sworker.service",
    "snap.microk8s.daemon-kubelite.service",
    "snap.microk8s.daemon-kubelet.service",
)
HINTS = (
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/kubeadm-flags.env",
    "/etc/rancher/rke2",
    "/etc/rancher/k3s",
    "/var/lib/k0s",
    "/var/snap/microk8s",
)
RANCHER = ("/etc/rancher/rke2/config.yaml", "/etc/rancher/k3s/config.yaml")

_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd")
_COMMANDS = ("kubelet", "k3s-server", "k3s-agent", "k3s", "kubelite")
_FILE = 32 * 1024
_WHOLE = 1024 * 1024
_FOLDER = 64
_ARGUMENTS = 16 * 1024


def read_facts(root: HostRoot) -> Dict[str, Any]:
    units = [unit for unit in UNITS if any(root.exists(f"{folder}/{unit}") for folder in _UNIT_FOLDERS)]
    process = read_process(root)
    texts = {path: text for path in FLAGS if (text := root.read(path, _FILE)) is not None}
    given = _given(process, texts)
    path = _last(given, "config") or (None if process and process["arguments"] else _first(root, CONFIGS))
    folder = _last(given, "config-dir")
    return {
        "units": units,
        "process": process,
        "present": [path for path in HINTS if root.exists(path)],
        "flags": texts,
        "config_path": path,
        "config": _file(root, path) if path else None,
        "drop_in_dir": folder,
        "drop_ins": _drop_ins(root, folder) if folder else {},
        "arguments": _rancher(root),
        "unit_arguments": _unit_arguments(root),
        "pending": _pending(root),
    }


def digest(root: HostRoot, path: str) -> Optional[str]:
    """Of the whole file; nothing where there is none."""
    data = root.read_bytes(path, _WHOLE)
    return None if data is None else hashlib.sha256(data).hexdigest()


def excerpt(text: str, keys: Iterable[str]) -> str:
    """The entries of some keys at the top of a YAML mapping, line by line: the file has secrets under others."""
    wanted = re.compile(rf"""^["']?(?:{"|".join(re.escape(key) for key in keys)})["']?\s*:""")
    kept: List[str] = []
    inside = False
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        if line[:1] not in ("", " ", "\t", "-", "]", "}"):
            inside = bool(wanted.match(line))
        if inside:
            kept.append(line)
    return "".join(line + "\n" for line in kept)


def _given(process: Optional[Mapping[str, Any]], texts: Mapping[str, str]) -> Dict[str, List[str]]:
    """What runs counts; without it, what would be run."""
    if process and process["arguments"]:
        return flags.of_arguments(process["arguments"])
    merged: Dict[str, List[str]] = {}
    for text in texts.values():
        for name, values in flags.of_text(text).items():
            merged.setdefault(name, []).extend(values)
    return merged


def _last(given: Mapping[str, List[str]], name: str) -> Optional[str]:
    values = given.get(name) or []
    return values[-1] if values and values[-1].startswith("/") else None


def _first(root: HostRoot, paths: Iterable[str]) -> Optional[str]:
    return next((path for path in paths if root.exists(path)), None)


def _file(root: HostRoot, path: str) -> Optional[Dict[str, Any]]:
    text = root.read(path, _FILE)
    return None if text is None else {"text": text, "sha256": digest(root, path)}


def _drop_ins(root: HostRoot, folder: str) -> Dict[str, Any]:
    paths = [f"{folder.rstrip('/')}/{name}" for name in root.list(folder)[:_FOLDER] if name.endswith(".conf")]
    return {path: found for path in paths if (found := _file(root, path)) is not None}


def _rancher(root: HostRoot) -> Dict[str, Any]:
    """Of k3s and RKE2 only what concerns the kubelet is handed over, for beside it stand tokens."""
    found: Dict[str, Any] = {}
    for path in RANCHER:
        names = [name for name in root.list(path + ".d")[:_FOLDER] if name.endswith((".yaml", ".yml"))]
        for each in (path, *(f"{path}.d/{name}" for name in names)):
            text = root.read(each, _FILE)
            if text is None:
                continue
            part = excerpt(text, ("kubelet-arg", "kubelet-arg+"))
            found[each] = {
                "text": part,
                "sha256": digest(root, each),
                "marked": text.startswith(MARKER),
                "unclear": not part and "kubelet-arg" in re.sub(r"(?m)^\s*#.*$", "", text),
            }
    return found


def _unit_arguments(root: HostRoot) -> Dict[str, List[str]]:
    """Arguments for the kubelet that units of k3s and RKE2 pass on their command line."""
    found: Dict[str, List[str]] = {}
    for unit in UNITS[1:5]:
        for folder in _UNIT_FOLDERS:
            given = flags.of_unit(root.read(f"{folder}/{unit}", _FILE) or "").get("kubelet-arg")
            if given:
                found[f"{folder}/{unit}"] = given
                break
    return found


def read_process(root: HostRoot) -> Optional[Dict[str, Any]]:
    """The process that runs the kubelet, found through its unit's cgroup. Shims outlive a restart in the same group."""
    for cgroup in _CGROUPS:
        for slice_name in [name for name in root.list(cgroup) if name.endswith(".slice")]:
            for unit in UNITS:
                text = root.read(f"{cgroup}/{slice_name}/{unit}/cgroup.procs", _FILE)
                found = _choose(root, text.split()) if text else None
                if found:
                    return {"unit": unit, **found}
    return None


def _choose(root: HostRoot, pids: Iterable[str]) -> Optional[Dict[str, Any]]:
    seen = []
    for pid in pids:
        started = _started(root.read(f"/proc/{pid}/stat", 4096) or "")
        if started is not None:
            name = root.read_line(f"/proc/{pid}/comm") or ""
            rank = _COMMANDS.index(name) if name in _COMMANDS else len(_COMMANDS)
            seen.append((rank, started, pid, name))
    if not seen:
        return None
    _rank, started, pid, name = min(seen)
    # What k3s is started with may hold a token.
    line = root.read(f"/proc/{pid}/cmdline", _ARGUMENTS) if name == "kubelet" else None
    return {"pid": pid, "started": str(started), "arguments": [word for word in (line or "").split("\0") if word]}


def _started(stat: str) -> Optional[int]:
    """Ticks since boot; the name before it, in brackets, may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else None


def _pending(root: HostRoot) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(root.read(PENDING, 4096) or "null")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
