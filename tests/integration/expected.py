# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an end-to-end run is made with, and what the release of the run is seen by."""

from __future__ import annotations

import os

from tests.integration import lab

RELEASE = os.environ.get("KATAGPU_TEST_RELEASE", "26.7")
# What the release is seen by in the cluster: classes, operands of a Kata node, Helm releases with their namespaces.
EXPECTED: dict[str, dict[str, set[str]]] = {
    "26.7": {
        "classes": {"kata-qemu-nvidia-gpu", "nvidia"},
        "operands": {
            "nvidia-vfio-manager",
            "nvidia-cc-manager",
            "nvidia-sandbox-validator",
            "nvidia-kata-sandbox-device-plugin-daemonset",
        },
        "helm": {"gpu-operator/gpu-operator", "kata-system/kata-deploy"},
        "resources": {"nvidia.com/pgpu"},
    },
    "23.9": {
        "classes": {
            *("kata", "kata-clh", "kata-clh-tdx", "kata-qemu", "kata-qemu-tdx", "kata-qemu-sev", "kata-qemu-snp"),
            *("kata-qemu-nvidia-gpu", "kata-qemu-nvidia-gpu-snp", "nvidia"),
        },
        "operands": {
            "nvidia-kata-manager",
            "nvidia-vfio-manager",
            "nvidia-sandbox-device-plugin-daemonset",
            "nvidia-sandbox-validator",
        },
        "helm": {"gpu-operator/gpu-operator"},
        "resources": {"nvidia.com/GA102GL_A10", "nvidia.com/GA102GL_RTX_A6000"},
    },
}
MACHINES = os.environ.get("KATAGPU_TEST_MACHINES", "a10 workstation").split()
GPU = {"a10": ["00:08.0"], "workstation": ["00:08.0", "00:08.1"]}
NODES = [f"kata-{machine}" for machine in MACHINES]
# A GPU node and one without, which the inventory of the lab does not name.
UNNAMED = ("cpu-1", "gpu-1")
# What is done about gpu-1: the old release goes on with its name in the inventory, the current one with the label that keeps
# the operator off.
GPU_1_NAMED = RELEASE == "23.9"
NAMED = lab.REPOSITORY / "tests" / "integration" / "named_gpu_node.yml"
REPORT = lab.STATE / "report" / "report.json"
ACCEPTED = [{"id": "kubernetes_range", "reason": "the lab's Kubernetes"}]
CONTAINERS = ["container-1", *(["gpu-1"] if GPU_1_NAMED else [])]
# While the container toolkit restarts containerd the node is not ready, and Kubernetes says so in the status of its pods.
RESTARTED = (*(f"Pod tenant/web-{name}" for name in CONTAINERS), "Endpoints tenant/web", "EndpointSlice tenant/web-")
DISCOVERY = "feature.node.kubernetes.io/"
# Whose labels come to which node: Node Feature Discovery to all, the operator and its operands to the GPU nodes that it takes.
OPERATOR = ("nvidia.com/gpu.", "nvidia.com/mig.")
LABELS: dict[str, tuple[str, ...]] = {
    "container-1": (DISCOVERY, *OPERATOR),
    "cpu-1": (DISCOVERY,),
    "gpu-1": (DISCOVERY, *OPERATOR)
    if GPU_1_NAMED
    else (DISCOVERY, "nvidia.com/gpu.present", "nvidia.com/gpu.deploy.operands"),
}
