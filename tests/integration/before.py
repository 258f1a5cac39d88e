# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab as it was before the first run, to compare with what a removal leaves. Without what time changes by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.integration import lab, snapshot

FILE = lab.STATE / "before-first-run.json"

# Where text is compared, and not only that a file is there with its size and mode.
_TEXTS = "/etc /boot/grub /var/lib/kubelet/config.yaml"
# What a boot, a process of the system or the lab itself writes.
_RESTLESS = re.compile(
    r"^/(etc/(machine-id|resolv\.conf|ld\.so\.cache|\.updated)|boot/grub/grubenv|usr/lib/python3[^ ]*/__pycache__|var/\.updated"
    r"|var/lib/(kubelet/(?!config\.yaml)|containerd|dpkg/lock|apt|katalab)|root/\.)"
)
# What only says how often something was written.
_COUNTERS = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink")
_TRANSIENT = ("Endpoints", "EndpointSlice", "PodMetrics", "ControllerRevision", "CSINode")

State = dict[str, Any]


def write(machines: Iterable[str]) -> None:
    FILE.write_text(json.dumps(state(machines)), encoding="utf-8")


def read() -> State:
    found: State = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def state(machines: Iterable[str]) -> State:
    return {"api": api(), "hosts": {machine: host(machine) for machine in machines}}


def host(machine: str) -> dict[str, str]:
    """Path to type, mode, owner, size and link target, with a digest where the text counts; and what is bound to what."""
    found = {}
    for line in lab.tree(machine):
        path, kind, mode, owner, size, _modified, _changed, *target = line.split(" ")
        if not _RESTLESS.match(path):
            # The size of a folder says how many names it has had.
            found[path] = " ".join([kind, mode, owner, "" if kind == "d" else size, *target])
    for line in lab.guest(machine, f"find {_TEXTS} -type f -exec sha256sum {{}} +").splitlines():
        digest, _blank, path = line.partition("  ")
        if path in found:
            found[path] += f" {digest}"
    drivers = (
        "for one in /sys/bus/pci/devices/*; do echo ${one##*/} $(basename $(readlink $one/driver) 2>/dev/null); done"
    )
    for line in lab.guest(machine, drivers).splitlines():
        address, _blank, driver = line.partition(" ")
        found[f"driver of {address}"] = driver
    found["kernel arguments"] = re.sub(r"BOOT_IMAGE=\S+ ", "", lab.guest(machine, "cat /proc/cmdline")).strip()
    return found


def api() -> dict[str, Any]:
    found = {}
    for key, item in snapshot.objects().items():
        if item.get("kind", key.split(" ")[0]) in _TRANSIENT or key.split(" ")[0] in _TRANSIENT:
            continue
        # The API server's own, one for each group of a CRD.
        if "kube-aggregator.kubernetes.io/automanaged" in (item["metadata"].get("labels") or {}):
            continue
        meta = {name: value for name, value in item["metadata"].items() if name not in _COUNTERS}
        content = {
            name: value for name, value in item.items() if name not in ("metadata", "status", "kind", "apiVersion")
        }
        found[key] = {"metadata": meta, **content}
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line for each key that came, went or changed; of objects with the paths that changed."""
    found = []
    for key in sorted({*before, *after}):
        if key not in before:
            found.append(f"+ {key}")
        elif key not in after:
            found.append(f"- {key}")
        elif before[key] != after[key]:
            found += [f"~ {key} {path}" for path in _paths(before[key], after[key])]
    return found


def _paths(one: Any, other: Any, path: str = "") -> list[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return [
            line
            for key in sorted({*one, *other})
            if one.get(key) != other.get(key)
            for line in _paths(one.get(key), other.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [f"{path}: {one!r} -> {other!r}"]
