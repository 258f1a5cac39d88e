# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the judgements of SEV-SNP and of TDX have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    BLOCK,
    UNKNOWN_UNTIL,
    WILL_BE_FIXED_BY,
    Finding,
)

REBOOT = "host_iommu and a reboot"
_ON = ("y", "1")
_OFF = ("0", "n", "off")
_NO_VM = "No confidential virtual machine can start on this host."


class Arguments(NamedTuple):
    """Kernel arguments that a variant needs, and those with which it cannot be."""

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def facts(view: HostView) -> Mapping[str, Any]:
    return view.part("confidential")


def flags(view: HostView) -> list[str]:
    return list(view.part("iommu").get("cpu_flags") or [])


def line(view: HostView) -> tokens.CommandLine:
    return tokens.parse(str(view.part("iommu").get("kernel_arguments") or ""))


def parameter(view: HostView, module: str, name: str) -> str | None:
    value = ((facts(view).get("parameters") or {}).get(module) or {}).get(name)
    return None if value is None else str(value)


def is_on(value: str | None) -> bool:
    return str(value).strip().lower() in _ON


def options_of(view: HostView, module: str, name: str) -> list[tuple[str, str]]:
    """Values that files of modprobe give a parameter, each with its file."""
    texts: Mapping[str, str] = view.part("modules").get("modprobe_d") or {}
    pattern = re.compile(rf"^\s*options\s+{module.replace('_', '[-_]')}\s(?:.*\s)?{name}=(\S+)", re.MULTILINE)
    return [(path, value) for path, text in texts.items() for value in pattern.findall(text)]


def switched_off(view: HostView, module: str, names: Iterable[str]) -> list[Finding]:
    """A file of somebody else is not edited; an argument of the kernel is taken away."""
    found = []
    for name in names:
        for path, value in options_of(view, module, name):
            if value.lower() in _OFF:
                found.append(
                    view.finding(
                        "cc_option",
                        BLOCK,
                        f"{path} sets {name}={value} for {module}.",
                        consequence=_NO_VM,
                        fix=f"remove it there, make the initramfs anew where it holds {module}, and reboot the host.",
                        evidence=(path, f"/sys/module/{module}/parameters/{name}"),
                    )
                )
        argument = next((one for one in line(view).kernel_tokens if one.key == f"{module}.{name}"), None)
        if argument is not None and str(argument.value).lower() in _OFF:
            found.append(
                to_come(view, "cc_option", f"the kernel argument {argument.text} switches {name} of {module} off.")
            )
    return found


def to_come(view: HostView, id: str, fact: str, evidence: tuple[str, ...] = ("/proc/cmdline",)) -> Finding:
    return view.finding(id, BLOCK, fact, consequence=_NO_VM, state=WILL_BE_FIXED_BY, by=REBOOT, evidence=evidence)


def unknown(view: HostView, fact: str, evidence: tuple[str, ...]) -> Finding:
    return view.finding(
        "cc_firmware", BLOCK, fact, consequence=_NO_VM, state=UNKNOWN_UNTIL, by="the reboot", evidence=evidence
    )


def stop(view: HostView, id: str, fact: str, fix: str, evidence: tuple[str, ...]) -> Finding:
    return view.finding(id, BLOCK, fact, consequence=_NO_VM, fix=fix, evidence=evidence)


def other_cpu(view: HostView, wanted: str) -> Finding:
    name = (facts(view).get("cpu") or {}).get("name") or view.part("iommu").get("cpu_vendor") or "of another vendor"
    return stop(
        view,
        "cc_cpu",
        f"katagpu_confidential asks for {wanted}, and the processor is {name}.",
        f"set katagpu_confidential of this host to what its processor has, or to none; {wanted} needs another machine.",
        ("/proc/cpuinfo",),
    )


def no_module(view: HostView, module: str, name: str, kernel: str) -> list[Finding]:
    """A module that is not there, and a kernel that does not know the parameter."""
    running = view.part("platform").get("kernel") or "that runs"
    path = f"/sys/module/{module}"
    if not (facts(view).get("modules") or {}).get(module):
        fix = f"load {module}; where that fails, switch hardware virtualization on in the firmware."
        return [stop(view, "cc_kernel", f"the module {module} is not loaded.", fix, (path,))]
    if parameter(view, module, name) is None:
        return [
            stop(
                view,
                "cc_kernel",
                f"{module} of the kernel {running} has no parameter {name}, so this kernel is too old or was built without it.",
                f"boot a kernel that has it, {kernel} or newer, and run again; the firmware is judged then.",
                (f"{path}/parameters", "/proc/sys/kernel/osrelease"),
            )
        ]
    return []


def keys(view: HostView, variant: Mapping[str, Any], limit: str) -> list[Finding]:
    """The class asks for one, so that without any its pods stay Pending for ever."""
    counted, kind = facts(view).get("keys"), str(variant["key_controller"])
    number = None if counted is None else counted.get(kind)
    if number:
        return []
    if number is None:
        fact = f"the kernel does not count the encryption keys of the kind {kind}."
        fix = "boot a kernel with the misc controller of control groups (CONFIG_CGROUP_MISC), and mount cgroup 2."
    else:
        fact, fix = f"there is no encryption key of the kind {kind}.", limit
    return [
        view.finding(
            "cc_keys",
            BLOCK,
            fact,
            consequence=f"The node would offer no {variant['key_resource']}, which every pod of the class"
            f" {variant['runtime_class']} asks for.",
            fix=fix,
            evidence=("/sys/fs/cgroup/misc.capacity",),
        )
    ]
