# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether each GPU is fit to be handed over: its memory, its power, its reset, and what it shares its group with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._pci import isolation
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.journal import JOURNAL, WEDGED
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import binding_notes
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, WARN, WILL_BE_FIXED_BY


def assess(view: HostView, answer: Answer) -> None:
    _stuck(view, answer)
    _reserved_regions(view, answer)
    _memory(view, answer)
    _framebuffer(view, answer)
    _silent(view, answer)
    _power(view, answer)
    _reset(view, answer)
    _together(view, answer)
    binding_notes.assess(view, answer)


def _stuck(view: HostView, answer: Answer) -> None:
    """Nothing but a boot ends such a write, and the operator's own would wait behind it."""
    entry = view.part("vfio").get("journal") or {}
    if entry.get("state") != WEDGED or not entry["this_boot"]:
        return
    answer.reboot_reasons.append(f"a write for {entry['wedged']} is stuck in the kernel")
    answer.findings.append(
        view.finding(
            "C01",
            WARN,
            f"a write to sysfs for {entry['wedged']} has not returned since an earlier run of this boot (WEDGED).",
            consequence="Whatever else binds or unbinds a device of this host may wait behind it for ever.",
            device=entry["wedged"],
            state=WILL_BE_FIXED_BY,
            by="the reboot",
            evidence=(JOURNAL,),
        )
    )


def _reserved_regions(view: HostView, answer: Answer) -> None:
    groups = view.part("iommu").get("groups") or {}
    for gpu in view.gpus:
        regions = (groups.get(gpu.iommu_group or "") or {}).get("reserved_regions") or []
        if any(len(region) > 2 and region[2] == "direct" for region in regions):
            answer.findings.append(
                view.finding(
                    "A11",
                    BLOCK,
                    f"the firmware reserves memory for GPU {gpu.address} (a region of type direct).",
                    consequence="The kernel refuses to hand such a device to a virtual machine.",
                    fix="switch the reservation for this slot off in the firmware (RMRR, shared memory of the BMC).",
                    evidence=(f"/sys/kernel/iommu_groups/{gpu.iommu_group}/reserved_regions",),
                    device=gpu.address,
                )
            )


def _memory(view: HostView, answer: Answer) -> None:
    """Only the memory of the six base address registers: drivers do without I/O ports and the expansion ROM."""
    coming = view.comes_with_bios("above_4g")
    for gpu in view.gpus:
        homeless = [
            region
            for region in gpu.bars
            if region["type"] == "memory" and region["index"] < 6 and not region["assigned"]
        ]
        for region in homeless:
            answer.findings.append(
                view.finding(
                    "A13",
                    BLOCK,
                    f"GPU {gpu.address} has no address for its memory range {region['index']} of {_size(region['size'])}.",
                    consequence="The GPU works neither here nor in a virtual machine.",
                    fix="enable Above 4G Decoding (katagpu_firmware: apply does it where the BIOS is known), or enlarge the space for"
                    " devices (MMIO high size), in the firmware" + _smaller(gpu, region),
                    evidence=(f"/sys/bus/pci/devices/{gpu.address}/resource",),
                    device=gpu.address,
                    acceptable=True,
                    **({"state": WILL_BE_FIXED_BY, "by": "host_firmware and a reboot"} if coming else {}),
                )
            )


def _size(number: int) -> str:
    return (
        f"{number >> 30} GiB"
        if number >= 1 << 30
        else f"{number >> 20} MiB"
        if number >= 1 << 20
        else f"{number} bytes"
    )


def _silent(view: HostView, answer: Answer) -> None:
    for address in view.part("vfio").get("silent") or []:
        answer.findings.append(
            view.finding(
                "A16",
                BLOCK,
                f"{address} does not answer: its configuration space reads as ones.",
                consequence="The device is off the bus, and a virtual machine that gets it fails.",
                fix="switch the host off and on again; a warm reboot does not bring such a device back.",
                evidence=(f"/sys/bus/pci/devices/{address}/config",),
                device=address,
            )
        )


