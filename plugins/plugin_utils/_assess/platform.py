# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can run virtual machines with GPUs at all."""

from __future__ import annotations

import re

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.facts import module_name
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.drivers import is_vfio
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, WARN, WILL_BE_FIXED_BY
from ansible_collections.katagpu.cluster.plugins.plugin_utils._owner import HOST

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def assess(view: HostView) -> Answer:
    answer = Answer()
    _architecture(view, answer)
    _kvm(view, answer)
    _host_driver(view, answer)
    return answer


def _architecture(view: HostView, answer: Answer) -> None:
    machine = str(view.part("platform").get("architecture") or view.part("iommu").get("architecture") or "")
    supported = view.release.get("architectures") or []
    name = _ARCHITECTURES.get(machine, machine)
    if not machine or not supported or name in supported:
        return
    answer.findings.append(
        view.finding(
            "architecture",
            BLOCK,
            f"the processor architecture is {machine}, the release {view.release.get('name')} exists for"
            f" {', '.join(supported)}.",
            consequence="The runtime cannot be installed on this node.",
            fix="choose another release, or take the host out of kata_nodes.",
            evidence=("uname -m",),
        )
    )


def _kvm(view: HostView, answer: Answer) -> None:
    if "/dev/kvm" not in view.part("devices") or view.part("devices").get("/dev/kvm"):
        return
    flags = [flag for flag in view.part("iommu").get("cpu_flags") or [] if flag in ("vmx", "svm")]
    guest = (view.part("platform").get("virtualization") or {}).get("guest")
    if flags:
        fix = (
            "load the module kvm_intel or kvm_amd; where that fails, switch hardware virtualization on in the firmware."
        )
    elif guest:
        fix = "this host is itself a virtual machine: use bare metal, or switch nested virtualization on."
    else:
        fix = "switch VT-x or SVM on in the firmware, or let the role host_firmware do it (katagpu_firmware: apply)."
    shown = ", ".join(flags) if flags else "neither vmx nor svm"
    coming = view.comes_with_bios("virtualization")
    answer.findings.append(
        view.finding(
            "B13",
            BLOCK,
            f"/dev/kvm does not exist; the processor shows {shown}.",
            consequence="Kata cannot start hardware-assisted virtual machines on this node.",
            fix=fix,
            evidence=("/dev/kvm", "/proc/cpuinfo"),
            acceptable=True,
            **({"state": WILL_BE_FIXED_BY, "by": "host_firmware and a reboot"} if coming else {}),
        )
    )


def _host_driver(view: HostView, answer: Answer) -> None:
    loaded = "nvidia" in (view.part("modules").get("loaded") or [])
    version = view.part("vfio").get("nvidia_version")
    if not loaded and not version:
        _installed_driver(view, answer)
        return
    text = f"the NVIDIA host driver {version or ''}".rstrip()
    answer.findings.append(
        view.finding(
            "B04",
            BLOCK,
            f"{text} is loaded on this host.",
            consequence=_consequence(view),
            fix="remove the driver packages (or blacklist nvidia), then reboot the host.",
            evidence=("/proc/modules", "/proc/driver/nvidia/version"),
        )
    )


def _consequence(view: HostView) -> str:
    if view.desired.vfio_owner == HOST:
        return "It takes GPUs that this collection is to bind at boot."
    return "The operator's driver manager stops at a host driver, so no GPU of this node would be bound."


def _installed_driver(view: HostView, answer: Answer) -> None:
    """Nouveau may have come first at this boot; it is kept out of the next one, and this driver is not."""
    modules = view.part("modules")
    texts = "\n".join((modules.get("modprobe_d") or {}).values())
    running = tokens.parse(str(view.part("boot").get("running") or ""))
    kept_out = {
        module_name(name) for name in (*view.desired.blacklist, *re.findall(r"(?m)^\s*blacklist\s+(\S+)", texts))
    }
    free = [
        name
        for name in modules.get("host_drivers") or []
        if name not in kept_out and not tokens.carries(running, tokens.token(f"modprobe.blacklist={name}"))
    ]
    if not free:
        return
    names = ", ".join(free)
    answer.findings.append(
        view.finding(
            "B04",
            WARN if all(is_vfio(gpu.driver) for gpu in view.gpus) else BLOCK,
            f"an NVIDIA host driver is installed ({names}) and nothing keeps it out at the next boot.",
            consequence=_consequence(view),
            fix=f"remove the driver packages, or name {names} in host_iommu_blacklist beside those of the release.",
            evidence=(f"/lib/modules/{modules.get('kernel_release')}/modules.dep", "/etc/modprobe.d"),
        )
    )
