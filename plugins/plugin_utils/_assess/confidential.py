# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host that is to run confidential virtual machines with GPUs can do so. A host that is not is not looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import snp, tdx, tee
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.ranges import minor
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, INFO, WARN, Finding
from ansible_collections.katagpu.cluster.plugins.plugin_utils._owner import HOST

_JUDGES: Mapping[str, Callable[[HostView, Mapping[str, Any], str], list[Finding]]] = {
    "snp": snp.judge,
    "tdx": tdx.judge,
}
_ARGUMENTS: Mapping[str, Callable[[HostView], tee.Arguments]] = {"snp": snp.arguments, "tdx": tdx.arguments}
# Without them a device reaches a virtual machine through its group only, which a confidential one does not take.
_CDEV = ("CONFIG_IOMMUFD", "CONFIG_VFIO_DEVICE_CDEV")


def arguments(view: HostView) -> tee.Arguments:
    """What host_iommu has to do besides, without what the user says of the same arguments."""
    if not _variant(view):
        return tee.Arguments()
    wanted = _ARGUMENTS[view.desired.confidential](view)
    refused = {token.meaning for _user, token in _contradictions(view)}
    return tee.Arguments(
        *(tuple(text for text in texts if tokens.token(text).meaning not in refused) for texts in wanted)
    )


def assess(view: HostView) -> Answer:
    answer = Answer()
    mode = view.desired.confidential
    if mode == _confidential.NONE:
        return answer
    variant = _variant(view)
    if not variant:
        answer.findings.append(_no_variant(view))
        return answer
    data = view.release["confidential"]
    answer.findings += [
        *_owner(view),
        *_gpus(view, data["gpus"]),
        *_devices(view),
        *_user_arguments(view),
        *_JUDGES[mode](view, variant, str(data["kernel"])),
        *_platform(view, data),
        _support(view, data),
    ]
    return answer


def _variant(view: HostView) -> Mapping[str, Any]:
    found = _confidential.variants(view.release).get(view.desired.confidential) or {}
    return found if view.desired.confidential in _JUDGES else {}


def _no_variant(view: HostView) -> Finding:
    return view.finding(
        "cc_release",
        BLOCK,
        f"katagpu_confidential is {view.desired.confidential}, and the release {view.release.get('name')} has no such variant.",
        consequence="There would be no RuntimeClass for it.",
        fix="choose a release that has it (the guide to releases lists them), or set katagpu_confidential: none.",
        evidence=("katagpu_confidential",),
    )


def _owner(view: HostView) -> list[Finding]:
    if view.desired.vfio_owner != HOST:
        return []
    return [
        view.finding(
            "vfio_owner",
            BLOCK,
            "katagpu_vfio_owner is host, and the GPUs are to change into a confidential mode.",
            consequence="That resets them, and who binds them again without the operator's vfio-manager has not been proven.",
            fix="remove katagpu_vfio_owner (for all Kata hosts), or set katagpu_confidential: none.",
            evidence=("katagpu_vfio_owner", "katagpu_confidential"),
        )
    ]


def _gpus(view: HostView, known: Mapping[str, Any]) -> list[Finding]:
    """Every one counts: the cc-manager sets the mode of all GPUs of a node or ends with an error."""
    found = []
    consequence = "The cc-manager of the node would end again and again, and no GPU of the node could be used."
    for gpu in view.gpus:
        device = str(gpu.device_id or "")
        if device.startswith(tuple(known["capable"])):
            continue
        evidence = (f"/sys/bus/pci/devices/{gpu.address}/device",)
        if device.startswith(tuple(known["incapable"])):
            fact = (
                f"GPU {gpu.address} ({gpu.id}) has no confidential mode, because its architecture is older than Hopper."
            )
            fix = "set katagpu_confidential: none for this host, or give it GPUs of which all have such a mode."
            found.append(
                view.finding(
                    "cc_gpu", BLOCK, fact, consequence=consequence, fix=fix, evidence=evidence, device=gpu.address
                )
            )
        else:
            fact = f"whether GPU {gpu.address} ({gpu.id}) has a confidential mode is not known to this collection."
            found.append(
                view.finding(
                    "cc_gpu_unknown",
                    BLOCK,
                    fact,
                    consequence=f"If it has none: {consequence[0].lower()}{consequence[1:]}",
                    fix="look it up in NVIDIA's list of supported platforms, and accept the finding with a reason if it has one.",
                    evidence=evidence,
                    device=gpu.address,
                    acceptable=True,
                )
            )
    return [*found, *_multi_gpu(view, str(known["hopper"]))]


