# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operands of a container node, reduced to what an observer of the API sees: order, handler, resource, labels."""

from __future__ import annotations

from ..behaviour import Behaviour, Context, Outcome, Pod, completed, register, running
from .sysfs import sysfs
from .validators import app_of, validations

RESOURCE = "nvidia.com/gpu"
HANDLERS = ("nvidia", "nvidia-cdi", "nvidia-legacy")
PRODUCTS = {
    "1eb8": ("Tesla-T4", 15360),
    "20f1": ("NVIDIA-A100-PCIE-40GB", 40960),
    "2230": ("NVIDIA-RTX-A6000", 49140),
    "2235": ("NVIDIA-A40", 46068),
    "2236": ("NVIDIA-A10", 23028),
    "2331": ("NVIDIA-H100-PCIe", 81559),
}


class _FileGate(Behaviour):
    """Waits for one status file and may write the next."""

    waits_for = ""
    writes = ""

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if not (validations(ctx) / self.waits_for).exists():
            return running(ready=False)
        if self.writes:
            (validations(ctx) / self.writes).touch()
        return completed(f"{self.container}: done")


@register
class Driver(Behaviour):
    container = "nvidia-driver-ctr"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        ctx.log("katagpu lab: stand-in, no driver is built or loaded")
        (validations(ctx) / ".driver-ctr-ready").touch()
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        (validations(ctx) / ".driver-ctr-ready").unlink(missing_ok=True)


@register
class DriverValidation(_FileGate):
    container = "driver-validation"
    waits_for = ".driver-ctr-ready"
    writes = "driver-ready"


@register
class Toolkit(Behaviour):
    container = "nvidia-container-toolkit-ctr"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        handlers = HANDLERS if ctx.env("CDI_ENABLED") == "true" else HANDLERS[:1]
        ctx.runtime_handlers.update(handlers)
        ctx.restart_runtime(seconds=2.0)
        ctx.log(f"configured containerd with the runtimes {' '.join(handlers)}")
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        ctx.runtime_handlers.difference_update(HANDLERS)
        ctx.restart_runtime(seconds=2.0)


@register
class ToolkitValidation(Behaviour):
    """In the operator validator it is the check itself; everywhere else it waits for its file."""

    container = "toolkit-validation"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        ready = validations(ctx) / "toolkit-ready"
        if app_of(pod) == "nvidia-operator-validator" and "nvidia" in ctx.runtime_handlers:
            ready.touch()
        return completed() if ready.exists() else running(ready=False)


@register
class CudaValidation(Behaviour):
    container = "cuda-validation"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        (validations(ctx) / "cuda-ready").touch()
        return completed("katagpu lab: stand-in, no CUDA workload was run")


@register
class DevicePlugin(Behaviour):
    container = "nvidia-device-plugin"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        gpus = sysfs(ctx.root, ctx.simulated).gpus()
        ctx.extended_resources[RESOURCE] = [f"GPU-{one.address}" for one in gpus if one.driver != "vfio-pci"]
        ctx.log(f"registered {RESOURCE} with {len(ctx.extended_resources[RESOURCE])} devices")
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        ctx.extended_resources.pop(RESOURCE, None)


@register
class PluginValidation(Behaviour):
    container = "plugin-validation"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if not ctx.extended_resources.get(RESOURCE):
            return running(ready=False)
        (validations(ctx) / "plugin-ready").touch()
        return completed(f"{RESOURCE} is advertised")


@register
class OperatorValidator(Behaviour):
    container = "nvidia-operator-validator"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        ctx.log("all validations are successful")
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        """preStop: rm -f /run/nvidia/validations/*-ready"""
        for path in validations(ctx).glob("*-ready"):
            if not path.name.startswith("."):
                path.unlink(missing_ok=True)


@register
class FeatureDiscovery(Behaviour):
    container = "gpu-feature-discovery"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        gpus = [one for one in sysfs(ctx.root, ctx.simulated).gpus() if one.device in PRODUCTS]
        if gpus:
            product, memory = PRODUCTS[gpus[0].device]
            ctx.patch_node_labels(
                {
                    "nvidia.com/gpu.product": product,
                    "nvidia.com/gpu.memory": str(memory),
                    "nvidia.com/gpu.count": str(len(gpus)),
                    "nvidia.com/mig.capable": "true" if product.startswith(("NVIDIA-A100", "NVIDIA-H100")) else "false",
                }
            )
        return running()
