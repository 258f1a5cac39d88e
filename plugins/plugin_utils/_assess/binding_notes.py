# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a binding that succeeds may still lead to: how the group is passed on, by which driver, and what puts the device to sleep."""

from __future__ import annotations

import re

from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.power import IDLE_D3_DISABLED
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, WARN

_OPTION = re.compile(r"^\s*options\s+vfio[-_]pci\s.*\bdisable_idle_d3=(?:1|y)\b", re.MULTILINE | re.IGNORECASE)


def assess(view: HostView, answer: Answer) -> None:
    _passed_as_a_group(view, answer)
    _variant(view, answer)
    _sleep(view, answer)
    _stale_override(view, answer)
    _divided(view, answer)


def _passed_as_a_group(view: HostView, answer: Answer) -> None:
    """With a device node of its own for each function the rest of the group stays out of the virtual machine."""
    by_function = view.release["vfio"]["passes"] == "cdev" and view.part("devices").get("/dev/iommu")
    for group in sorted({str(gpu.iommu_group) for gpu in view.gpus} & view.real_groups) if not by_function else ():
        members = [device for device in view.devices if device.iommu_group == group and device.is_endpoint]
        gpus = [device for device in members if device.is_nvidia_gpu]
        others = [
            device
            for device in members
            if device not in gpus
            and device.driver != drivers.STUB
            and (device.has_class("0680") or not device.has_class("06"))
        ]
        if not others:
            continue
        names = ", ".join(device.address for device in others)
        answer.findings.append(
            view.finding(
                "A10",
                WARN,
                f"IOMMU group {group} of GPU {gpus[0].address} has other functions too ({names}), and this release passes a group on"
                " as a whole.",
                consequence="Some versions of Kata then fail with 'group used in multiple address spaces' or 'Device not found'.",
                fix="prove it with the sample workload; if it fails, keep the others out with pci-stub (host_vfio_driver) or use a"
                " release and a kernel that pass single functions (/dev/iommu).",
                evidence=(f"/sys/kernel/iommu_groups/{group}/devices",),
                device=gpus[0].address,
            )
        )


def _variant(view: HostView, answer: Answer) -> None:
    accepted = view.release["vfio"]["plugin_drivers"]
    known = view.part("vfio").get("drivers") or {}
    for gpu in view.gpus:
        driver = gpu.driver if drivers.is_vfio(gpu.driver) else drivers.choose(gpu, known)
        if driver is None or any(drivers.same(driver, each) for each in accepted):
            continue
        answer.findings.append(
            view.finding(
                "B07",
                BLOCK,
                f"GPU {gpu.address} ({gpu.id}) {'is on' if driver == gpu.driver else 'gets'} {driver}, and the device plugin of this release"
                f" takes GPUs on {', '.join(accepted)} only.",
                consequence="The operator's validator passes, and the node offers no GPU.",
                fix="take a release whose device plugin knows that driver, or accept the finding where another plugin is installed.",
                evidence=(f"{PCI_DEVICES}/{gpu.address}/driver", "/lib/modules/*/modules.alias (vfio_pci:)"),
                device=gpu.address,
                acceptable=True,
            )
        )


def _sleep(view: HostView, answer: Answer) -> None:
    """The kernel allows it for nearly every device; only where the firmware can cut the power does it happen."""
    texts = (view.part("modules").get("modprobe_d") or {}).values()
    if view.part("vfio").get("idle_d3_disabled") or any(_OPTION.search(str(text)) for text in texts):
        return
    able = view.part("vfio").get("d3cold") or {}
    for gpu in view.gpus:
        if gpu.address not in able or gpu.power_state == "D3cold":
            continue
        answer.findings.append(
            view.finding(
                "A16",
                WARN,
                f"the kernel may switch the power of GPU {gpu.address} off while nobody uses it (d3cold_allowed 1, by"
                f" {able[gpu.address][-1]}).",
                consequence="Some boards do not bring a GPU back from that state (D3cold), and its virtual machine would fail.",
                fix="write 'options vfio-pci disable_idle_d3=1' to a file in /etc/modprobe.d and reboot, if virtual machines fail with"
                " 'Unable to change power state from D3cold'.",
                evidence=(f"{PCI_DEVICES}/{gpu.address}/d3cold_allowed", IDLE_D3_DISABLED),
                device=gpu.address,
            )
        )


def _stale_override(view: HostView, answer: Answer) -> None:
    """An override that is not the driver decides at the next probe, whoever causes that."""
    groups = {gpu.iommu_group for gpu in view.gpus} & set(view.real_groups)
    for device in view.devices:
        override = device.driver_override
        if device.iommu_group not in groups or not device.is_endpoint or override is None:
            continue
        if drivers.same(override, device.driver) or drivers.is_viable(override):
            continue
        answer.findings.append(
            view.finding(
                "C12",
                WARN,
                f"driver_override of {device.address} names {override}, and its driver is {device.driver or 'none'}.",
                consequence="At the next probe of the device it gets that driver, which takes its group from VFIO.",
                fix=f"find what set it (driverctl, a script), then: echo > {PCI_DEVICES}/{device.address}/driver_override",
                evidence=(f"{PCI_DEVICES}/{device.address}/driver_override",),
                device=device.address,
            )
        )


def _divided(view: HostView, answer: Answer) -> None:
    """Only the driver that is about to go can end it."""
    names = view.part("vfio").get("mig") or []
    if names:
        answer.findings.append(
            view.finding(
                "C10",
                WARN,
                f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} divided into instances (MIG).",
                consequence="On Ampere that outlives the reboot, and the virtual machine gets a divided GPU.",
                fix="with the NVIDIA driver still loaded: nvidia-smi mig -dci, nvidia-smi mig -dgi, nvidia-smi -mig 0.",
                evidence=("/proc/driver/nvidia/capabilities",),
            )
        )
