# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller has made, without what differs between any two runs; and the difference of two such traces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = dict[str, Any]
# Fields in which the facts speak of a part only, so that ours may say less.
PARTIAL = ("env", "command")


def _images(pod: Object) -> dict[str, str]:
    return {one["name"]: one["image"] for one in _containers(pod)}


def _containers(pod: Object) -> list[Object]:
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def _environment(container: Object) -> dict[str, str]:
    """Variables with a value of their own."""
    return {one["name"]: one.get("value", "") for one in container.get("env") or [] if "valueFrom" not in one}


def _hooks(pod: Object) -> dict[str, list[str]]:
    found = {}
    for one in pod["containers"]:
        hook = ((one.get("lifecycle") or {}).get("preStop") or {}).get("exec")
        if hook:
            found[one["name"]] = hook["command"]
    return found


def daemonset(item: Object) -> Object:
    """A DaemonSet in the words of the fact tables, with its images, variables and commands."""
    spec = item["spec"]
    pod = spec["template"]["spec"]
    return {
        "labels": item["metadata"].get("labels") or {},
        "selector": spec["selector"]["matchLabels"],
        "pod_labels": spec["template"]["metadata"].get("labels") or {},
        "node_selector": pod.get("nodeSelector") or {},
        "init_containers": [one["name"] for one in pod.get("initContainers") or []],
        "containers": [one["name"] for one in pod["containers"]],
        "tolerations": [{key: value for key, value in one.items() if value} for one in pod.get("tolerations") or []],
        "update_strategy": (spec.get("updateStrategy") or {}).get("type", "RollingUpdate"),
        "host_pid": bool(pod.get("hostPID")),
        "host_network": bool(pod.get("hostNetwork")),
        "priority_class": pod.get("priorityClassName"),
        "runtime_class": pod.get("runtimeClassName"),
        "service_account": pod.get("serviceAccountName"),
        "grace_seconds": pod.get("terminationGracePeriodSeconds", 30),
        "pre_stop": _hooks(pod),
        "images": _images(pod),
        "env": {one["name"]: _environment(one) for one in _containers(pod)},
        "command": {
            one["name"]: {key: one[key] for key in ("command", "args") if one.get(key)} for one in _containers(pod)
        },
        "owned": _owner(item),
    }


def _owner(item: Object) -> str:
    """Kind of the owner."""
    owners = item["metadata"].get("ownerReferences") or []
    return ", ".join(sorted(one["kind"] for one in owners))


def runtime_class(item: Object) -> Object:
    return {
        "handler": item["handler"],
        "labels": item["metadata"].get("labels") or {},
        "node_selector": (item.get("scheduling") or {}).get("nodeSelector") or {},
        "overhead": (item.get("overhead") or {}).get("podFixed") or {},
        "owned": _owner(item),
    }


def policy(item: Object) -> Object:
    """Status of a ClusterPolicy without its times."""
    status = item.get("status") or {}
    conditions = {
        one["type"]: {"status": one["status"], "reason": one["reason"], "message": one.get("message", "")}
        for one in status.get("conditions") or []
    }
    extra = sorted(set(status) - {"state", "namespace", "conditions"})
    return {
        "state": status.get("state"),
        "namespace": status.get("namespace"),
        "conditions": conditions,
        **({"other_fields": extra} if extra else {}),
    }


def trace(
    daemonsets: Iterable[Object], nodes: Iterable[Object], classes: Iterable[Object], policies: Iterable[Object]
) -> Object:
    """All of it by name. Of the node labels only NVIDIA's, because others are NFD's and the kubelet's."""
    return {
        "DaemonSet": {one["metadata"]["name"]: daemonset(one) for one in daemonsets},
        "Node": {
            one["metadata"]["name"]: {
                key: value
                for key, value in (one["metadata"].get("labels") or {}).items()
                if key.partition("/")[0].endswith("nvidia.com")
            }
            for one in nodes
        },
        "RuntimeClass": {one["metadata"]["name"]: runtime_class(one) for one in classes},
        "ClusterPolicy": {one["metadata"]["name"]: policy(one) for one in policies},
    }


def differences(ours: Any, theirs: Any, where: tuple[str, ...] = ()) -> Iterator[str]:
    """Sentences, each with the path of what differs. Where the facts speak of a part, only what ours says is compared."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        partial = any(word in PARTIAL for word in where)
        for key in sorted({*ours, *theirs}):
            path = (*where, str(key))
            if key not in theirs:
                yield f"{' '.join(path)}: only ours has it, {_short(ours[key])}"
            elif key in ours:
                yield from differences(ours[key], theirs[key], path)
            elif not partial:
                yield f"{' '.join(path)}: only upstream has it, {_short(theirs[key])}"
    elif ours != theirs:
        yield f"{' '.join(where)}: ours {_short(ours)}, upstream's {_short(theirs)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def against_facts(facts: Mapping[str, Object], traced: Mapping[str, Object]) -> Iterator[str]:
    """DaemonSets of a fact table against a trace, in the fields that each row has."""
    for name, fact in facts.items():
        if name not in traced:
            yield f"DaemonSet {name}: the controller made none"
            continue
        for key in sorted(set(fact) & set(traced[name])):
            given = fact[key]
            if key == "tolerations":
                given = [{word: value for word, value in one.items() if value} for one in given]
            if given != traced[name][key]:
                yield f"DaemonSet {name} {key}: fact {_short(given)}, upstream's {_short(traced[name][key])}"
