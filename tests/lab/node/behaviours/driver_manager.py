# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s-driver-manager v0.6.2, uninstall_driver: the init container of vfio-manager and of the driver container."""

from __future__ import annotations

import time

from ..behaviour import Behaviour, Context, Outcome, Pod, completed, failed, register, running
from .images import image_version
from .sysfs import Sysfs, sysfs

PAUSED = "paused-for-driver-upgrade"
DEPLOY = "nvidia.com/gpu.deploy."
# Operands that it sends away before it touches the driver, and the app label of their pods.
EVICTED = {
    "operator-validator": "nvidia-operator-validator",
    "container-toolkit": "nvidia-container-toolkit-daemonset",
    "device-plugin": "nvidia-device-plugin-daemonset",
    "gpu-feature-discovery": "gpu-feature-discovery",
    "dcgm-exporter": "nvidia-dcgm-exporter",
    "dcgm": "nvidia-dcgm",
    "nvsm": "",
    "sandbox-device-plugin": "nvidia-sandbox-device-plugin-daemonset",
    "sandbox-validator": "nvidia-sandbox-validator",
    "vgpu-device-manager": "nvidia-vgpu-device-manager",
}
HOST_DRIVER_SLEEP_SECONDS = 60
WAIT_SECONDS = 300


def paused(value: str) -> str:
    """What an operand's label becomes; an absent label counts as empty and is written empty."""
    if value in ("", "false") or PAUSED in value:
        return value
    return PAUSED if value == "true" else f"{value}_{PAUSED}"


def resumed(value: str) -> str:
    """The way back."""
    if value == "false":
        return value
    return "true" if value == PAUSED else value.replace(PAUSED, "").replace("_", "")


def host_driver(ctx: Context, system: Sysfs) -> bool:
    """With a driver on the host it marks the node, and the container is to fail at memory["fail_at"]."""
    if not ((ctx.root / "usr/bin/nvidia-smi").exists() and system.loaded("nvidia")):
        return False
    ctx.log("NVIDIA GPU driver is already pre-installed on the node, disabling the containerized driver on the node")
    ctx.patch_node_labels({f"{DEPLOY}driver": "pre-installed"})
    ctx.memory["fail_at"] = time.time() + HOST_DRIVER_SLEEP_SECONDS
    return True


def is_script(container: dict[str, object]) -> bool:
    """Up to 0.7 it was a shell script; an image without a version counts as new."""
    version = image_version(container)
    return version is not None and version < (0, 10)


@register
class DriverManager(Behaviour):
    container = "k8s-driver-manager"

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        return container.get("name") == self.container and is_script(container)

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        system = sysfs(ctx.root, ctx.simulated)
        if host_driver(ctx, system):
            return running()
        labels = ctx.node_labels()
        ctx.memory["labels"] = {f"{DEPLOY}{name}": labels.get(f"{DEPLOY}{name}", "") for name in EVICTED}
        ctx.log("Shutting down all GPU clients on the current node by disabling their nodeSelector labels")
        ctx.patch_node_labels({key: paused(value) for key, value in ctx.memory["labels"].items()})
        ctx.memory["deadline"] = time.time() + WAIT_SECONDS
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if "fail_at" in ctx.memory:
            return running() if time.time() < ctx.memory["fail_at"] else failed("a host driver is in the way")
        apps = {app for app in EVICTED.values() if app}
        left = [
            one["metadata"]["name"]
            for one in ctx.pods_on_node()
            if (one["metadata"].get("labels") or {}).get("app") in apps
        ]
        if left and time.time() < ctx.memory["deadline"]:
            return running()
        return self._unbind(ctx)

    def _unbind(self, ctx: Context) -> Outcome:
        system = sysfs(ctx.root, ctx.simulated)
        try:
            for gpu in system.gpus():
                ctx.log(f"unbinding device {gpu.address}" + (f" from driver {gpu.driver}" if gpu.driver else ""))
                system.unbind(gpu)
        except OSError as error:
            self._resume(ctx)
            return failed(f"Unable to unbind vfio-pci driver from all devices: {error}")
        self._resume(ctx)
        if system.loaded("nouveau"):
            problem = system.unload("nouveau")
            if problem:
                return failed(f"Failed to unload nouveau driver: {problem}")
            ctx.log("Successfully unloaded nouveau driver")
        return completed()

    def _resume(self, ctx: Context) -> None:
        ctx.log("Rescheduling all GPU clients on the current node by enabling their nodeSelector labels")
        ctx.patch_node_labels({key: resumed(value) for key, value in ctx.memory["labels"].items()})
