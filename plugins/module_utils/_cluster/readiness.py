# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an object counts as ready, and what is missing while it does not."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

# What the DaemonSet controller compares to tell which pods are of the present template.
TEMPLATE_ANNOTATION = "deprecated.daemonset.template.generation"
TEMPLATE_LABEL = "pod-template-generation"

CC_FINALIZER = "runtimeconfig.confidentialcontainers.org/finalizer"

Object = Mapping[str, Any]
Until = Mapping[str, Any]


class Verdict(NamedTuple):
    ready: bool
    reason: str
    # Set when no waiting can help any more.
    hopeless: bool = False


def judge(kind: str, found: Optional[Object], until: Until) -> Verdict:
    """C(found) is nothing where the object does not exist."""
    if until.get("absent"):
        return Verdict(found is None, "is gone" if found is None else _lingering(found))
    if found is None:
        return Verdict(False, "does not exist")
    if "deletionTimestamp" in _metadata(found):
        return Verdict(False, _lingering(found))
    missing = _common(found, until)
    if missing:
        return Verdict(False, "; ".join(missing))
    return _BY_KIND.get(kind, _exists)(found, until)


def known_until(kind: str) -> List[str]:
    return sorted(["absent", "labels", "conditions", *_UNTIL.get(kind, ())])


def _metadata(found: Object) -> Dict[str, Any]:
    return dict(found.get("metadata") or {})


def _status(found: Object) -> Dict[str, Any]:
    return dict(found.get("status") or {})


def _lingering(found: Object) -> str:
    metadata = _metadata(found)
    finalizers = ", ".join(metadata.get("finalizers") or []) or "none"
    if "deletionTimestamp" in metadata:
        return f"is being deleted since {metadata['deletionTimestamp']}, finalizers: {finalizers}"
    return f"still exists, finalizers: {finalizers}"


def _common(found: Object, until: Until) -> List[str]:
    missing = []
    labels = _metadata(found).get("labels") or {}
    for key, value in (until.get("labels") or {}).items():
        if labels.get(key) != value:
            missing.append(f"label {key} is {labels.get(key)!r}, wanted {value!r}")
    conditions = conditions_of(found)
    for kind, status in (until.get("conditions") or {}).items():
        condition = conditions.get(kind) or {}
        if condition.get("status") != status:
            missing.append(f"condition {kind} is {describe(condition)}, wanted {status}")
    return missing


def conditions_of(found: Object) -> Dict[str, Dict[str, Any]]:
    return {str(item.get("type")): dict(item) for item in _status(found).get("conditions") or []}


def describe(condition: Mapping[str, Any]) -> str:
    if not condition:
        return "not set"
    words = [str(condition.get("status"))]
    if condition.get("reason"):
        words.append(str(condition["reason"]))
    if condition.get("message"):
        words.append(str(condition["message"]))
    return " ".join(words)


def _observed(found: Object) -> bool:
    return int(_status(found).get("observedGeneration") or 0) >= int(_metadata(found).get("generation") or 0)


def _exists(found: Object, until: Until) -> Verdict:
    return Verdict(True, "exists")


def _deployment(found: Object, until: Until) -> Verdict:
    status = _status(found)
    replicas = (found.get("spec") or {}).get("replicas")
    wanted = 1 if replicas is None else int(replicas)
    counts = {name: int(status.get(name) or 0) for name in ("updatedReplicas", "availableReplicas", "replicas")}
    text = f"{counts['availableReplicas']} of {wanted} replicas available, {counts['updatedReplicas']} updated"
    if not _observed(found):
        return Verdict(False, f"the controller has not seen the last change; {text}")
    ready = wanted >= 1 and counts["updatedReplicas"] == counts["availableReplicas"] == counts["replicas"] == wanted
    return Verdict(ready, text)


def _daemonset(found: Object, until: Until) -> Verdict:
    status = _status(found)
    nodes = until.get("nodes")
    wanted = len(nodes) if nodes is not None else until.get("min_ready")
    desired = int(status.get("desiredNumberScheduled") or 0)
    updated = int(status.get("updatedNumberScheduled") or 0)
    available = int(status.get("numberAvailable") or 0)
    text = f"desired {desired}, updated {updated}, available {available}"
    if not _observed(found):
        return Verdict(False, f"the controller has not seen the last change; {text}")
    # A DaemonSet that no node matches has nothing to be ready: zero of zero is not success.
    if nodes is not None and desired < len(nodes):
        return Verdict(False, f"{text}; it is wanted on {len(nodes)} nodes ({', '.join(sorted(nodes))})")
    minimum = 1 if wanted is None else int(wanted)
    if desired < minimum:
        return Verdict(False, f"{text}; at least {minimum} wanted")
    return Verdict(updated == available == desired, text)


