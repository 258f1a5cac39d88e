# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which labels this run writes, and on which nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential

# What selects the nodes of the Kata runtime beside their workload. A node gets it while it is drained, so that containerd
# is restarted on one node after the other; its value is that of the runtime that the node is to have.
RUNTIME = "katagpu.io/kata-runtime"


def wanted_labels(
    stack: Mapping[str, Any],
    kata: Iterable[str],
    container: Iterable[str],
    extra: Mapping[str, Mapping[str, Any]] | None = None,
    protect: Iterable[str] = (),
    hold: Iterable[str] = (),
    eligible: Iterable[str] | None = None,
    confidential: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    """The option C(nodes) of the module node_labels. Only nodes that are eligible or protected are in it."""
    workload, off = stack["labels"]["workload"], stack["labels"]["operands_off"]
    roles = {"kata": list(kata), "container": list(container)}
    both = sorted(set(roles["kata"]) & set(roles["container"]))
    if both:
        raise KatagpuError(f"named for Kata and for containers at once: {', '.join(both)}. A node has one workload.")
    modes = {
        name: _confidential.written_labels(stack, (confidential or {}).get(name, _confidential.NONE))
        for name in roles["kata"]
    }
    # Null takes the protection of an earlier run away, and only if that run wrote it.
    wanted: dict[str, dict[str, Any]] = {
        name: {
            **(modes[name] if role == "kata" else stack["labels"].get(role) or {}),
            workload["key"]: workload[role],
            off: None,
        }
        for role, names in roles.items()
        for name in names
    }
    allowed = set(wanted) if eligible is None else set(eligible)
    _refuse(sorted(set(wanted) - allowed), "the nodes to label")
    _refuse(sorted(set(extra or {}) - set(wanted)), "node_labels_extra")
    for name, labels in (extra or {}).items():
        if not isinstance(labels, Mapping):
            raise KatagpuError(f"node_labels_extra: the labels of {name} must be a dictionary, they are {labels!r}.")
        if workload["key"] in labels:
            raise KatagpuError(
                f"node_labels_extra: {workload['key']} of {name} follows from the groups kata_nodes and container_nodes."
            )
        for key, value in modes.get(name, {}).items():
            if labels.get(key, value) != value:
                raise KatagpuError(
                    f"node_labels_extra: {key} of {name} is {labels[key]!r}, and {value!r} follows from katagpu_confidential."
                )
        wanted[name].update(labels)
    for name in protect:
        wanted.setdefault(name, {off: "false"})
    for name in set(hold) & set(roles["kata"]):
        wanted[name][off] = "false"
    return wanted


def _refuse(names: list[str], where: str) -> None:
    if names:
        raise KatagpuError(
            f"{where}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} not eligible in this run. No label was"
            " written. Fix: make the node eligible (the report says what is missing), or leave it out."
        )
