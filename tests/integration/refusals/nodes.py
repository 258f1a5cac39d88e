# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API tells of single nodes."""

from __future__ import annotations

from tests.integration.refusals.case import ACCEPTED, Case, Inventory, blocks
from tests.lab.scene import Scene

WORKLOAD = "nvidia.com/gpu.workload.config"


def _named(scene: Scene, inventory: Inventory, name: str, number: int, **status: str) -> None:
    inventory["kata_nodes"]["hosts"][name] = {}
    scene.node(name, number, **status)


def _old_containerd(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-old", 41, runtime="containerd://1.7.24")


def _crio(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-crio", 42, runtime="cri-o://1.33.0")


def _small_node(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-small", 43, memory="16384000Ki")


def _taint(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-taint", 44)
    scene.taint("kata-taint", "dedicated", "gpu", "NoSchedule")


def _cc_mode(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-cc", 45)
    scene.label("kata-cc", {"nvidia.com/cc.mode": "on"})


def _operands_off(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-off", 46)
    scene.label("kata-off", {"nvidia.com/gpu.deploy.operands": "false"})


def _vgpu(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-vgpu", 47)
    scene.label("kata-vgpu", {WORKLOAD: "vm-vgpu"})


def _busy_flip(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-busy", 48)
    scene.label("kata-busy", {WORKLOAD: "container"})
    scene.gpu_pod("kata-busy", "nvidia.com/gpu")


def _misspelt_labels(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-typo", 49)
    scene.label("kata-typo", {WORKLOAD: "kata"})
    scene.node("cpu-typo", 50, gpu=False)
    scene.label("cpu-typo", {WORKLOAD: "vm-passthough"})


def _not_there(scene: Scene, inventory: Inventory) -> None:
    inventory["kata_nodes"]["hosts"]["kata-old.example.org"] = {"katagpu_node_name": "kata-odl"}


def _other_machine(scene: Scene, inventory: Inventory) -> None:
    _named(scene, inventory, "kata-swap", 51)
    inventory["kata_nodes"]["hosts"]["kata-swap"] = {"ansible_host": "192.0.2.12"}


CASES = (
    Case(
        "containerd_range",
        "containerd out of range",
        "a node that reports ``containerd://1.7.24``",
        _old_containerd,
        blocks=blocks("containerd_range@kata-old"),
        together=True,
        says=("containerd 1.7.24",),
    ),
    Case(
        "coco_containerd_2",
        "CoCo operator v0.7.0 on containerd 2",
        "``katagpu_release: '23.9'`` on nodes that report ``containerd://2.2.1``, and ``containerd_range`` accepted in vain",
        variables={
            "katagpu_release": "23.9",
            "katagpu_accepted_findings": [*ACCEPTED, {"id": "containerd_range", "reason": "tried"}],
        },
        blocks=blocks("containerd_range@kata-1", "containerd_range@kata-2"),
        says=("does not read",),
    ),
    Case(
        "crio",
        "CRI-O",
        "a node that reports ``cri-o://1.33.0``",
        _crio,
        blocks=blocks("container_runtime@kata-crio"),
        together=True,
        says=("cri-o://1.33.0",),
    ),
    Case(
        "workload_label",
        "Misspelt workload labels",
        f"``{WORKLOAD}=kata`` on a node of the inventory, and ``vm-passthough`` on another node. The first is put right by"
        " the run, the second is only told",
        _misspelt_labels,
        others=frozenset({("E01", "kata-typo", "will_be_fixed_by"), ("E01", "cpu-typo", "open")}),
        together=True,
        says=("'kata'", "'vm-passthough'"),
    ),
    Case(
        "vm_vgpu",
        "Node for virtual GPUs",
        f"``{WORKLOAD}=vm-vgpu`` on a node of ``kata_nodes``",
        _vgpu,
        blocks=blocks("vm_vgpu@kata-vgpu"),
        together=True,
        says=("vm-vgpu",),
    ),
    Case(
        "busy_flip",
        "Other workload for a node with running GPU pods",
        f"``{WORKLOAD}=container`` on a node of ``kata_nodes``, and a pod with a GPU on it",
        _busy_flip,
        blocks=blocks("C07@kata-busy"),
        together=True,
        others=frozenset({("gpu_pods_running", "", "open")}),
        says=("default/training-0", "from container to vm-passthrough"),
    ),
    Case(
        "cc_mode",
        "Confidential-computing mode that somebody else has set",
        "``nvidia.com/cc.mode=on`` on a node of ``kata_nodes``",
        _cc_mode,
        blocks=blocks("cc_mode@kata-cc"),
        together=True,
        says=("nvidia.com/cc.mode=on",),
    ),
    Case(
        "operands_off",
        "Node that somebody keeps the operator off",
        "``nvidia.com/gpu.deploy.operands=false`` on a node of ``kata_nodes``",
        _operands_off,
        blocks=blocks("operands_off@kata-off"),
        together=True,
        says=("kubectl label node kata-off nvidia.com/gpu.deploy.operands-",),
    ),
    Case(
        "taint",
        "Taint that a part of the stack does not tolerate",
        "the taint ``dedicated=gpu:NoSchedule``",
        _taint,
        blocks=blocks("taint@kata-taint"),
        together=True,
        says=("dedicated=gpu:NoSchedule", "gpu_operator and kata_deploy do not tolerate"),
    ),
    Case(
        "guest_memory",
        "Pod with the overhead of its class that the node cannot hold",
        "a node that gives pods 16384000 KiB",
        _small_node,
        blocks=blocks("guest_memory@kata-small"),
        together=True,
        says=("16000 MiB", "26624 MiB"),
    ),
    Case(
        "node_missing",
        "Host that is no node",
        "``katagpu_node_name: kata-odl`` where the Node is ``kata-old``",
        _not_there,
        blocks=blocks("node_missing@kata-odl"),
        together=True,
        says=("Did you mean kata-old?",),
    ),
    Case(
        "node_identity",
        "Host and Node that are different machines",
        "``ansible_host`` of ``kata-swap`` is the address of the Node ``kata-2``",
        _other_machine,
        blocks=blocks("node_identity@kata-swap"),
        together=True,
        says=("192.0.2.12 belongs to the Node kata-2",),
    ),
)
