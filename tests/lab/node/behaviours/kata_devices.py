# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Kata 4.0.0 takes devices into a sandbox: the kubelet's allocation, resolved in CDI files. No behaviour of its own."""

from __future__ import annotations

import re
from pathlib import Path

from .kata_containerd import configuration_directory
from .kata_stages import DIRECTORY
from .sysfs import Function, Sysfs

ANNOTATION_PREFIX = "io.katacontainers.config.hypervisor."


def configuration(root: Path, handler: str) -> str | None:
    """The configuration that kata-deploy left for a handler; None where the handler is not one of its."""
    shim = handler.removeprefix("kata-")
    path = root / DIRECTORY.lstrip("/") / configuration_directory(shim) / f"runtimes/{shim}/configuration-{shim}.toml"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def refused_annotation(text: str, annotations: dict[str, str]) -> str:
    """Why the runtime refuses the pod because of its annotations; empty when it does not."""
    found = re.search(r"(?m)^enable_annotations\s*=\s*\[(.*)\]", text)
    allowed = re.findall(r'"([^"]+)"', found[1]) if found else []
    for key in sorted(annotations):
        name = key.removeprefix(ANNOTATION_PREFIX)
        if name != key and not any(re.fullmatch(pattern, name) for pattern in allowed):
            return f"annotation {key} is not enabled"
    return ""


def cdi_nodes(directories: list[Path], kind: str) -> dict[str, list[str]]:
    """Device name -> its device nodes, of the CDI files of a kind."""
    found: dict[str, list[str]] = {}
    for path in [path for directory in directories for path in sorted(directory.glob("*.yaml"))]:
        text = path.read_text(encoding="utf-8", errors="replace")
        if not re.search(rf"(?m)^kind:\s*[\"']?{re.escape(kind)}[\"']?\s*$", text):
            continue
        # One device per list item below devices; its name comes after its edits.
        for item in re.split(r"(?m)^\s{0,2}- (?=containerEdits|name)", text)[1:]:
            name = re.search(r"(?m)^\s*name:\s*[\"']?([^\"'\s]+)", item)
            if name:
                found[name[1]] = re.findall(r"(?m)path:\s*[\"']?([^\"'\s]+)", item)
    return found


def problem(system: Sysfs, allocated: dict[str, list[str]]) -> str:
    """Why the VM could not be started with what the kubelet gave the pod; empty when it could."""
    directories = [system.root / "etc/cdi", system.root / "run/cdi"]
    for resource, ids in allocated.items():
        known = cdi_nodes(directories, resource)
        missing = [f"{resource}={one}" for one in ids if one not in known]
        if missing:
            return f"cold plug: CDI device injection failed: unresolvable CDI devices {', '.join(missing)}"
        for one in ids:
            text = _node_problem(system, [node for node in known[one] if node != "/dev/vfio/vfio"])
            if text:
                return text
    return ""


def _node_problem(system: Sysfs, nodes: list[str]) -> str:
    for node in nodes:
        members = _behind(system, node)
        gpus = [one for one in members if one.is_nvidia_gpu] or members[:1]
        if not gpus or "vfio" not in gpus[0].driver:
            return f"vfio: error opening {node}: No such file or directory"
        if any(not one.harmless for one in members):
            return (
                f"vfio {gpus[0].address}: group {gpus[0].group} is not viable. "
                "Please ensure all devices within the iommu_group are bound to their vfio bus driver."
            )
    return ""


def _behind(system: Sysfs, node: str) -> list[Function]:
    """Members of the IOMMU group that a device node stands for: a group, or a character device in one."""
    name = node.rpartition("/")[2]
    if not node.startswith("/dev/vfio/devices/"):
        return system.group_members(name)
    owner = next((one for one in system.functions() if system.cdev(one.address) == name), None)
    return system.group_members(owner.group) if owner else []
