# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nvidia-vfio-manager of GPU Operator 23.9: every GPU function to vfio-pci, no sibling, no look at the group."""

from __future__ import annotations

from ..behaviour import Behaviour, Context, Outcome, Pod, failed, register, running
from .images import is_vfio_manage
from .sysfs import sysfs


@register
class VfioManager(Behaviour):
    container = "nvidia-vfio-manager"

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        return container.get("name") == self.container and not is_vfio_manage(container)

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        system = sysfs(ctx.root, ctx.simulated)
        problem = system.load("vfio-pci")
        if problem:
            return failed(problem)
        for gpu in system.gpus():
            if gpu.driver == "vfio-pci":
                ctx.log(f"device {gpu.address} already bound to vfio-pci")
                continue
            ctx.log(f"binding device {gpu.address}")
            try:
                system.unbind(gpu)
                system.bind(gpu, "vfio-pci")
            except OSError as error:
                # The script runs with set -e: the first failure ends the container, other GPUs are not tried.
                return failed(f"{gpu.address}: write error: {error.strerror}")
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        """preStop: the GPUs are left without any driver."""
        system = sysfs(ctx.root, ctx.simulated)
        for gpu in system.gpus():
            ctx.log(f"unbinding device {gpu.address}")
            system.unbind(gpu)
