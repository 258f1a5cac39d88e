# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s-driver-manager v0.12.0, uninstall_driver: the init container of vfio-manager and driver in GPU Operator 26.x."""

from __future__ import annotations

import time

from ..behaviour import Behaviour, Context, Outcome, Pod, completed, failed, register, running
from .driver_manager import DEPLOY, WAIT_SECONDS, host_driver, is_script, paused, resumed
from .images import labels_of
from .sysfs import sysfs
from .vfio_manage import unbind_all

EVICTED = (
    "operator-validator",
    "container-toolkit",
    "device-plugin",
    "gpu-feature-discovery",
    "dcgm-exporter",
    "dcgm",
    "nvsm",
    "sandbox-validator",
    "sandbox-device-plugin",
    "vgpu-device-manager",
    "dra-validator",
    "dcgm-dra",
    "dcgm-exporter-dra",
)
# Written at the end in any case, an absent one as an empty value.
RESCHEDULED = (*EVICTED[:10], "dra-driver", *EVICTED[10:])
WAITED_FOR = (
    "nvidia-operator-validator",
    "nvidia-container-toolkit-daemonset",
    "nvidia-device-plugin-daemonset",
    "gpu-feature-discovery",
    "nvidia-dcgm-exporter",
    "nvidia-dcgm",
    "nvidia-dcgm-exporter-dra",
    "nvidia-dcgm-dra",
    "nvidia-mig-manager",
    "nvidia-sandbox-validator",
    "nvidia-sandbox-device-plugin-daemonset",
    "nvidia-vgpu-device-manager",
)


@register
class DriverManager26(Behaviour):
    """Sends operands away only where an NVIDIA driver is loaded; unbinds all GPUs at every start."""

    container = "k8s-driver-manager"

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        return container.get("name") == self.container and not is_script(container)

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        system = sysfs(ctx.root, ctx.simulated)
        if host_driver(ctx, system):
            return running()
        labels = ctx.node_labels()
        ctx.memory["labels"] = {f"{DEPLOY}{name}": labels.get(f"{DEPLOY}{name}", "") for name in RESCHEDULED}
        if not system.loaded("nvidia"):
            ctx.log("level=info msg=No NVIDIA driver loaded, skipping eviction of GPU clients and workloads")
            return self._finish(ctx)
        ctx.log("level=info msg=Shutting down all GPU clients on the current node")
        evicted = {f"{DEPLOY}{name}" for name in EVICTED}
        ctx.patch_node_labels({key: paused(text) for key, text in ctx.memory["labels"].items() if key in evicted})
        ctx.memory["deadline"] = time.time() + WAIT_SECONDS
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if "fail_at" in ctx.memory:
            return running() if time.time() < ctx.memory["fail_at"] else failed("driver is pre-installed on host")
        left = [one for one in ctx.pods_on_node() if labels_of(one).get("app") in WAITED_FOR]
        if left and time.time() < ctx.memory["deadline"]:
            return running()
        return self._finish(ctx)

    @staticmethod
    def _finish(ctx: Context) -> Outcome:
        system = sysfs(ctx.root, ctx.simulated)
        if system.loaded("nouveau"):
            problem = system.unload("nouveau")
            if problem:
                return failed(f"failed to unload nouveau driver: {problem}")
            ctx.log("level=info msg=Successfully unloaded nouveau driver")
        ctx.log("level=info msg=Unbinding vfio-pci driver from all devices")
        unbind_all(ctx, system)
        ctx.log("level=info msg=Rescheduling all GPU clients on the current node")
        ctx.patch_node_labels({key: resumed(text) for key, text in ctx.memory["labels"].items()})
        return completed()
