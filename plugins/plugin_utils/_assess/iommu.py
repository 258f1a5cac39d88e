# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments, modules and the reboot that makes them true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._boot.plan import plan as plan_boot
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.diagnose import ACTIVE, OFF_IN_KERNEL, diagnose
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.plan import plan as plan_modules
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView, refused
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    BLOCK,
    INFO,
    UNKNOWN_UNTIL,
    WARN,
    WILL_BE_FIXED_BY,
)

PHASE = "host_iommu"
REBOOT = "the reboot"


def assess(view: HostView) -> Answer:
    answer = Answer()
    state = diagnose(view.part("iommu"))
    present = [*view.desired.kernel_arguments_present]
    absent = [*view.desired.kernel_arguments_absent]
    if view.desired.iommu_blacklist_argument and view.desired.blacklist:
        present.append(f"modprobe.blacklist={','.join(view.desired.blacklist)}")
    present = [*state["wanted_arguments"], *present]
    absent = [*state["contradicting_arguments"], *absent]
    needed = state["reboot_would_help"] or bool(
        view.desired.kernel_arguments_present or view.desired.kernel_arguments_absent
    )
    cmdline = _kernel_arguments(view, answer, present, absent, needed)
    _judge(view, answer, state)
    _modules(view, answer)
    if any(finding.stops for finding in answer.findings):
        return answer
    if state["state"] != ACTIVE:
        answer.reboot_reasons.append("the IOMMU is off in the running kernel")
    elif state["reboot_would_help"]:
        answer.reboot_reasons.append("interrupt remapping is off in the running kernel")
    loaded = sorted(set(view.desired.blacklist) & set(view.part("modules").get("loaded") or []))
    if loaded:
        answer.reboot_reasons.append(f"the driver {', '.join(loaded)} is loaded")
    asked = [*view.desired.kernel_arguments_present, *view.desired.kernel_arguments_absent]
    if asked and cmdline.get("reboot_required") and not answer.reboot_reasons:
        answer.reboot_reasons.append("kernel arguments that were asked for are not in the running kernel")
    if answer.plan or answer.reboot_reasons:
        answer.plan["reboot"] = bool(answer.reboot_reasons)
    return answer


def _kernel_arguments(
    view: HostView, answer: Answer, present: list[str], absent: list[str], needed: bool
) -> Mapping[str, Any]:
    """Without C(needed), a boot loader that cannot be edited is no block: the module blacklist is on disk as well."""
    boot = view.part("boot")
    if not present and not absent:
        return {}
    try:
        planned: Mapping[str, Any] = plan_boot(boot, present, absent, view.desired.bootloader).as_dict()
    except KatagpuError as error:
        running = str(boot.get("running") or "").split()
        if set(present) <= set(running) and not set(absent) & set(running):
            return {}
        asked = " ".join([*present, *(f"-{token}" for token in absent)])
        answer.findings.append(
            refused(
                view,
                error,
                "B22",
                BLOCK if needed else WARN,
                f"The kernel arguments {asked} are not set.",
                "set them by the host's own means, reboot, and run again.",
            )
        )
        return {}
    if planned.get("writes") or planned.get("commands"):
        answer.plan["kernel_cmdline"] = {
            "present": present,
            "absent": absent,
            "bootloader": view.desired.bootloader,
        }
    return planned


def _judge(view: HostView, answer: Answer, state: Mapping[str, Any]) -> None:
    causes = list(zip(state["causes"], state["reasons"], strict=True))
    evidence = ("/sys/kernel/iommu_groups", "/sys/firmware/acpi/tables", "/proc/cmdline")
    fixable = state["state"] in (ACTIVE, OFF_IN_KERNEL) and state["reboot_would_help"]
    for index, (cause, reason) in enumerate(causes):
        first = index == 0 and state["state"] != ACTIVE
        more: dict[str, Any] = {"evidence": evidence}
        if cause == "A09":
            more["consequence"] = "Groups look isolated and are not."
        elif first:
            more["consequence"] = "Without IOMMU groups no GPU can be passed through."
        if fixable and cause in ("A01", "A04", "A12"):
            more.update(state=WILL_BE_FIXED_BY, by=f"{PHASE} and a reboot")
        else:
            more["fix"] = " ".join(state["remedies"])
        severity = WARN if state["state"] == ACTIVE or cause == "A09" else BLOCK
        answer.findings.append(view.finding(cause, severity, reason, **more))
    if answer.plan.get("kernel_cmdline") and not causes:
        answer.findings.append(
            view.finding(
                "kernel_arguments",
                INFO,
                f"the kernel arguments {' '.join(answer.plan['kernel_cmdline']['present'])} are not configured.",
                state=WILL_BE_FIXED_BY,
                by=PHASE,
            )
        )
    if state["state"] == ACTIVE or not fixable:
        return
    for gpu in view.gpus:
        answer.findings.append(
            view.finding(
                "A05",
                BLOCK,
                f"the IOMMU group of GPU {gpu.address} cannot be read while the IOMMU is off.",
                consequence="What shares its group is judged after the reboot, before anything is bound.",
                device=gpu.address,
                state=UNKNOWN_UNTIL,
                by=REBOOT,
            )
        )


def _modules(view: HostView, answer: Answer) -> None:
    facts = view.part("modules")
    planned = plan_modules(facts, load=list(view.desired.modules), blacklist=list(view.desired.blacklist))
    missing = planned["missing"]
    if missing:
        answer.findings.append(
            view.finding(
                "B09",
                BLOCK,
                f"the running kernel {facts.get('kernel_release', '')} has no module {', '.join(missing)}.",
                consequence="GPUs cannot be handed to virtual machines without it.",
                fix="install the kernel's full module package, or boot a kernel that has it.",
                evidence=("/lib/modules", "/proc/modules"),
            )
        )
    files = [item for item in planned["files"] if item["content"] is not None]
    if files:
        answer.plan["files"] = files
    gone = [item["path"] for item in planned["files"] if item["content"] is None]
    if gone:
        answer.plan["remove_files"] = gone
    if planned["load_now"]:
        answer.plan["load_now"] = planned["load_now"]