def _smaller(gpu: PciDevice, region: Mapping[str, Any]) -> str:
    """How the range can be made to fit where it can be resized."""
    register = next((entry for entry in gpu.resizable_bars if entry["index"] == region["index"]), None)
    fitting = [size for size in (register or {}).get("supported_sizes", ()) if size < region["size"]]
    if not fitting:
        return "."
    return (
        f"; or switch Resizable BAR off there, with which the range has another size (the GPU can do"
        f" {', '.join(_size(size) for size in fitting)} too)."
    )


def _framebuffer(view: HostView, answer: Answer) -> None:
    """The console that the firmware began lies in the memory of a GPU."""
    for gpu in view.gpus:
        for start, end, name in view.facts.get("framebuffers") or []:
            if not any(_overlaps(region, start, end) for region in gpu.bars):
                continue
            answer.findings.append(
                view.finding(
                    "A14",
                    WARN,
                    f"the console of the boot ({name}) lies in the memory of GPU {gpu.address}.",
                    consequence="VFIO may find the range taken (can't reserve), and the virtual machine would not start.",
                    fix="make the display of the BMC or of the processor primary in the firmware.",
                    evidence=("/proc/iomem", f"/sys/bus/pci/devices/{gpu.address}/resource"),
                    device=gpu.address,
                )
            )


def _overlaps(region: Mapping[str, Any], start: int, end: int) -> bool:
    first = int(region["address"] or "0", 16)
    return bool(region["type"] == "memory" and region["assigned"] and first <= end and start < first + region["size"])


def _power(view: HostView, answer: Answer) -> None:
    silent = view.part("vfio").get("silent") or []
    for gpu in view.gpus:
        if gpu.power_state != "D3cold" or gpu.address in silent:
            continue
        answer.findings.append(
            view.finding(
                "A16",
                WARN,
                f"GPU {gpu.address} was without power (D3cold) when it was looked at.",
                consequence="Some boards do not bring a GPU back from that state, and its virtual machine would fail.",
                fix="write 'options vfio-pci disable_idle_d3=1' to a file in /etc/modprobe.d and reboot, if virtual machines fail with"
                " 'Unable to change power state from D3cold'.",
                evidence=(f"/sys/bus/pci/devices/{gpu.address}/power_state",),
                device=gpu.address,
            )
        )


def _reset(view: HostView, answer: Answer) -> None:
    for gpu in view.gpus:
        if gpu.reset_methods is None or gpu.reset_methods:
            continue
        answer.findings.append(
            view.finding(
                "A17",
                WARN,
                f"the kernel knows no way to reset GPU {gpu.address}.",
                consequence="A second virtual machine would get the GPU as the first one left it, memory included, or would not start.",
                fix="reboot the host between two users of the GPU, or try a newer kernel.",
                evidence=(f"/sys/bus/pci/devices/{gpu.address}/reset_method",),
                device=gpu.address,
            )
        )


def _together(view: HostView, answer: Answer) -> None:
    """GPUs of several slots in one group. All of them are handed over, so nothing else stops at that."""
    merges = isolation.merges(view.devices)
    for group in sorted({str(gpu.iommu_group) for gpu in view.gpus} & view.real_groups):
        gpus = [gpu for gpu in view.gpus if gpu.iommu_group == group]
        other = next((gpu for gpu in gpus if gpu.slot != gpus[0].slot), None)
        if other is None:
            continue
        merge = isolation.between(merges.get(group, ()), gpus[0].address, other.address)
        why = "" if merge is None else f" {isolation.reason(merge)}"
        answer.findings.append(
            view.finding(
                "A08",
                WARN,
                f"the GPUs {', '.join(gpu.address for gpu in gpus)} share IOMMU group {group}.{why}",
                consequence="Only one virtual machine can have them, and a device plugin that counts groups offers one device for all.",
                fix="enable ACS in the firmware." if merge is None else isolation.remedy(merge),
                evidence=(f"/sys/kernel/iommu_groups/{group}/devices",)
                + (() if merge is None else (f"lspci -vvs {merge.address}",)),
                device=gpus[0].address,
            )
        )