def ask_for_pods(kind: str, found: Optional[Object], until: Until) -> Optional[str]:
    """The label selector of the pods that decide where nodes are named, else nothing.

    The counts include labelled nodes that nobody waits for: one of them that is down would hold up all others, and one that
    is well would stand for a node that has no pod yet. Fewer pods available than nodes waited for needs no look at them,
    which keeps large fleets from being listed at every change.
    """
    nodes = until.get("nodes")
    if kind != "DaemonSet" or not nodes or found is None or until.get("absent"):
        return None
    if not _observed(found) or int(_status(found).get("numberAvailable") or 0) < len(nodes):
        return None
    labels = (((found.get("spec") or {}).get("selector") or {}).get("matchLabels")) or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or None


def judge_by_pods(found: Object, until: Until, pods: List[Object]) -> Verdict:
    """A DaemonSet by its pods on the nodes that are waited for."""
    uid = _metadata(found).get("uid")
    generation = (_metadata(found).get("annotations") or {}).get(TEMPLATE_ANNOTATION)
    good = set()
    for pod in pods:
        metadata = _metadata(pod)
        owners = [owner.get("uid") for owner in metadata.get("ownerReferences") or []]
        current = (metadata.get("labels") or {}).get(TEMPLATE_LABEL)
        ready = (conditions_of(pod).get("Ready") or {}).get("status") == "True"
        # Without both marks it cannot be said whether a pod is of the present template.
        if ready and uid in owners and "deletionTimestamp" not in metadata and current and current == generation:
            good.add(str((pod.get("spec") or {}).get("nodeName")))
    missing = sorted(set(until["nodes"]) - good)
    if missing:
        return Verdict(False, f"no ready, current pod on {', '.join(missing)}")
    return Verdict(True, f"ready on the {len(until['nodes'])} nodes waited for")


def _node(found: Object, until: Until) -> Verdict:
    status = _status(found)
    info = status.get("nodeInfo") or {}
    condition = conditions_of(found).get("Ready") or {}
    missing = []
    boot_id = str(info.get("bootID", ""))
    if until.get("boot_id") and boot_id.lower() != str(until["boot_id"]).lower():
        missing.append(f"bootID is {boot_id}, wanted {until['boot_id']}")
    if until.get("not_boot_id") and boot_id.lower() == str(until["not_boot_id"]).lower():
        missing.append(f"bootID is still {boot_id}")
    if until.get("ready", True) and condition.get("status") != "True":
        missing.append(f"Ready is {describe(condition)}")
    after = until.get("heartbeat_after")
    if after and str(condition.get("lastHeartbeatTime", "")) <= str(after):
        missing.append(f"the last heartbeat is of {condition.get('lastHeartbeatTime')}, wanted after {after}")
    runtime = until.get("container_runtime")
    if runtime and info.get("containerRuntimeVersion") != runtime:
        missing.append(f"the container runtime is {info.get('containerRuntimeVersion')}, wanted {runtime}")
    allocatable = status.get("allocatable") or {}
    for name, amount in (until.get("allocatable") or {}).items():
        if str(allocatable.get(name, "0")) != str(amount):
            missing.append(f"{allocatable.get(name, 0)} {name} allocatable, wanted {amount}")
    if until.get("allocatable_gpus") is not None:
        amounts = passthrough_gpus(allocatable)
        total = sum(amounts.values())
        if total < int(until["allocatable_gpus"]):
            listed = ", ".join(f"{name}={value}" for name, value in sorted(amounts.items())) or "none"
            missing.append(f"{total} passthrough GPUs allocatable ({listed}), wanted {until['allocatable_gpus']}")
    return Verdict(not missing, "; ".join(missing) or f"Ready, bootID {boot_id}")


def passthrough_gpus(allocatable: Mapping[str, Any]) -> Dict[str, int]:
    """Resources of the sandbox device plugins: those of C(nvidia.com/) that no ordinary plugin advertises."""
    amounts = {}
    for name, amount in allocatable.items():
        plain = name == "nvidia.com/gpu" or name.startswith("nvidia.com/mig-") or name == "nvidia.com/nvswitch"
        if name.startswith("nvidia.com/") and not plain and str(amount).isdigit() and int(amount) > 0:
            amounts[name] = int(amount)
    return amounts


