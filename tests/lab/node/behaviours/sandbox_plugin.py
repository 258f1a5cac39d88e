# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubevirt-gpu-device-plugin v1.2.4: one scan at start, no look at the class, one device per IOMMU group."""

from __future__ import annotations

import re

from ..behaviour import Behaviour, Context, Outcome, Pod, register, running
from .sysfs import NVIDIA, Function, sysfs

# Names of the devices that the lab knows, as the PCI ID database has them.
NAMES = {
    "10f8": "TU104 HD Audio Controller",
    "1aef": "GA102 High Definition Audio Controller",
    "1ad8": "TU104 USB 3.1 Host Controller",
    "1ad9": "TU104 USB Type-C UCSI Controller",
    "1eb8": "TU104GL [Tesla T4]",
    "20f1": "GA100 [A100 PCIe 40GB]",
    "2230": "GA102GL [RTX A6000]",
    "2235": "GA102GL [A40]",
    "2236": "GA102GL [A10]",
    "2331": "GH100 [H100 PCIe]",
}


def resource_name(device_name: str) -> str:
    """GA102GL [A10] becomes GA102GL_A10."""
    name = device_name.strip().upper().replace("/", "_").replace(".", "_")
    return re.sub(r"[^a-zA-Z0-9_.]+", "", re.sub(r"\s+", "_", name))


def scan(functions: list[Function]) -> dict[str, list[str]]:
    """Resource -> device ids (IOMMU groups). The first function of a group on vfio-pci names the group."""
    resources: dict[str, list[str]] = {}
    seen: set[str] = set()
    for one in functions:
        if one.vendor != NVIDIA or one.driver != "vfio-pci" or not one.group or one.group in seen:
            continue
        seen.add(one.group)
        name = resource_name(NAMES[one.device]) if one.device in NAMES else one.device
        resources.setdefault(f"nvidia.com/{name}", []).append(one.group)
    return resources


@register
class SandboxDevicePlugin(Behaviour):
    container = "nvidia-sandbox-device-plugin-ctr"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        found = scan(sysfs(ctx.root, ctx.simulated).functions())
        ctx.memory["resources"] = list(found)
        for resource, groups in found.items():
            ctx.log(f"DP Name {resource}: IOMMU groups {' '.join(groups)}")
            ctx.extended_resources[resource] = groups
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        for resource in ctx.memory.get("resources", []):
            ctx.extended_resources.pop(resource, None)
