# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts at stages of their provisioning, for the tests of what is judged of them."""

from __future__ import annotations

from typing import Any

from tests.unit.assess_host import KERNEL, gpu, machine

READY = "quiet intel_iommu=on modprobe.blacklist=nouveau"
OURS = {
    "/etc/modules-load.d/katagpu.conf": "# Managed by katagpu.cluster.\nvfio-pci\nvfio_iommu_type1\nvhost_vsock\nvhost_net\n",
    "/etc/modprobe.d/katagpu.conf": "# Managed by katagpu.cluster.\nblacklist nouveau\n",
}
LOADED = ("vfio_pci", "vfio_iommu_type1", "vhost_vsock", "vhost_net")
UNLABELLED: dict[str, Any] = {"labels": {}}
LABELLED: dict[str, Any] = {"labels": {"nvidia.com/gpu.workload.config": "vm-passthrough"}}


def ready(*functions: dict[str, Any], **more: Any) -> dict[str, Any]:
    files = {**OURS, **more.pop("files", {})}
    return machine(*functions, arguments=READY, loaded=LOADED, files=files, **more)


def results(answer: dict[str, Any]) -> dict[str, str]:
    return {item["id"]: item["result"] for item in answer["checks"]}


def without_grub(description: dict[str, Any]) -> dict[str, Any]:
    for path in [path for path in description["files"] if "grub" in path]:
        del description["files"][path]
    return description


def with_driver(name: str, description: dict[str, Any]) -> dict[str, Any]:
    path = next(path for path in description["files"] if path.endswith("modules.dep"))
    description["files"][path] += f"updates/dkms/{name}.ko.xz:\n"
    return description


INITRAMFS = f"/boot/initrd.img-{KERNEL}"
OLD, NEW = 1_000_000_100, 1_000_000_200
UPDATE = [["/usr/sbin/update-initramfs", "-u", "-k", "all"]]


def with_initramfs(ours: int, image: int, booted: int, **more: Any) -> dict[str, Any]:
    """Seconds at which the blacklist and the image were written, and at which the host was booted."""
    files = {**OURS, INITRAMFS: "", "/usr/sbin/update-initramfs": "", "/proc/stat": f"btime {booted}\n"}
    description = machine(gpu(group="12"), loaded=(*LOADED, *more.pop("loaded", ())), files=files, **more)
    return {**description, "modified": {"/etc/modprobe.d/katagpu.conf": ours, INITRAMFS: image}}
