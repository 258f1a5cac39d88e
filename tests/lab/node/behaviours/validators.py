# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nvidia-validator on sandbox nodes, and the init containers that wait for its status files."""

from __future__ import annotations

from pathlib import Path

from ..behaviour import Behaviour, Context, Outcome, Pod, completed, failed, register, running
from .images import image_name
from .sysfs import sysfs

WORKLOAD_LABEL = "nvidia.com/gpu.workload.config"
WORKLOADS = ("container", "vm-passthrough", "vm-vgpu")
CC_CAPABLE_LABEL = "nvidia.com/cc.capable"
CC_MANAGER_FILE = ".cc-manager-ctr-ready"
# Up to 25.3 the validator was an image of its own and took one driver only.
OLD_IMAGE = "gpu-operator-validator"
DRIVERS = ("vfio-pci", "nvgrace_gpu_vfio_pci")
PLUGINS = ("nvidia-sandbox-device-plugin-daemonset", "nvidia-kata-sandbox-device-plugin-daemonset")


def validations(ctx: Context) -> Path:
    """/run/nvidia/validations"""
    path = ctx.run_root / "nvidia/validations"
    path.mkdir(parents=True, exist_ok=True)
    return path


def app_of(pod: Pod) -> str:
    return str((pod["metadata"].get("labels") or {}).get("app", ""))


def node_workload(labels: dict[str, str], default: str) -> str:
    """Workload of this node; an absent or bad label means the default, as it does for the operator."""
    value = labels.get(WORKLOAD_LABEL, "")
    return value if value in WORKLOADS else default


class _Validator(Behaviour):
    """One component of nvidia-validator in the pod of the sandbox validator."""

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        return container.get("name") == self.container and app_of(pod) == "nvidia-sandbox-validator"

    def workload(self, ctx: Context) -> str:
        kind = node_workload(ctx.node_labels(), ctx.env("DEFAULT_GPU_WORKLOAD_CONFIG", "container"))
        (validations(ctx) / "workload-type").write_text(f"{kind}\n", encoding="utf-8")
        ctx.log(f"GPU workload configuration: {kind}")
        return kind


@register
class VfioPciValidation(_Validator):
    container = "vfio-pci-validation"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        if self.workload(ctx) != "vm-passthrough":
            return completed("vfio-pci not required on the node. Skipping validation.")
        ready = validations(ctx) / "vfio-pci-ready"
        ready.unlink(missing_ok=True)
        drivers = DRIVERS[:1] if image_name(ctx.container) == OLD_IMAGE else DRIVERS
        for gpu in sysfs(ctx.root, ctx.simulated).gpus():
            if gpu.driver not in drivers:
                return failed(f"device not bound to 'vfio-pci'; device: {gpu.address} driver: '{gpu.driver}'")
        ready.touch()
        return completed("Validation completed successfully - all devices are bound to vfio-pci")


@register
class CcManagerValidation(_Validator):
    """From 26.3 on. Without a label that nothing writes any more it looks at nothing."""

    container = "cc-manager-validation"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        (validations(ctx) / "cc-manager-ready").unlink(missing_ok=True)
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        log = ""
        if ctx.node_labels().get(CC_CAPABLE_LABEL) != "true":
            log = "Not a CC capable node, skipping CC Manager validation"
        elif not (validations(ctx) / CC_MANAGER_FILE).exists():
            return running(ready=False)
        (validations(ctx) / "cc-manager-ready").touch()
        return completed(log)


class _NotForVgpu(_Validator):
    def start(self, ctx: Context, pod: Pod) -> Outcome:
        if self.workload(ctx) == "vm-vgpu":
            return running(ready=False)
        return completed(f"{self.container}: not required on the node. Skipping validation.")

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        return running(ready=False)


@register
class VgpuManagerValidation(_NotForVgpu):
    container = "vgpu-manager-validation"


@register
class VgpuDevicesValidation(_NotForVgpu):
    container = "vgpu-devices-validation"


@register
class SandboxValidator(Behaviour):
    container = "nvidia-sandbox-validator"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        ctx.log("all validations are successful")
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        """preStop: rm -f /run/nvidia/validations/*"""
        for path in validations(ctx).iterdir():
            if not path.name.startswith("."):
                path.unlink(missing_ok=True)


class _Waits(Behaviour):
    """Init container of a sandbox device plugin: waits for files, looks at nothing else."""

    workload = ""
    ready_file = ""

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        return container.get("name") == self.container and app_of(pod) in PLUGINS

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        kind = validations(ctx) / "workload-type"
        if not kind.exists():
            return running(ready=False)
        if kind.read_text(encoding="utf-8").strip() != self.workload:
            return completed(f"{self.container}: not needed, skipping validation")
        # A stale file of an earlier validation is as good as a fresh one.
        return completed() if (validations(ctx) / self.ready_file).exists() else running(ready=False)


@register
class WaitsForVfio(_Waits):
    container = "vfio-pci-validation"
    workload = "vm-passthrough"
    ready_file = "vfio-pci-ready"


@register
class WaitsForVgpu(_Waits):
    container = "vgpu-devices-validation"
    workload = "vm-vgpu"
    ready_file = "vgpu-devices-ready"
