# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drained reboot: who cordoned a node, and what would keep it from being drained and rebooted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.readiness import passthrough_gpus
from ansible_collections.katagpu.cluster.plugins.plugin_utils._manifests import undrained_pods

ANNOTATION = "katagpu.io/maintenance"
LAST = "katagpu.io/last-maintenance"
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"

REBOOT = "reboot"

Object = Mapping[str, Any]


def maintenance_mark(node: Object) -> dict[str, Any]:
    """What the annotation says; empty without one. A text that we did not write is not taken for ours."""
    found = _annotation(node, ANNOTATION)
    if not isinstance(found.get("cordoned_by_us"), bool):
        return {}
    lists = [found.get(key, []) for key in ("rolls", "reasons")]
    return (
        found if all(isinstance(each, list) and all(isinstance(name, str) for name in each) for each in lists) else {}
    )


def begun_rolls(annotations: Mapping[str, str]) -> list[str]:
    """The parts of the stack whose change was begun on the node and not finished."""
    return list(maintenance_mark({"metadata": {"annotations": annotations}}).get("rolls") or ())


def begun_maintenance(
    node: Object, boot_id: str, reasons: Iterable[str] = (), roll: str = "", begun: float = 0
) -> dict[str, Any]:
    """The mark that the node must carry before it is cordoned; C(reasons) are those of the reboot, C(roll) is the part of the
    stack that changes on the drained node, C(begun) the time of the controller in seconds.

    A mark on a cordoned node is that of an interrupted run, which knew who cordoned it. On a schedulable node it is
    stale: whoever uncordoned the node ended that maintenance, and it is we who cordon it now.
    """
    cordoned = _is_cordoned(node)
    mark = maintenance_mark(node)
    this_boot = {"boot_id": boot_id, "reasons": list(reasons)}
    rolls = {"rolls": sorted({*(mark.get("rolls") or ()), roll})} if roll else {}
    if mark and cordoned:
        # How long it took is not known of one that was interrupted.
        return {**{key: value for key, value in mark.items() if key != "begun"}, **this_boot, **rolls}
    return {
        **this_boot,
        **({"rolls": [roll]} if roll else {}),
        **({"begun": int(begun)} if begun else {}),
        "cordoned_by_us": not cordoned,
        "gpus": sum(passthrough_gpus((node.get("status") or {}).get("allocatable") or {}).values()),
        # By the node's own clock, so that the controller's does not matter.
        "heartbeat": str(_condition(node, "Ready").get("lastHeartbeatTime") or ""),
    }


def ended_maintenance(mark: Object, act: str, ended: float) -> dict[str, Any]:
    """What the node remembers of a maintenance that went through; nothing of one that was interrupted."""
    begun = mark.get("begun")
    if not isinstance(begun, int) or isinstance(begun, bool) or ended < begun:
        return {}
    return {"act": act, "seconds": int(ended) - begun, "ended": int(ended)}


def maintenance_preview(node: Object, pods: Iterable[Object] = ()) -> list[str]:
    """What somebody wants to know before he agrees: the pods that go, and how long it took last time."""
    names = sorted(undrained_pods(pods))
    lines = [f"These pods are evicted: {', '.join(names)}."] if names else ["No pod has to be evicted."]
    last = _annotation(node, LAST)
    seconds, act = last.get("seconds"), last.get("act")
    if isinstance(seconds, int) and not isinstance(seconds, bool) and isinstance(act, str):
        lines.append(f"The last maintenance of this node ({act}) took {seconds // 60} min {seconds % 60} s.")
    return lines


