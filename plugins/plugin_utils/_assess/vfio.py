# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which functions have to be bound by whom, and whether that can be done without harm."""

from __future__ import annotations

from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.facts import module_name
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.journal import WEDGED
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import (
    IDLE,
    NEVER,
    REFUSE,
    RESTORED,
    Binding,
    Refusal,
    VfioDesired,
    VfioPlan,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import plan
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import gpus as gpu_health
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    BLOCK,
    INFO,
    WARN,
    WILL_BE_FIXED_BY,
    Finding,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._owner import HOST

PHASE = "host_vfio"


def assess(view: HostView) -> Answer:
    answer = Answer()
    if not view.gpus:
        answer.findings.append(
            view.finding(
                "no_gpu",
                BLOCK,
                "there is no NVIDIA GPU (vendor 10de, class 0300 or 0302).",
                consequence="There is nothing to pass through on this node.",
                fix="take the host out of kata_nodes, or look whether the card is seated and powered.",
                evidence=("/sys/bus/pci/devices", "lspci -nn -d 10de:"),
            )
        )
        return answer
    _owner(view, answer)
    _partial(view, answer)
    _mixed_models(view, answer)
    _nvswitches(view, answer)
    gpu_health.assess(view, answer)
    if not view.iommu_active or any(finding.stops for finding in answer.findings):
        # Without groups nothing can be judged; the phase before says that it is unknown until the reboot.
        return answer
    _bindings(view, answer)
    return answer


def left_behind(view: HostView) -> list[PciDevice]:
    """Endpoint functions of the GPUs' groups that the operator of this release does not bind."""
    groups = {gpu.iommu_group for gpu in view.gpus if gpu.iommu_group is not None}
    binds = tuple(view.release["vfio"]["binds_classes"])
    taken = taken_along(view)
    return [
        device
        for device in view.devices
        if device.iommu_group in groups
        and device.is_endpoint
        and device.address not in taken
        and not (device.vendor_id == "10de" and device.has_class(*binds))
    ]


def taken_along(view: HostView) -> list[str]:
    """Functions that the operator binds with a graphics card: of those that the kernel has linked to it, at most one."""
    rule = view.release["vfio"]["binds_members"]
    taken: list[str] = []
    for gpu in view.gpus:
        linked = gpu.consumers if gpu.has_class("0300") else ()
        if rule == "first_consumer" or (rule == "sole_consumer" and len(linked) == 1):
            taken += linked[:1]
    return taken


def _owner(view: HostView, answer: Answer) -> None:
    owner, owners = view.desired.vfio_owner, view.release["vfio"]["owners"]
    if owner not in owners:
        answer.findings.append(
            view.finding(
                "vfio_owner",
                BLOCK,
                f"katagpu_vfio_owner is {owner}; with release {view.release['name']} this version of the collection supports"
                f" {', '.join(owners)} only.",
                consequence="The GPU Operator would go on binding the GPUs too, and two parties would bind the same devices.",
                fix=f"remove katagpu_vfio_owner, or set it to {owners[0]}.",
                evidence=("katagpu_vfio_owner",),
            )
        )


def _partial(view: HostView, answer: Answer) -> None:
    chosen = set(view.desired.vfio_addresses)
    if not chosen:
        return
    present = {gpu.address for gpu in view.gpus}
    for address in sorted(chosen - present):
        answer.findings.append(
            view.finding(
                "no_gpu",
                BLOCK,
                f"{address} is named in host_vfio_addresses and is not an NVIDIA GPU of this host.",
                fix=f"the GPUs of this host are {', '.join(sorted(present))}.",
                evidence=("/sys/bus/pci/devices",),
                device=address,
            )
        )
    left = sorted(present - chosen)
    if left:
        answer.findings.append(
            view.finding(
                "partial_gpu_node",
                BLOCK,
                f"the GPUs {', '.join(left)} would stay off VFIO.",
                consequence="The operator's validator demands every NVIDIA GPU of the node on VFIO and waits for ever.",
                fix="name all GPUs of the host, or none (which means all).",
                evidence=("/sys/bus/pci/devices",),
            )
        )


def _mixed_models(view: HostView, answer: Answer) -> None:
    models = sorted({str(gpu.id) for gpu in view.gpus})
    if view.release["resource"]["naming"] != "alias" or len(models) < 2:
        return
    answer.findings.append(
        view.finding(
            "mixed_models",
            BLOCK,
            f"the host has GPUs of several models ({', '.join(models)}), and the device plugin offers all of them under one name.",
            consequence="It starts one plugin for each model on the same socket; the last one hides the others.",
            fix="set P_GPU_ALIAS to an empty text in gpu_operator_values.kataSandboxDevicePlugin.env, so that each model gets a"
            " name of its own, and accept the finding with that reason.",
            evidence=("/sys/bus/pci/devices",),
            acceptable=True,
        )
    )


def _nvswitches(view: HostView, answer: Answer) -> None:
    variable = view.release["vfio"].get("nvswitch_env")
    switches = [device.address for device in view.devices if device.vendor_id == "10de" and device.has_class("0680")]
    if (
        not variable
        or not switches
        or all(device.driver == "vfio-pci" for device in view.devices if device.address in switches)
    ):
        return
    answer.findings.append(
        view.finding(
            "nvswitch",
            WARN,
            f"the host has {len(switches)} NVSwitches, and nobody binds them who is not told to.",
            consequence="A virtual machine with all GPUs of this host would have no NVLink between them.",
            fix=(
                "bind them with katagpu.cluster.vfio_binding (addresses), whose lines stay"
                if view.desired.vfio_owner == HOST
                else f"set gpu_operator_values: {{vfioManager: {{env: [{{name: {variable}, value: 'true'}}]}}}} before the first"
                " installation"
            )
            + ", or ignore this where GPUs are given out one by one.",
            evidence=("/sys/bus/pci/devices", "lspci -nn -d 10de::0680"),
        )
    )


def _bindings(view: HostView, answer: Answer) -> None:
    gpus = tuple(gpu.address for gpu in view.gpus)
    members = view.desired.vfio_members
    # Every GPU ends on VFIO, whoever binds it, so the whole selection is judged as if we bound it.
    judged = _plan(view, VfioDesired(addresses=gpus, members=members, driver=_driver(view), live=NEVER))
    if judged.refusals:
        answer.findings += [_finding(view, refusal) for refusal in judged.refusals]
        return
    if view.desired.vfio_owner == HOST:
        options: dict[str, Any] = {"addresses": list(gpus), "members": _option(members)}
        wanted = VfioDesired(addresses=gpus, members=members, driver=_driver(view), live=NEVER)
        names = list(gpus)
    else:
        _give_up(view, answer, (*gpus, *taken_along(view)))
        # Of these only what the judgement took by the rule of the members; pci-stub spoils no group and stays.
        chosen = {binding.address for binding in judged.bindings if binding.before != "pci-stub"}
        siblings = tuple(device.address for device in left_behind(view) if device.address in chosen)
        if not siblings:
            return
        owned = (*gpus, *taken_along(view))
        # The list is complete, so nothing more is to be taken along.
        options = {"addresses": list(siblings), "members": REFUSE, "foreign_owner": list(owned)}
        wanted = VfioDesired(addresses=siblings, members=REFUSE, driver=_driver(view), foreign_owner=owned, live=NEVER)
        names = list(siblings)
    live, planned = _live(view, wanted)
    if planned.refusals:
        answer.findings += [_finding(view, refusal) for refusal in planned.refusals]
        return
    if not (planned.writes or planned.live_steps or planned.reboot_required):
        return
    if planned.reboot_required and not planned.writes and view.predates_boot(rules.RULES):
        # The boot that was to bind them has been, so the next one would not either.
        answer.findings += [_not_bound(view, binding) for binding in planned.bindings if binding.when == "boot"]
        return
    _initramfs(view, answer, planned)
    if planned.changed:
        answer.plan = {
            **answer.plan,
            **options,
            "state": "bound",
            "driver": _driver(view),
            "live": live,
            "persistent": view.desired.vfio_persistent,
        }
    if planned.reboot_required:
        answer.reboot_reasons.append(f"{', '.join(names)} will be bound at boot")
    _announce(view, answer, planned)


def _initramfs(view: HostView, answer: Answer, planned: VfioPlan) -> None:
    images = ", ".join((view.part("vfio").get("early") or {}).get("images") or ())
    if planned.refresh:
        answer.findings.append(
            view.finding(
                "B02",
                INFO,
                f"the initramfs of every kernel ({images}) is made anew, so that it has the lines of {rules.RULES} and no others.",
                state=WILL_BE_FIXED_BY,
                by=PHASE,
                evidence=(rules.RULES,),
            )
        )
    if planned.early_warning:
        answer.findings.append(
            view.finding("B02", WARN, planned.early_warning, evidence=(rules.RULES, "modules.alias", "/etc/modprobe.d"))
        )


def _give_up(view: HostView, answer: Answer, theirs: tuple[str, ...]) -> None:
    """Lines of an earlier owner: with them, we and the operator would bind the same functions. They stay bound until it does."""
    ours = rules.parse((view.part("vfio").get("persistent_files") or {}).get(rules.RULES))
    stale = [address for address in theirs if address in ours]
    if not stale or not _plan(view, VfioDesired(addresses=tuple(stale), state=RESTORED)).changed:
        return
    answer.plan["restore"] = stale
    answer.findings.append(
        view.finding(
            "vfio_owner",
            INFO,
            f"{rules.RULES} binds {', '.join(stale)}, and katagpu_vfio_owner is {view.desired.vfio_owner}.",
            consequence="The GPU Operator binds them too, and one party owns a binding.",
            state=WILL_BE_FIXED_BY,
            by=PHASE,
            evidence=(rules.RULES,),
        )
    )


def _live(view: HostView, wanted: VfioDesired) -> tuple[str, VfioPlan]:
    """Idle members are bound at once on first provisioning only, so that one reboot is enough."""
    choice = view.desired.vfio_live
    if choice == "auto":
        key = view.release["labels"]["workload"]["key"]
        first = view.cluster_node is not None and key not in (view.cluster_node.get("labels") or {})
        # What got stuck once, in whichever boot, is not tried again unasked.
        stuck = (view.part("vfio").get("journal") or {}).get("state") == WEDGED
        if first and not stuck:
            now = _plan(view, _with(wanted, view, IDLE))
            if not now.refusals:
                return IDLE, now
        choice = NEVER
        if not view.desired.vfio_persistent:
            done = _plan(view, _with(wanted, view, IDLE))
            if not done.refusals and not done.changed:
                return IDLE, done
            raise KatagpuError(
                "host_vfio_persistent: false with host_vfio_live: auto would do nothing on this host: nothing is bound at"
                " once on a node that has its workload label, or whose devices are in use. Nothing was changed. Fix: remove"
                " host_vfio_persistent, or set host_vfio_live: idle on a drained node."
            )
    return choice, _plan(view, _with(wanted, view, choice))


def _with(wanted: VfioDesired, view: HostView, live: str) -> VfioDesired:
    return VfioDesired(
        addresses=wanted.addresses,
        members=wanted.members,
        driver=wanted.driver,
        foreign_owner=wanted.foreign_owner,
        live=live,
        persistent=view.desired.vfio_persistent,
    )


def _plan(view: HostView, wanted: VfioDesired) -> VfioPlan:
    facts = view.part("vfio")
    early = facts.get("early") or {}
    # The phase before keeps these out, also where the files do not say so yet.
    kept_out = [*(early.get("kept_out") or ()), *map(module_name, view.desired.blacklist)]
    return plan(view.devices, {**facts, "early": {**early, "kept_out": kept_out}}, wanted)


def _driver(view: HostView) -> str:
    return view.desired.vfio_driver or "auto"


def _option(members: str | tuple[str, ...]) -> str | list[str]:
    return members if isinstance(members, str) else list(members)


def _finding(view: HostView, refusal: Refusal) -> Finding:
    return view.finding(
        refusal.id,
        BLOCK,
        refusal.reason,
        consequence=refusal.consequence,
        fix=refusal.fix,
        evidence=(refusal.evidence,),
        device=refusal.address,
    )


def _not_bound(view: HostView, binding: Binding) -> Finding:
    return view.finding(
        "B08",
        BLOCK,
        f"{binding.address} of IOMMU group {binding.group} is on {binding.before or 'no driver'}, and this boot was to bind it to"
        f" {binding.after}.",
        consequence="The group is not viable, and another reboot would not change that.",
        fix="find what else binds it (driverctl list-overrides, another udev rule, a service), correct that, and bind it on the"
        " drained node with host_vfio_live: idle or reboot the host by hand.",
        device=binding.address,
        evidence=(rules.RULES, f"/sys/bus/pci/devices/{binding.address}/driver"),
    )


def _announce(view: HostView, answer: Answer, planned: VfioPlan) -> None:
    by_address = {device.address: device for device in view.devices}
    for binding in planned.bindings:
        if binding.when == "unchanged":
            continue
        device = by_address[binding.address]
        whose = (
            "this collection binds it"
            if view.desired.vfio_owner == HOST
            else "the operator of this release leaves it there"
        )
        answer.findings.append(
            view.finding(
                "A05",
                WARN,
                f"{binding.address} (class {device.class_code}) of IOMMU group {binding.group} is on"
                f" {binding.before or 'no driver'}; {whose}.",
                consequence="The group would not be viable, and no virtual machine could get the GPU.",
                device=binding.address,
                state=WILL_BE_FIXED_BY,
                by=PHASE + (" at the next boot" if binding.when == "boot" else ""),
                evidence=(f"/sys/kernel/iommu_groups/{binding.group}/devices",),
            )
        )