def _multi_gpu(view: HostView, hopper: str) -> list[Finding]:
    switches = [one for one in view.devices if one.vendor_id == "10de" and one.has_class("0680")]
    if not switches or not any(str(gpu.device_id or "").startswith(hopper) for gpu in view.gpus):
        return []
    return [
        view.finding(
            "cc_multi_gpu",
            WARN,
            f"the host has Hopper GPUs and {len(switches)} NVSwitches, and the mode that is set is on, which is for one GPU in each virtual"
            " machine.",
            consequence="A confidential virtual machine with all GPUs would need the mode ppcie, which this collection does not set.",
            fix="give each pod one GPU.",
            evidence=("/sys/bus/pci/devices", "lspci -nn -d 10de::0680"),
        )
    ]


def _devices(view: HostView) -> list[Finding]:
    options = view.part("iommu").get("kernel_options") or {}
    missing = [name for name in _CDEV if options.get(name) == "n"]
    if not missing:
        return []
    return [
        view.finding(
            "B10",
            BLOCK,
            f"the running kernel was built without {' and '.join(missing)}.",
            consequence="QEMU gives devices to a confidential virtual machine through iommufd only.",
            fix="boot a kernel that has it.",
            evidence=("/boot/config-*", "/dev/iommu"),
        )
    ]


def _contradictions(view: HostView) -> list[tuple[str, tokens.Token]]:
    """Words of the user against ours, each with the argument of ours."""
    ours = _ARGUMENTS[view.desired.confidential](view)
    pairs = (
        ("host_iommu_kernel_arguments_present", view.desired.kernel_arguments_present, ours.absent, False),
        ("host_iommu_kernel_arguments_absent", view.desired.kernel_arguments_absent, ours.present, True),
    )
    found = []
    for name, texts, own, spec in pairs:
        for text in texts:
            given = tokens.token(text)
            for mine in map(tokens.token, own):
                if tokens.matches(*((mine, given) if spec else (given, mine))):
                    found.append((f"{name} has {text}", mine))
    return found


def _user_arguments(view: HostView) -> list[Finding]:
    return [
        view.finding(
            "cc_option",
            BLOCK,
            f"{said}, which cannot be together with katagpu_confidential: {view.desired.confidential}.",
            consequence="No confidential virtual machine could start on this host.",
            fix="remove one of the two.",
            evidence=(said.partition(" ")[0], "katagpu_confidential"),
        )
        for said, _token in _contradictions(view)
    ]


def _platform(view: HostView, data: Mapping[str, Any]) -> list[Finding]:
    """Other machines may work as well; only nobody has said so."""
    facts = tee.facts(view).get("cpu") or {}
    vendor = view.part("iommu").get("cpu_vendor")
    wanted = data["variants"][view.desired.confidential]["cpu"]
    names = [one["name"] for one in data["cpus"] if one["vendor"] == wanted]
    fits = any(
        (one["vendor"], one["family"]) == (vendor, facts.get("family"))
        and one["models"][0] <= (facts.get("model") or 0) <= one["models"][-1]
        for one in data["cpus"]
    )
    running, oldest = str(view.part("platform").get("kernel") or ""), minor(str(data["kernel"]))
    said = []
    if vendor == wanted and not fits:
        said.append(
            f"the processor {facts.get('name') or ''} (family {facts.get('family')}, model {facts.get('model')})"
        )
    if (minor(running) or oldest or (0, 0)) < (oldest or (0, 0)):
        said.append(f"the kernel {running}")
    if not said:
        return []
    return [
        view.finding(
            "cc_platform",
            WARN,
            f"NVIDIA's list of validated hosts does not have {' and '.join(said)}.",
            consequence=f"It has {' and '.join(names)} with Linux {data['kernel']} or newer.",
            fix="use such a host where you need what was validated.",
            evidence=("/proc/cpuinfo", "/proc/sys/kernel/osrelease"),
        )
    ]


def _support(view: HostView, data: Mapping[str, Any]) -> Finding:
    return view.finding(
        "cc_support",
        INFO if data["validated"] else WARN,
        f"confidential virtual machines with the release {view.release.get('name')}: {data['note'].rstrip('.')}.",
        fix=""
        if data["validated"]
        else "choose the release that was validated (katagpu_release), or go on with this one knowingly.",
        evidence=("the guide to releases",),
    )