def drain_obstacles(
    node: Object,
    pods: Iterable[Object] = (),
    budgets: Iterable[Object] = (),
    control_planes: Iterable[Object] = (),
    force: bool = False,
    delete_emptydir_data: bool = False,
    host_machine_id: str = "",
    controller_machine_id: str = "",
    act: str = REBOOT,
    ends_api: bool = True,
    host_boot_id: str = "",
    reboot_reasons: Iterable[str] = (),
    cordoned_ok: bool = False,
    controller_boot_id: str = "",
) -> list[str]:
    """Why the node cannot be drained and rebooted, one text for each obstacle. An empty node is asked for its host only.

    Another C(act) than a reboot leaves the host running, and may leave an API server on it running (C(ends_api)).
    """
    obstacles = []
    # A container has a machine id of its own and the boot id of its host, clones of one image have the same machine id.
    here = _same(host_machine_id, controller_machine_id) or _same(host_boot_id, controller_boot_id)
    if act == REBOOT and here:
        obstacles.append(
            "Ansible runs on this very host, so the reboot would end the run. Fix: run the playbook from another machine."
        )
    reported = str(((node.get("status") or {}).get("nodeInfo") or {}).get("bootID") or "")
    if reported and host_boot_id and not _same(reported, host_boot_id):
        obstacles.append(
            f"the Node reports the boot {reported} and the host runs {host_boot_id}, so they are different machines, or the "
            "kubelet has not reported since the last boot. Fix: correct katagpu_node_name or ansible_host, or start the kubelet."
        )
    mark = maintenance_mark(node) if _is_cordoned(node) else {}
    if _is_cordoned(node) and not mark and not cordoned_ok:
        obstacles.append(
            "somebody else has cordoned it and may be working on it. "
            "Fix: uncordon it, or set node_maintenance_cordoned_ok to true to have it drained all the same."
        )
    again = [reason for reason in reboot_reasons if reason in (mark.get("reasons") or ())]
    if again and mark.get("boot_id") not in (None, "", host_boot_id):
        obstacles.append(
            f"it was rebooted for this before, which did not help: {'; '.join(again)}. "
            "Fix: find out why, and reboot it by hand or uncordon it to have it drained and rebooted once more."
        )
    if (
        ends_api
        and _is_control_plane(node)
        and not any(
            _is_ready(other) for other in control_planes if _is_control_plane(other) and _name(other) != _name(node)
        )
    ):
        obstacles.append(
            f"it is the only control-plane node that is Ready, so the {act} would take the API away. "
            f"Fix: add control-plane nodes, bring the others back, or make the {act} by hand."
        )
    unfinished = set(undrained_pods(listed := list(pods)))
    evicted = sorted((pod for pod in listed if _name(pod) in unfinished), key=_name)
    bare = [_name(pod) for pod in evicted if not pod["metadata"].get("ownerReferences")]
    if bare and not force:
        obstacles.append(
            f"nothing would create these pods again once they are evicted: {', '.join(bare)}. "
            "Fix: delete them, or set node_maintenance_force to true to lose them."
        )
    scratch = [_name(pod) for pod in evicted if _has_emptydir(pod)]
    if scratch and not delete_emptydir_data:
        obstacles.append(
            f"these pods would lose the data of their emptyDir volumes: {', '.join(scratch)}. "
            "Fix: set node_maintenance_delete_emptydir_data to true if that data may be lost."
        )
    return obstacles + _budget_obstacles(evicted, list(budgets))


def _budget_obstacles(pods: Sequence[Object], budgets: Sequence[Object]) -> list[str]:
    obstacles = []
    held: dict[str, list[str]] = {}
    for pod in pods:
        if _is_free(pod):
            continue
        matching = [budget for budget in budgets if _covers(budget, pod)]
        if len(matching) > 1:
            several = ", ".join(sorted(_name(budget) for budget in matching))
            obstacles.append(
                f"the disruption budgets {several} cover the pod {_name(pod)} at once, and the API evicts no such pod. "
                "Fix: leave it one budget."
            )
        elif matching and not _allows(matching[0], pod):
            held.setdefault(_name(matching[0]), []).append(_name(pod))
    for budget, names in sorted(held.items()):
        obstacles.append(
            f"the disruption budget {budget} allows no disruption now and covers {', '.join(names)}. "
            "Fix: make its other pods healthy, or scale them up."
        )
    return obstacles


def _is_free(pod: Object) -> bool:
    """Pods that the API evicts whatever the budgets say."""
    return bool(pod["metadata"].get("deletionTimestamp")) or (pod.get("status") or {}).get("phase") == "Pending"


def _allows(budget: Object, pod: Object) -> bool:
    status = budget.get("status") or {}
    if int(status.get("disruptionsAllowed") or 0) > 0:
        return True
    if _is_ready(pod):
        return False
    # A pod that is not ready counts for nothing in its budget, so it may go when the others are enough.
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    desired = int(status.get("desiredHealthy") or 0)
    return desired > 0 and int(status.get("currentHealthy") or 0) >= desired


def _covers(budget: Object, pod: Object) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    if budget["metadata"].get("namespace") != pod["metadata"].get("namespace") or selector is None:
        return False
    labels = pod["metadata"].get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _OPERATORS[term["operator"]](labels.get(term["key"]), term.get("values") or [])
        for term in selector.get("matchExpressions") or []
    )


_OPERATORS: Mapping[str, Callable[[Any, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
}


def _has_emptydir(pod: Object) -> bool:
    return any(volume.get("emptyDir") is not None for volume in (pod.get("spec") or {}).get("volumes") or [])


def _annotation(node: Object, key: str) -> dict[str, Any]:
    """Empty where somebody else has written something there."""
    try:
        found = json.loads(((node.get("metadata") or {}).get("annotations") or {}).get(key) or "null")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_control_plane(node: Object) -> bool:
    return _CONTROL_PLANE in ((node.get("metadata") or {}).get("labels") or {})


def _is_cordoned(node: Object) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def _is_ready(found: Object) -> bool:
    return bool(_condition(found, "Ready").get("status") == "True")


def _condition(found: Object, kind: str) -> Object:
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item.get("type") == kind), {})


def _same(one: str, other: str) -> bool:
    """Whether two ids are known and the same, however they are written."""
    plain = [text.replace("-", "").strip().lower() for text in (one, other)]
    return bool(plain[0]) and plain[0] == plain[1]


def _name(found: Object) -> str:
    metadata = found["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
