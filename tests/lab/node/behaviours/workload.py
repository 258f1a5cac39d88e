# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA sample vectoradd: succeeds only where a Kata VM with the GPU could have been started."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from ..behaviour import Behaviour, Context, Outcome, Pod, completed, failed, register, running, waiting
from . import kata_devices
from .sysfs import Sysfs, sysfs

IMAGE = "cuda-sample:vectoradd"
ANNOTATION = "cdi.k8s.io/gpu"
RUN_SECONDS = 3.0
LOG = """[Vector addition of 50000 elements]
Copy input data from the host memory to the CUDA device
CUDA kernel launch with 196 blocks of 256 threads
Copy output data from the CUDA device to the host memory
Test PASSED
Done"""
NO_GPU = "Failed to allocate device vector A (error code no CUDA-capable device is detected)!"


def cdi_devices(directory: Path, kind: str) -> dict[str, str]:
    """Device name -> device node of the CDI files of a kind, as kata-manager writes them."""
    found: dict[str, str] = {}
    for path in sorted(directory.glob("*.yaml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if not re.search(rf"(?m)^kind:\s*[\"']?{re.escape(kind)}[\"']?\s*$", text):
            continue
        # One device per list item; its name comes after its edits.
        for item in re.split(r"(?m)^\s{0,2}- (?=containerEdits|name)", text)[1:]:
            node = re.search(r"path:\s*[\"']?(\S+?)[\"']?\s*$", item, re.MULTILINE)
            name = re.search(r"(?m)^\s*name:\s*[\"']?([^\"'\s]+)", item)
            if node and name:
                found[name.group(1)] = node.group(1)
    return found


def gpu_problem(system: Sysfs, run_root: Path, annotation: str, allocated: dict[str, list[str]]) -> str:
    """Why Kata could not start the VM with this GPU; empty when it could. Pure but for reading files."""
    kind, _, name = annotation.partition("=")
    node = cdi_devices(run_root / "cdi", kind).get(name)
    if node is None:
        return f"CDI device injection failed: unresolvable CDI devices {annotation}"
    group = node.rpartition("/")[2]
    members = system.group_members(group)
    gpus = [one for one in members if one.is_nvidia_gpu]
    if not gpus or gpus[0].driver != "vfio-pci":
        return f"vfio: error opening {node}: No such file or directory"
    if any(not one.harmless for one in members):
        return (
            f"vfio {gpus[0].address}: group {group} is not viable. "
            "Please ensure all devices within the iommu_group are bound to their vfio bus driver."
        )
    ids = [one for given in allocated.values() for one in given]
    if group not in ids:
        held = ", ".join(f"{resource}={' '.join(given)}" for resource, given in allocated.items() if given) or "nothing"
        return f"vfio: error opening {node}: Operation not permitted (the pod was allocated {held})"
    return ""


@register
class VectorAdd(Behaviour):
    container = "cuda-vectoradd"

    def matches(self, pod: Pod, container: dict[str, Any]) -> bool:
        return IMAGE in str(container.get("image", ""))

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if "until" not in ctx.memory:
            outcome = self._sandbox(ctx, pod)
            if outcome is not None:
                return outcome
            ctx.memory["until"] = time.time() + RUN_SECONDS
        return running() if time.time() < ctx.memory["until"] else completed(LOG)

    def _sandbox(self, ctx: Context, pod: Pod) -> Outcome | None:
        handler = self._handler(ctx, pod)
        resources = {
            name: ctx.allocated(name)
            for name in (ctx.container.get("resources") or {}).get("limits") or {}
            if name.startswith("nvidia.com/")
        }
        if not handler.startswith("kata"):
            if not any(resources.values()):
                return failed(NO_GPU)
            ctx.log(
                f"katagpu lab: stand-in for the CUDA sample on {ctx.node}: a container with {resources}, nothing was computed"
            )
            return None
        # The files on the node say whose runtime it is: of kata-deploy, or of the kata-manager.
        configuration = kata_devices.configuration(ctx.root, handler)
        if configuration is not None:
            return self._cold_plug(ctx, pod, handler, configuration, resources)
        annotation = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "")
        if not annotation:
            return failed(NO_GPU)
        problem = gpu_problem(sysfs(ctx.root, ctx.simulated), ctx.run_root, annotation, resources)
        if "nvidia" not in handler:
            problem = "cold_plug_vfio= or hot_plug_vfio= port is not set for device"
        if problem:
            return self._not_created(ctx, problem)
        ctx.log(
            f"katagpu lab: stand-in for the CUDA sample on {ctx.node}: runtime handler {handler}, CDI device {annotation}, "
            f"its IOMMU group is viable and allocated to this pod; no VM was started, nothing was computed"
        )
        return None

    def _cold_plug(
        self, ctx: Context, pod: Pod, handler: str, configuration: str, resources: dict[str, list[str]]
    ) -> Outcome | None:
        """Kata 4: devices come from the kubelet's allocation, the annotation of CDI is not looked at."""
        problem = kata_devices.refused_annotation(configuration, pod["metadata"].get("annotations") or {})
        given = [one for ids in resources.values() for one in ids]
        if not problem and given and 'cold_plug_vfio = "no-port"' in configuration:
            problem = "cold_plug_vfio= or hot_plug_vfio= port is not set for device"
        problem = problem or kata_devices.problem(sysfs(ctx.root, ctx.simulated), resources)
        if problem:
            return self._not_created(ctx, problem)
        if not given:
            return failed(NO_GPU)
        ctx.log(
            f"katagpu lab: stand-in for the CUDA sample on {ctx.node}: runtime handler {handler}, allocated {resources}, "
            f"their IOMMU groups are viable; no VM was started, nothing was computed"
        )
        return None

    @staticmethod
    def _handler(ctx: Context, pod: Pod) -> str:
        name = pod["spec"].get("runtimeClassName")
        if not name:
            return "runc"
        if "handler" not in ctx.memory:
            ctx.memory["handler"] = str(ctx.api.get(f"/apis/node.k8s.io/v1/runtimeclasses/{name}")["handler"])
        return str(ctx.memory["handler"])

    @staticmethod
    def _not_created(ctx: Context, problem: str) -> Outcome:
        message = (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: "
            f"failed to create shim task: {problem}: unknown"
        )
        # Once a minute, as the kubelet's events are aggregated.
        if ctx.memory.get("told") != problem or time.time() - ctx.memory.get("told_at", 0.0) > 60:
            ctx.memory.update(told=problem, told_at=time.time())
            ctx.event("FailedCreatePodSandBox", message, kind="Warning")
        return waiting("ContainerCreating", message)
