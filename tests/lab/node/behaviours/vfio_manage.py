# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vfio-manage of k8s-driver-manager v0.12.0, and the nvidia-vfio-manager of GPU Operator 26.x that runs it."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from ..behaviour import Behaviour, Context, Outcome, Pod, failed, register, running
from .images import is_vfio_manage
from .sysfs import GPU_CLASSES, Function, Sysfs, sysfs

SWITCHES_ENV = "BIND_NVSWITCHES"
DEFAULT_DRIVER = "vfio-pci"


def best_module(modalias: str, modules_alias: str) -> str:
    """The VFIO module whose alias fits a device with the fewest wildcards; empty where none does."""
    best, fewest = "", 0
    wanted = "vfio_" + modalias
    for line in modules_alias.splitlines():
        words = line.split()
        if len(words) != 3 or words[0] != "alias" or not words[1].startswith("vfio_pci:"):
            continue
        if fnmatch.fnmatchcase(wanted, words[1]) and (not best or words[1].count("*") < fewest):
            best, fewest = words[2], words[1].count("*")
    return best


def driver_for(system: Sysfs, function: Function) -> str:
    """Driver of a function; a machine without a list of aliases has vfio-pci."""
    kernel = _text(system.root / "proc/sys/kernel/osrelease")
    aliases = _text(system.root / "lib/modules" / kernel / "modules.alias") if kernel else ""
    return best_module(system.modalias(function.address), aliases) or DEFAULT_DRIVER


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def with_auxiliary(system: Sysfs, function: Function) -> list[Function]:
    """The function, and for a display GPU its first consumer; no other member of its group."""
    found = [function]
    if function.class_code == GPU_CLASSES[0]:
        present = {one.address: one for one in system.functions()}
        found += [present[address] for address in system.consumers(function.address) if address in present][:1]
    return found


def devices(ctx: Context, system: Sysfs) -> list[Function]:
    """GPUs, and NVSwitches only where the container is told so."""
    switches = system.nvswitches() if ctx.env(SWITCHES_ENV).lower() in ("true", "1") else []
    return system.gpus() + switches


def bind_all(ctx: Context, system: Sysfs) -> None:
    """A device that cannot be bound is a line in the log; nothing fails."""
    for one in devices(ctx, system):
        ctx.log(f"level=info msg=Binding device {one.address}")
        try:
            _bind(system, one)
        except OSError as error:
            ctx.log(f"level=warning msg=Failed to bind device {one.address}: {error.strerror or error}")


def _bind(system: Sysfs, function: Function) -> None:
    module = driver_for(system, function)
    problem = system.load(module)
    if problem:
        raise OSError(None, f"failed to load {module} driver: {problem}")
    driver = module if (system.bus / "drivers" / module).is_dir() else module.replace("_", "-")
    for one in with_auxiliary(system, function):
        if one.driver != driver:
            system.release(one)
            system.bind(one, driver)


def unbind_all(ctx: Context, system: Sysfs) -> None:
    """From whatever driver they are on; nothing is bound in its place."""
    for one in devices(ctx, system):
        ctx.log(f"level=info msg=Unbinding device {one.address}")
        try:
            for function in with_auxiliary(system, one):
                system.release(function)
        except OSError as error:
            ctx.log(f"level=warning msg=Failed to unbind device {one.address}: {error.strerror or error}")


@register
class VfioManager26(Behaviour):
    """`vfio-manage bind --all`, then sleep: Running says nothing about the devices."""

    container = "nvidia-vfio-manager"

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        return container.get("name") == self.container and is_vfio_manage(container)

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        words = " ".join(
            str(word) for word in [*(ctx.container.get("command") or []), *(ctx.container.get("args") or [])]
        )
        if words and "vfio-manage bind" not in words:
            return failed(f"the lab knows no such command: {words}")
        bind_all(ctx, sysfs(ctx.root, ctx.simulated))
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        """preStop: vfio-manage unbind --all"""
        unbind_all(ctx, sysfs(ctx.root, ctx.simulated))
