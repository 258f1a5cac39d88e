# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How kata-deploy is taken off a cluster, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._labels import RUNTIME
from ansible_collections.katagpu.cluster.plugins.plugin_utils._maintenance import begun_rolls

_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
_SHOWN = 8
# The same as that of the installation, because either ends what the other has begun.
PART = "kata_deploy"


def kata_removal(
    pods: Iterable[Mapping[str, Any]],
    stack: Mapping[str, Any],
    namespace: str,
    named: Mapping[str, Mapping[str, Any]],
    nodes: Mapping[str, Mapping[str, Any]],
    classes: Iterable[str] = (),
    jobs: bool = False,
) -> dict[str, Any]:
    """C(named) are the nodes of the inventory, C(nodes) those of the cluster with their labels and annotations, C(classes) what
    kata-deploy has made. With C(jobs) it was installed by Jobs, which leave no pod behind."""
    kata = stack["kata_deploy"]
    listed = list(pods)
    installers: dict[str, list[str]] = {}
    for pod in listed:
        if _space(pod) == namespace and _labels(pod).get("name") == kata["daemonset"] and _node(pod):
            installers.setdefault(_node(pod), []).append(pod["metadata"]["name"])
    every = {*kata["runtime_classes"], *classes}
    users = sorted(
        f"{_space(pod)}/{pod['metadata']['name']}"
        for pod in listed
        if (pod.get("spec") or {}).get("runtimeClassName") in every and not _finished(pod)
    )
    begun = [name for name in named if PART in begun_rolls(nodes.get(name, {}).get("annotations", {}))]
    done = [name for name in named if not jobs and _has(nodes.get(name, {}).get("labels", {}), kata["done_label"])]
    orphaned = sorted(set(done) - set(installers) - set(begun))
    ordered = sorted(
        {*installers, *begun}, key=lambda name: (_CONTROL_PLANE in nodes.get(name, {}).get("labels", {}), name)
    )
    absent = {"until": {"absent": True}}
    return {
        "refusals": _refusals(users, ordered, named, orphaned),
        "nodes": ordered,
        "pods": {name: sorted(installers.get(name, ())) for name in ordered},
        "marked": sorted(name for name, node in nodes.items() if name in named and RUNTIME in node["labels"]),
        "waits": [
            {
                "api_version": "apps/v1",
                "kind": "DaemonSet",
                "namespace": namespace,
                "name": kata["daemonset"],
                **absent,
            },
            *(
                {"api_version": "node.k8s.io/v1", "kind": "RuntimeClass", "name": name, **absent}
                for name in sorted(every)
            ),
        ],
    }


def _refusals(
    users: list[str], nodes: list[str], named: Mapping[str, Mapping[str, Any]], orphaned: list[str]
) -> list[str]:
    found = []
    if orphaned:
        found.append(
            f"{_some(orphaned)} {'has' if len(orphaned) == 1 else 'have'} the runtime and no installer that could take it off. Fix:"
            " finish the installation first (run the playbook cluster), or clean these nodes by hand and remove their label."
        )
    if users:
        found.append(
            f"These pods use a RuntimeClass of kata-deploy: {_some(users)}. They could not start again. Fix: delete what"
            " creates them, then run again."
        )
    foreign = [name for name in nodes if name not in named]
    if foreign:
        found.append(
            f"kata-deploy runs on {_some(foreign)} too, which the inventory does not name, and would be removed there."
            " Fix: name these nodes in kata_nodes."
        )
    unagreed = [name for name in nodes if name in named and not named[name].get("maintenance_ok")]
    if unagreed:
        found.append(
            f"containerd restarts on {_some(unagreed)} when kata-deploy is removed, each of which is drained for that, and nobody"
            " has agreed to it. Fix: set katagpu_reboot_ok to true for them."
        )
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Not by comparing items: Ansible hands mappings over whose items are no sets."""
    return all(labels.get(key) == value for key, value in wanted.items())


def _finished(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _space(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"].get("namespace") or "")


def _labels(pod: Mapping[str, Any]) -> Mapping[str, str]:
    return pod["metadata"].get("labels") or {}


def _node(pod: Mapping[str, Any]) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")
