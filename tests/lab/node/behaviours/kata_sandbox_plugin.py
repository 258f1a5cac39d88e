# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA sandbox-device-plugin v0.0.5 (mode kata): one scan at start, CDI files, one resource per alias or model."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..behaviour import Behaviour, Context, Outcome, Pod, register, running
from .sandbox_plugin import NAMES
from .sysfs import NVIDIA, NVSWITCH_CLASS, Function, Sysfs, sysfs

DRIVER = "vfio-pci"
GPU_ALIAS = ("P_GPU_ALIAS", "pgpu")
SWITCH_ALIAS = ("NVSWITCH_ALIAS", "nvswitch")
CDI_VERSION = "0.5.0"


@dataclass
class Scan:
    """Ids of the devices by model, and the functions behind each id."""

    models: dict[str, list[str]] = field(default_factory=dict)
    functions: dict[str, list[Function]] = field(default_factory=dict)
    nodes: dict[str, list[str]] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)


def class_name(device_name: str) -> str:
    """GA102GL [A10] becomes GA102GL_A10; a hyphen stays."""
    name = device_name.strip().upper().replace("/", "_").replace(".", "_")
    return re.sub(r"[^a-zA-Z0-9_-]+", "", re.sub(r"\s+", "_", name))


def scan(system: Sysfs) -> Scan:
    """Only the literal driver counts. With /dev/iommu a device goes by its character device, otherwise by its group."""
    found = Scan()
    iommufd = (system.root / "dev/iommu").exists()
    for one in system.functions():
        switch = one.vendor == NVIDIA and one.class_code == NVSWITCH_CLASS
        if not (one.is_nvidia_gpu or switch) or one.driver != DRIVER:
            continue
        cdev = system.cdev(one.address) if iommufd else ""
        key = cdev.removeprefix("vfio") if cdev else one.group
        if not key:
            continue
        if key not in found.functions:
            found.models.setdefault(one.device, []).append(key)
            found.nodes[key] = [f"/dev/vfio/devices/{cdev}"] if cdev else ["/dev/vfio/vfio", f"/dev/vfio/{key}"]
        found.functions.setdefault(key, []).append(one)
        if switch:
            found.switches.add(one.device)
    return found


def classes(found: Scan, gpu_alias: str, switch_alias: str) -> list[tuple[str, list[str]]]:
    """(class, ids) per model, in the order in which the plugins register; equal classes follow each other."""
    named = []
    for model, keys in found.models.items():
        alias = switch_alias if model in found.switches else gpu_alias
        named.append((alias or class_name(NAMES.get(model, "")) or model, keys))
    return named


def cdi_file(kind: str, keys: list[str], found: Scan) -> str:
    """The specification of one class; the name of a device is its id."""
    lines = ["---", f"cdiVersion: {CDI_VERSION}", "containerEdits: {}", "devices:"]
    for key in sorted(keys, key=int):
        for _ in found.functions[key]:
            lines += ["- containerEdits:", "    deviceNodes:", *[f"    - path: {node}" for node in found.nodes[key]]]
            lines.append(f'  name: "{key}"')
    return "\n".join([*lines, f"kind: nvidia.com/{kind}", ""])


@register
class KataSandboxDevicePlugin(Behaviour):
    container = "nvidia-kata-sandbox-device-plugin-ctr"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        found = scan(sysfs(ctx.root, ctx.simulated))
        named = classes(found, ctx.env(*GPU_ALIAS), ctx.env(*SWITCH_ALIAS))
        if not named:
            ctx.log("No devices discovered, skipping CDI spec generation")
        merged: dict[str, list[str]] = {}
        for kind, keys in named:
            merged.setdefault(kind, []).extend(keys)
        directory = ctx.run_root / "cdi"
        directory.mkdir(parents=True, exist_ok=True)
        for kind, keys in merged.items():
            (directory / f"nvidia.com-{kind}.yaml").write_text(cdi_file(kind, keys, found), encoding="utf-8")
            ctx.log(f"Generated CDI spec: nvidia.com-{kind} with {len(keys)} devices")
        ctx.memory["resources"] = []
        for kind, keys in named:
            # A second model under the same alias takes the socket of the first.
            ctx.extended_resources[f"nvidia.com/{kind}"] = list(keys)
            ctx.memory["resources"].append(f"nvidia.com/{kind}")
            ctx.log(f'Registering device plugin "{kind}" with {len(keys)} device(s)')
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        """The resources go, the CDI files stay."""
        for resource in ctx.memory.get("resources", []):
            ctx.extended_resources.pop(resource, None)
