# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts are refused for. No machine of the lab is like these, so each is a tree of files that the real modules read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.refusals.case import KATA, Case, Inventory, blocks
from tests.lab.scene import Scene
from tests.unit import machines
from tests.unit.assess_host import KERNEL, audio, bmc_display, gpu, machine
from tests.unit.host_stages import ready

PLAYBOOK = str(Path(__file__).with_name("hosts_of_files.yml"))
LIMIT = ("--limit", "localhost,container-1,kata_nodes,!kata-1,!kata-2")
GPU, SECOND = "0000:65:00.0", "0000:66:00.0"
DISK = {
    "address": "0000:67:00.0",
    "class": "010802",
    "vendor": "144d",
    "device": "a80a",
    "driver": "nvme",
    "group": "12",
}
GRACE = {
    f"/lib/modules/{KERNEL}/modules.alias": "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\n"
}
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n"


def _host(name: str, number: int, description: dict[str, Any], **variables: Any) -> Callable[[Scene, Inventory], None]:
    """The host, and a Node that is the same machine."""

    def arrange(scene: Scene, inventory: Inventory) -> None:
        identity = f"{number:032x}"
        files = {**description["files"], "/etc/machine-id": f"{identity}\n"}
        root = machines.build({**description, "files": files}, scene.directory / name)
        scene.node(name, number, machine_id=identity)
        boot = files["/proc/sys/kernel/random/boot_id"].strip()
        scene.api.strategic_patch(f"/api/v1/nodes/{name}/status", {"status": {"nodeInfo": _info(scene, name, boot)}})
        inventory["kata_nodes"]["hosts"][name] = {"host_tree": str(root), **variables}

    return arrange


def _info(scene: Scene, name: str, boot: str) -> dict[str, Any]:
    return {**scene.api.get(f"/api/v1/nodes/{name}")["status"]["nodeInfo"], "bootID": boot}


def _no_cc(scene: Scene, inventory: Inventory) -> None:
    for name in KATA:
        scene.changed_status(name, runtime="containerd://1.7.24")
    _host("kata-nocc", 69, ready(gpu(group="12", driver="vfio-pci")))(scene, inventory)
    scene.status("kata-nocc", runtime="containerd://1.7.24")


def _case(
    key: str,
    title: str,
    given: str,
    ids: str,
    node: str,
    number: int,
    description: dict[str, Any],
    *says: str,
    **more: Any,
) -> Case:
    return Case(
        key,
        title,
        given,
        _host(node, number, description, **more),
        playbook=PLAYBOOK,
        arguments=LIMIT,
        blocks=blocks(f"{ids}@{node}"),
        says=says,
        together=True,
    )


def _two(device: str) -> tuple[dict[str, Any], ...]:
    return gpu(group="12", driver="vfio-pci"), gpu(address=SECOND, device=device, group="13", driver="vfio-pci")


CASES = (
    _case(
        "arm64",
        "Processor for which the release does not exist",
        "an arm64 host",
        "architecture",
        "kata-arm",
        61,
        ready(gpu(group="12", driver="vfio-pci"), firmware="IORT", files={"/proc/cpuinfo": ARM}),
        "aarch64",
        "exists for amd64",
    ),
    _case(
        "partial",
        "Plan that leaves a GPU of the node off VFIO",
        f"two GPUs, and ``host_vfio_addresses: ['{GPU}']``",
        "partial_gpu_node",
        "kata-half",
        62,
        ready(*_two("2236")),
        f"the GPUs {SECOND} would stay off VFIO",
        host_vfio_addresses=[GPU],
    ),
    _case(
        "mixed_models",
        "GPUs of several models under one alias",
        "an A10 and an A100 in one host",
        "mixed_models",
        "kata-mixed",
        63,
        ready(*_two("20f1")),
        "10de:20f1, 10de:2236",
    ),
    _case(
        "no_gpu",
        "Host without a GPU",
        "a host of ``kata_nodes`` without an NVIDIA device",
        "no_gpu",
        "kata-none",
        64,
        ready(bmc_display(group="1")),
    ),
    _case(
        "variant_driver",
        "GPU that the device plugin would pass over",
        "a kernel whose modules name a driver of their own for the GPU",
        "B07",
        "kata-grace",
        65,
        ready(gpu(group="12", device="2342", driver=None), files=GRACE),
        "gets nvgrace_gpu_vfio_pci",
    ),
    _case(
        "firmware",
        "IOMMU that the firmware does not publish",
        "a host without DMAR and IVRS tables",
        "A02",
        "kata-firmware",
        66,
        machine(gpu(), firmware=""),
    ),
    _case(
        "shared_group",
        "Disk in the IOMMU group of the GPU",
        "an NVMe disk and a GPU in IOMMU group 12",
        "A07",
        "kata-shared",
        67,
        ready(gpu(group="12", driver=None), DISK),
        DISK["address"],
    ),
    _case(
        "only_display",
        "GPU that is the only display",
        "a graphics card as boot display and no other display",
        "A15",
        "kata-display",
        68,
        ready(gpu(group="12", driver=None, boot_vga=1, **{"class": "030000"}), audio(group="12")),
        GPU,
    ),
    Case(
        "cc_gpus",
        "Confidential computing on GPUs that cannot",
        "release 23.9, ``gpu_operator_values: {ccManager: {enabled: true, defaultMode: 'on'}}``, and an A10",
        _no_cc,
        {"katagpu_release": "23.9", "gpu_operator_values": {"ccManager": {"enabled": True, "defaultMode": "on"}}},
        PLAYBOOK,
        LIMIT,
        blocks=blocks("cc_gpus@kata-nocc"),
        says=("ccManager.defaultMode: on", f"{GPU} (10de:2236)"),
    ),
)
