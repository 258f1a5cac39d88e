# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments, modules and the reboot that makes them true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import drop_in, tokens, wishes
from ansible_collections.katagpu.cluster.plugins.module_utils._boot.plan import plan as plan_boot
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.diagnose import (
    ACTIVE,
    OFF_IN_FIRMWARE,
    OFF_IN_KERNEL,
    as_if_published,
    diagnose,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._modules import initramfs
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.facts import module_name
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.plan import BLACKLIST_PATH
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.plan import plan as plan_modules
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import confidential, iommu_notes
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
_IN_VAIN = "The host was booted with this configuration, so another reboot would not change it."
_SWITCHES = ("iommu", "intel_iommu", "amd_iommu", "intremap")
_FIND_ENTRY = "find out what was booted instead (kexec, another boot entry, the network), correct it, and reboot the host by hand."


def assess(view: HostView) -> Answer:
    answer = Answer()
    state = diagnose(view.part("iommu"))
    coming = state["state"] == OFF_IN_FIRMWARE and view.comes_with_bios("iommu")
    needs = diagnose(as_if_published(view.part("iommu"))) if coming else state
    present = [*view.desired.kernel_arguments_present]
    absent = [*view.desired.kernel_arguments_absent]
    if view.desired.iommu_blacklist_argument and view.desired.blacklist:
        present.append(f"modprobe.blacklist={','.join(view.desired.blacklist)}")
    present = [*_wanted(view, answer, needs["wanted_arguments"]), *present]
    absent = [*needs["contradicting_arguments"], *absent]
    besides = confidential.arguments(view)
    present, absent = [*present, *besides.present], [*absent, *besides.absent]
    asked_present = [*view.desired.kernel_arguments_present, *besides.present]
    asked_absent = [*view.desired.kernel_arguments_absent, *besides.absent]
    needed = needs["reboot_would_help"] or bool(asked_present or asked_absent)
    cmdline = _kernel_arguments(view, answer, present, absent, needed)
    _stale_arguments(view, answer, present, absent)
    in_vain = _in_vain(view, answer, cmdline)
    _judge(view, answer, state, in_vain, coming)
    _modules(view, answer)
    _initramfs(view, answer, cmdline)
    loaded = _loaded_drivers(view, answer, bool(cmdline.get("reboot_required")) and not in_vain)
    asked = _missing_arguments(view, asked_present, asked_absent) if cmdline.get("reboot_required") else []
    if asked and in_vain and state["state"] == ACTIVE:
        _not_booted(view, answer, f"the running kernel does not have these arguments as asked for: {' '.join(asked)}.")
    if any(finding.stops for finding in answer.findings):
        return answer
    if state["state"] != ACTIVE:
        answer.reboot_reasons.append("the IOMMU is off in the running kernel")
    elif state["reboot_would_help"] and not in_vain:
        answer.reboot_reasons.append("interrupt remapping is off in the running kernel")
    if loaded:
        answer.reboot_reasons.append(f"the driver {', '.join(loaded)} is loaded")
    if asked and not answer.reboot_reasons:
        answer.reboot_reasons.append("kernel arguments that were asked for are not in the running kernel")
    if answer.plan or answer.reboot_reasons:
        answer.plan["reboot"] = bool(answer.reboot_reasons)
    _next_kernel(view, answer)
    return answer


def _wanted(view: HostView, answer: Answer, texts: list[str]) -> list[str]:
    """What the user says of an argument counts instead, as long as the IOMMU is on with it."""
    wanted = [tokens.token(text) for text in texts]
    asked = [tokens.token(text) for text in view.desired.kernel_arguments_present]
    dropped = [tokens.token(text).key for text in view.desired.kernel_arguments_absent if "=" not in text]
    needed = [token.key for token in wanted if "on" in _items(token)]
    wrong = [
        token.text
        for token in asked
        if token.key in _SWITCHES and ("off" in _items(token) or (token.key in needed and "on" not in _items(token)))
    ]
    if wrong:
        answer.findings.append(
            view.finding(
                "A04",
                BLOCK,
                f"host_iommu_kernel_arguments_present has {' '.join(wrong)}, with which the IOMMU is not on.",
                consequence="Without IOMMU groups no GPU can be passed through.",
                fix="remove it, or write on beside its other values (intel_iommu=on,sm_on).",
                evidence=("host_iommu_kernel_arguments_present",),
            )
        )
    own = {token.key for token in asked}
    return [
        token.text for token in wanted if token.key not in own and (token.key in needed or token.key not in dropped)
    ]


def _items(token: tokens.Token) -> list[str]:
    return (token.value or "").split(",")


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


def _stale_arguments(view: HostView, answer: Answer, present: list[str], absent: list[str]) -> None:
    """What earlier runs added stays. What turned the IOMMU on is not asked for any more because it is on."""
    text = str((view.part("boot").get("files") or {}).get(drop_in.PATH) or "")
    if not text.startswith(drop_in.MARKER):
        return
    line = tokens.parse(" ".join(present))
    dropped = [tokens.token(one) for one in absent]
    stale = [
        token.text
        for token in drop_in.read(text)
        if not tokens.carries(line, token)
        and "on" not in _items(token)
        and not any(tokens.matches(token, one) for one in dropped)
    ]
    if stale:
        answer.findings.append(
            view.finding(
                "kernel_arguments",
                INFO,
                f"{drop_in.PATH} adds {' '.join(stale)}, which nothing asks for any more.",
                consequence="They stay until host_iommu_kernel_arguments_absent names them.",
                evidence=(drop_in.PATH,),
            )
        )


def _in_vain(view: HostView, answer: Answer, cmdline: Mapping[str, Any]) -> bool:
    """Whether all boot entries were as wanted when this boot began, and its kernel is not."""
    read = view.part("boot").get("read_at_boot") or []
    return bool(cmdline.get("reboot_required")) and "kernel_cmdline" not in answer.plan and view.predates_boot(*read)


def _missing_arguments(view: HostView, present: list[str], absent: list[str]) -> list[str]:
    """Those that the user asks for, by name or with a variant, without what the planner adds for the IOMMU."""
    asked = wishes.read(present, absent)
    missing, unwanted = asked.problems(tokens.parse(str(view.part("boot").get("running") or "")))
    return [*missing, *unwanted]


def _not_booted(view: HostView, answer: Answer, fact: str) -> None:
    entries = sorted(view.part("boot").get("read_at_boot") or [])
    answer.findings.append(
        view.finding("B16", BLOCK, fact, consequence=_IN_VAIN, fix=_FIND_ENTRY, evidence=("/proc/cmdline", *entries))
    )


def _initramfs(view: HostView, answer: Answer, cmdline: Mapping[str, Any]) -> None:
    """The argument holds in the initramfs too. Without it, the image must have been made after the blacklist."""
    running = tokens.parse(str(view.part("boot").get("running") or ""))
    argument = tokens.token(f"modprobe.blacklist={','.join(view.desired.blacklist)}")
    configured = bool(cmdline) and view.desired.iommu_blacklist_argument
    facts = view.part("modules").get("initramfs") or {}
    image = facts.get("image")
    if not view.desired.blacklist or configured or tokens.carries(running, argument) or not facts:
        return
    if facts["part_of_image"]:
        _foreign_initramfs(view, answer)
    if not image:
        return
    modified = view.part("platform").get("modified") or {}
    written = BLACKLIST_PATH in [item["path"] for item in answer.plan.get("files") or []]
    if not written and modified.get(BLACKLIST_PATH, 0) <= modified.get(image, 0):
        return
    commands = initramfs.commands(facts, view.part("boot"))
    if not commands:
        if not facts["part_of_image"]:
            _foreign_initramfs(view, answer)
        return
    answer.plan["initramfs"] = commands
    answer.findings.append(
        view.finding(
            "B02",
            INFO,
            f"the initramfs {image} was made before {BLACKLIST_PATH}, and no kernel argument keeps"
            f" {', '.join(view.desired.blacklist)} out of it.",
            state=WILL_BE_FIXED_BY,
            by=PHASE,
            evidence=(image, BLACKLIST_PATH),
        )
    )


def _foreign_initramfs(view: HostView, answer: Answer) -> None:
    answer.findings.append(
        view.finding(
            "B02",
            WARN,
            "no kernel argument keeps the blacklisted drivers out of the initramfs, and nothing that this collection knows makes it anew.",
            consequence=f"If it has {', '.join(view.desired.blacklist)}, that driver takes the GPUs before {BLACKLIST_PATH} is read.",
            fix="set host_iommu_blacklist_argument to true, or make the initramfs anew by the host's own means.",
            evidence=(BLACKLIST_PATH,),
        )
    )


def _loaded_drivers(view: HostView, answer: Answer, arguments_to_come: bool) -> list[str]:
    """Blacklisted drivers that are loaded and that a reboot would keep out."""
    modules = view.part("modules")
    loaded = sorted(set(view.desired.blacklist) & set(modules.get("loaded") or []))
    running = tokens.parse(str(view.part("boot").get("running") or ""))
    written = BLACKLIST_PATH not in [item["path"] for item in answer.plan.get("files") or []]
    path = (modules.get("initramfs") or {}).get("image")
    image = [str(path)] if path else []
    only_file = (
        written
        and not arguments_to_come
        and "initramfs" not in answer.plan
        and view.predates_boot(BLACKLIST_PATH, *image)
    )
    failed = [
        name for name in loaded if only_file or tokens.carries(running, tokens.token(f"modprobe.blacklist={name}"))
    ]
    if failed:
        answer.findings.append(
            view.finding(
                "B02",
                BLOCK,
                f"the driver {', '.join(failed)} is loaded, and this boot was to keep it out.",
                consequence=_IN_VAIN,
                fix="find what loads it (an initramfs that has it and was not rebuilt, /etc/modules, a service),"
                " correct that, and unload it or reboot the host by hand.",
                evidence=("/proc/modules", "/proc/cmdline", BLACKLIST_PATH),
            )
        )
    return [name for name in loaded if name not in failed]


def _judge(view: HostView, answer: Answer, state: Mapping[str, Any], in_vain: bool, coming: bool) -> None:
    causes = list(zip(state["causes"], state["reasons"], strict=True))
    evidence = ("/sys/kernel/iommu_groups", "/sys/firmware/acpi/tables", "/proc/cmdline")
    fixable = state["state"] in (ACTIVE, OFF_IN_KERNEL) and state["reboot_would_help"]
    for index, (cause, reason) in enumerate(causes):
        first = index == 0 and state["state"] != ACTIVE
        more: dict[str, Any] = {"evidence": evidence}
        if cause in ("A04", "A12"):
            more["evidence"] = (*evidence, *iommu_notes.sources(view, state["blamed_arguments"]))
        if cause == "A09":
            more["consequence"] = "Groups look isolated and are not."
        elif first:
            more["consequence"] = "Without IOMMU groups no GPU can be passed through."
        if fixable and in_vain and cause in ("A01", "A04"):
            _not_booted(view, answer, reason)
            continue
        if fixable and not in_vain and cause in ("A01", "A04", "A12"):
            more.update(state=WILL_BE_FIXED_BY, by=f"{PHASE} and a reboot")
        elif coming and cause == "A02":
            more.update(state=WILL_BE_FIXED_BY, by="host_firmware and a reboot")
        else:
            more["fix"] = " ".join(state["remedies"])
        severity = WARN if state["state"] == ACTIVE or cause == "A09" else BLOCK
        answer.findings.append(view.finding(cause, severity, reason, **more))
    answer.findings += iommu_notes.findings(view, state["notes"])
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
    if state["state"] == ACTIVE or not (coming or (fixable and not in_vain)):
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


def _next_kernel(view: HostView, answer: Answer) -> None:
    """The first entry of the boot menu is what starts next unless GRUB_DEFAULT says otherwise, so this can be accepted."""
    generated = view.part("boot").get("generated") or {}
    kernels = [
        (path, str(entry["release"])) for path, lines in generated.items() for entry in lines if entry["managed"]
    ]
    path, release = kernels[0] if kernels else ("", "")
    lacking = (view.part("modules").get("missing_in") or {}).get(release) or []
    missing = sorted({module_name(name) for name in view.desired.modules} & {*lacking})
    if missing:
        answer.findings.append(
            view.finding(
                "B09",
                BLOCK if answer.reboot_reasons else WARN,
                f"the kernel that boots next, {release}, has no module {', '.join(missing)}.",
                consequence="After the next boot GPUs could not be handed to virtual machines.",
                fix="install the full module package of that kernel, or remove it.",
                evidence=(path, f"/lib/modules/{release}/modules.dep"),
                acceptable=True,
            )
        )


def _modules(view: HostView, answer: Answer) -> None:
    facts = view.part("modules")
    try:
        planned = plan_modules(facts, load=list(view.desired.modules), blacklist=list(view.desired.blacklist))
    except KatagpuError as error:
        answer.findings.append(refused(view, error, "wish", BLOCK))
        return
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
