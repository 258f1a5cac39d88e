# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes are for confidential virtual machines, and what the release has for them instead of the plain class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils._eligible import node_name
from ansible_collections.katagpu.cluster.plugins.plugin_utils._releases import merge

VARIABLE = "katagpu_confidential"
NONE = "none"
MODES = (NONE, "snp", "tdx")


def mode_of(variables: Mapping[str, Any]) -> str:
    return str(variables.get(VARIABLE) or NONE)


def demands(hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str]) -> dict[str, str]:
    """By the name of the node, and of those that ask for a variant only.

    The whole inventory counts and not the nodes of one run: else a run with a limit would take the classes of the other nodes away.
    """
    found = {}
    for host in hosts:
        mode = mode_of(hostvars[host])
        if mode not in MODES:
            raise KatagpuError(f"{VARIABLE} of {host} is {mode!r}. Set it to {' or '.join(MODES)}.")
        if mode != NONE:
            found[node_name(host, hostvars[host])] = mode
    return found


def variants(stack: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = (stack.get("confidential") or {}).get("variants") or {}
    return found


def variant(stack: Mapping[str, Any], mode: str) -> Mapping[str, Any] | None:
    """Nothing for the plain class. A release without the variant is refused before anything is asked of it here."""
    if mode == NONE:
        return None
    found = variants(stack).get(mode)
    if found is None:
        raise KatagpuError(f"the release {stack.get('name')} has no confidential variant {mode}.")
    return found


def written_labels(stack: Mapping[str, Any], mode: str = NONE) -> dict[str, Any]:
    """What a Kata node is labelled with beside its workload."""
    plain = dict(stack["labels"].get("kata") or {})
    return {**plain, **stack["confidential"]["labels"]} if variant(stack, mode) else plain


def ready_labels(stack: Mapping[str, Any], mode: str = NONE) -> dict[str, Any]:
    """What the operator says of a node once it is ready."""
    plain = dict(stack["readiness"].get("kata_labels") or {})
    return {**plain, **stack["confidential"]["ready"]} if variant(stack, mode) else plain


def runtime_class(stack: Mapping[str, Any], mode: str = NONE) -> str:
    chosen = variant(stack, mode)
    return str(chosen["runtime_class"] if chosen else stack["runtime_classes"]["gpu"])


def runtime_classes(stack: Mapping[str, Any], modes: Iterable[str]) -> list[str]:
    """Those that the variants add, in the order of the release."""
    wanted = set(modes)
    return [str(data["runtime_class"]) for mode, data in variants(stack).items() if mode in wanted]


def node_labels(stack: Mapping[str, Any], mode: str) -> dict[str, str]:
    """Labels that Node Feature Discovery writes by the rule that kata-deploy makes, and that the class selects."""
    chosen = variant(stack, mode)
    return dict(chosen["node_labels"]) if chosen else {}


def kata_deploy_values(stack: Mapping[str, Any], modes: Iterable[str]) -> dict[str, Any]:
    """Chart values for the variants that anybody asks for; none where nobody does."""
    wanted = set(modes)
    chosen = [data for mode, data in variants(stack).items() if mode in wanted]
    values: dict[str, Any] = dict(stack["confidential"]["kata_deploy_values"]) if chosen else {}
    for data in chosen:
        values = merge(values, {"shims": {data["shim"]: {"enabled": True}}})
    return values