def _cc_runtime(found: Object, until: Until) -> Verdict:
    status = _status(found)
    install = status.get("installationStatus") or {}
    completed = int((install.get("completed") or {}).get("completedNodesCount") or 0)
    failed = int((install.get("failed") or {}).get("failedNodesCount") or 0)
    total = int(status.get("totalNodesCount") or 0)
    minimum = int(until.get("completed", 1))
    text = f"{completed} of {total} nodes completed, {failed} failed"
    nodes = until.get("nodes")
    if nodes is not None:
        missing = sorted(set(nodes) - set((install.get("completed") or {}).get("completedNodesList") or []))
        if missing:
            return Verdict(False, f"{text}; not completed on {', '.join(missing)}")
        if completed != total:
            # The operator adds its finalizer after all nodes, so it cannot be asked for while another node is not done.
            return Verdict(True, f"{text}; completed on the {len(nodes)} nodes waited for")
    if total < minimum:
        return Verdict(False, f"{text}; at least {minimum} nodes wanted (does the node selector match them?)")
    if completed != total:
        return Verdict(False, text)
    finalizer = until.get("finalizer", CC_FINALIZER)
    if finalizer and finalizer not in (_metadata(found).get("finalizers") or []):
        return Verdict(False, f"{text}; the operator has not added its finalizer yet")
    return Verdict(True, text)


def _cluster_policy(found: Object, until: Until) -> Verdict:
    status = _status(found)
    conditions = conditions_of(found)
    ready = conditions.get("Ready") or {}
    text = f"state {status.get('state') or 'not set'}, Ready is {describe(ready)}"
    error = conditions.get("Error") or {}
    if error.get("status") == "True":
        text += f", Error is {describe(error)}"
    # Ready is also set with reasons that mean "nothing to do": only Reconciled means that operands exist.
    good = status.get("state") == "ready" and ready.get("status") == "True" and ready.get("reason") == "Reconciled"
    return Verdict(good, text)


def _crd(found: Object, until: Until) -> Verdict:
    conditions = conditions_of(found)
    good = all((conditions.get(kind) or {}).get("status") == "True" for kind in ("NamesAccepted", "Established"))
    return Verdict(good, f"Established is {describe(conditions.get('Established') or {})}")


def _pod(found: Object, until: Until) -> Verdict:
    status = _status(found)
    phase = str(status.get("phase", "Unknown"))
    wanted = until.get("phase")
    waiting = container_states(found)
    text = f"phase {phase}" + (f" ({'; '.join(waiting)})" if waiting else "")
    if wanted:
        return Verdict(phase == wanted, text, hopeless=phase in ("Succeeded", "Failed") and phase != wanted)
    ready = (conditions_of(found).get("Ready") or {}).get("status") == "True"
    return Verdict(ready, text, hopeless=not ready and phase in ("Succeeded", "Failed"))


def _job(found: Object, until: Until) -> Verdict:
    conditions = conditions_of(found)
    failed = conditions.get("Failed") or {}
    if failed.get("status") == "True":
        return Verdict(False, f"failed: {describe(failed)}", hopeless=True)
    complete = conditions.get("Complete") or {}
    return Verdict(complete.get("status") == "True", f"Complete is {describe(complete)}")


def container_states(pod: Object) -> List[str]:
    """What every container that is not simply running waits for or ended with."""
    lines = []
    status = _status(pod)
    for item in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = item.get("state") or {}
        for word in ("waiting", "terminated"):
            detail = state.get(word)
            if not detail or detail.get("reason") == "Completed":
                continue
            text = f"container {item.get('name')} {word}: {detail.get('reason', '')}"
            if detail.get("message"):
                text += f" {detail['message']}"
            if word == "terminated" and detail.get("exitCode") is not None:
                text += f" (exit code {detail['exitCode']})"
            lines.append(text)
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            lines.append(f"not scheduled: {condition.get('message', '')}")
    return lines


_BY_KIND: Dict[str, Callable[[Object, Until], Verdict]] = {
    "Deployment": _deployment,
    "DaemonSet": _daemonset,
    "Node": _node,
    "CcRuntime": _cc_runtime,
    "ClusterPolicy": _cluster_policy,
    "CustomResourceDefinition": _crd,
    "Pod": _pod,
    "Job": _job,
}

_UNTIL: Dict[str, List[str]] = {
    "DaemonSet": ["nodes", "min_ready"],
    "Node": [
        "boot_id",
        "not_boot_id",
        "ready",
        "heartbeat_after",
        "allocatable",
        "allocatable_gpus",
        "container_runtime",
    ],
    "CcRuntime": ["completed", "finalizer", "nodes"],
    "Pod": ["phase"],
}
