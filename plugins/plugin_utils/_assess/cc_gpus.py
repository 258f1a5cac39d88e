# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the GPUs of a host can enter the confidential-computing mode that is asked for."""

from __future__ import annotations

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK

OFF = "off"


def assess(view: HostView) -> Answer:
    """Releases that write the mode as a label of their own have no C(cc_devices): there the label is judged (C(cc_mode))."""
    answer = Answer()
    capable = view.release["vfio"].get("cc_devices")
    manager = view.desired.cc_manager
    if capable is None or manager.get("enabled") is not True:
        return answer
    labelled = str(((view.cluster_node or {}).get("labels") or {}).get("nvidia.com/cc.mode") or "")
    mode = labelled or str(manager.get("defaultMode") or OFF)
    unable = [gpu for gpu in view.gpus if gpu.device_id not in capable]
    if mode == OFF or not unable:
        return answer
    asked = f"the label nvidia.com/cc.mode={mode}" if labelled else f"ccManager.defaultMode: {mode}"
    answer.findings.append(
        view.finding(
            "cc_gpus",
            BLOCK,
            f"{asked} asks for confidential computing, and {', '.join(f'{gpu.address} ({gpu.id})' for gpu in unable)} is not"
            " among the GPUs that the release knows to be able to.",
            consequence="The CC manager ends with an error on this node, and the operands that wait for it never start.",
            fix=(
                f"kubectl label node {view.node} --overwrite nvidia.com/cc.mode={OFF}"
                if labelled
                else f"label this node nvidia.com/cc.mode={OFF}, or remove ccManager.defaultMode from gpu_operator_values"
            )
            + "; accept the finding with a reason where the list is older than the GPU.",
            evidence=("/sys/bus/pci/devices", "gpu_operator_values.ccManager", f"Node {view.node} .metadata.labels"),
            acceptable=True,
        )
    )
    return answer
