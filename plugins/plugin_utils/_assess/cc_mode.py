# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The confidential-computing mode of the GPUs of a node: who has set it, and whether it may be changed now."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import takeover
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import ClusterView, some
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding


def cc_mode(view: ClusterView) -> list[Finding]:
    """Another mode resets the GPUs of the node."""
    found = []
    for name in view.kata:
        for key, wanted in _confidential.written_labels(view.release, view.confidential(name)).items():
            value = view.nodes[name]["labels"].get(key)
            if value in (None, wanted) or key in takeover.owned_labels(view.nodes[name]):
                continue
            found.append(
                Finding(
                    "cc_mode",
                    BLOCK,
                    f"the node is labelled {key}={value}, and this collection did not write that; the release wants {wanted}.",
                    _reset(view, name),
                    f"take the node out of kata_nodes, or, if it is to run {_machines(view, name)}: kubectl label node {name} {key}-",
                    (f"Node {name} .metadata.labels",),
                    node=name,
                )
            )
    return found


def mode_change(view: ClusterView) -> list[Finding]:
    """The mode is what the node says that it is; while a pod holds a GPU, the operator would wait for it for ever."""
    found = []
    for name in view.kata:
        labels = view.nodes[name]["labels"]
        other = _other_state(labels, _confidential.ready_labels(view.release, view.confidential(name)))
        pods = view.gpu_pods_on(name)
        if other and pods:
            found.append(
                Finding(
                    "C08",
                    BLOCK,
                    f"GPU pods run on the node ({some(pods)}), and {other}.",
                    "The operator would reset GPUs that are in use, and its vfio-manager would not end while a pod holds one.",
                    "delete or drain these pods, then run again.",
                    tuple(f"pod {pod}" for pod in pods),
                    node=name,
                )
            )
    return found


def _other_state(labels: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """An empty state is that of a failed change, which a new change ends."""
    for key, value in wanted.items():
        if labels.get(key) not in (None, "", value):
            return f"{key} would change from {labels[key]} to {value}"
    return ""


def _reset(view: ClusterView, name: str) -> str:
    others = "of the confidential classes" if view.confidential(name) == _confidential.NONE else "of the plain class"
    return f"The operator would reset the GPUs into another mode, and pods {others} would not run any more."


def _machines(view: ClusterView, name: str) -> str:
    mode = view.confidential(name)
    if mode == _confidential.NONE:
        return "plain Kata"
    return str(_confidential.variants(view.release)[mode]["title"])
