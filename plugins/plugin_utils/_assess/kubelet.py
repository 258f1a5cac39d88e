# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the kubelet gives the runtime what the release needs, and whether it has read its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet.facts import CONFIGS, RANCHER
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.ranges import minor
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._confidential import NONE as NO_VARIANT
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, INFO, WARN, WILL_BE_FIXED_BY
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import meaning
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.arguments import GATES
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.decide import (
    NONE,
    ROOT_DIR,
    Conflict,
    Decision,
    decide,
)

PHASE = "kubelet"
TIMEOUT = "runtimeRequestTimeout"
NOTHING = "no configuration of a kubelet was found on this host."
BY = f"{PHASE} and a drained restart"


def assess(view: HostView) -> Answer:
    answer = Answer()
    if not view.release.get(PHASE) and not view.desired.kubelet_config:
        return answer
    needed = needs(view, answer)
    wanted = meaning.over(needed, view.desired.kubelet_config)
    wrong = meaning.problems(wanted)
    if wrong:
        raise KatagpuError(f"kubelet_config cannot be merged: {'; '.join(wrong)}.")
    try:
        decision = decide(view.part(PHASE), wanted)
    except KatagpuError as error:
        answer.findings.append(
            view.finding(
                "kubelet_config",
                BLOCK,
                str(error).partition(" Fix: ")[0].replace(" Nothing was changed.", ""),
                consequence="The kubelet may not start with it, and it cannot be changed safely.",
                fix=str(error).partition(" Fix: ")[2] or "correct the file.",
            )
        )
        return answer
    if decision.distribution == NONE:
        _nothing_found(view, answer)
        return answer
    _distribution(view, answer, decision)
    if not decision.supported:
        return answer
    _conflicts(view, answer, decision)
    _announce(view, answer, decision)
    if decision.write:
        refused = {conflict.path for conflict in decision.conflicts}
        possible = meaning.tree([(path, value) for path, value in meaning.leaves(wanted) if path not in refused])
        answer.plan = {"config": possible}
    if decision.restart_required:
        answer.restart = {
            "unit": decision.unit,
            "reasons": [_reason(decision)],
            "backup": str(decision.pending.get("backup") or ""),
            "takes_api": decision.unit in ("k3s.service", "rke2-server.service"),
        }
    if decision.kubeadm:
        answer.kept = {"kubeadm": needed}
    return answer


def needs(view: HostView, answer: Answer | None = None) -> dict[str, Any]:
    """What the release needs of the kubelet of this host."""
    data: Mapping[str, Any] = view.release.get(PHASE) or {}
    found: dict[str, Any] = {}
    if data.get("runtime_request_timeout"):
        found[TIMEOUT] = str(data["runtime_request_timeout"])
    version = str((view.cluster_node or {}).get("kubelet") or "")
    gates = {}
    for gate in data.get("feature_gates") or []:
        if gate.get("confidential") and view.desired.confidential == NO_VARIANT:
            continue
        wanted, problem = _gate(gate, version)
        if wanted:
            gates[str(gate["name"])] = True
        elif problem and answer is not None:
            answer.findings.append(_gate_finding(view, gate, version, problem))
    return {**found, **({GATES: gates} if gates else {})}


def _gate(gate: Mapping[str, Any], version: str) -> tuple[bool, str]:
    """A gate that the kubelet does not know keeps it from starting, so it is set only where its version is known."""
    low, high = gate.get("from"), gate.get("below")
    if not low and not high:
        return True, ""
    found = minor(version)
    if found is None:
        return False, "unknown"
    if high and found >= (minor(str(high)) or found):
        return False, ""
    if low and found < (minor(str(low)) or found):
        return False, "old"
    return True, ""


def _gate_finding(view: HostView, gate: Mapping[str, Any], version: str, problem: str) -> Any:
    name = gate["name"]
    if problem == "unknown":
        return view.finding(
            "kubelet_version",
            WARN,
            f"the version of the kubelet is not known, so it is not known whether it needs the feature gate {name}.",
            consequence="The gate is not set; a kubelet that does not know a gate does not start.",
            fix="join the host to the cluster and correct katagpu_node_name.",
            evidence=("Node .status.nodeInfo.kubeletVersion",),
        )
    return view.finding(
        "D03",
        BLOCK,
        f"the kubelet is {version} and has no feature gate {name}, which exists from {gate['from']} on.",
        consequence="The runtime cannot ask for the devices of a pod, and pods with GPUs do not start.",
        fix=f"upgrade Kubernetes on this node to {gate['from']} or newer.",
        evidence=("Node .status.nodeInfo.kubeletVersion",),
    )


def _nothing_found(view: HostView, answer: Answer) -> None:
    answer.findings.append(
        view.finding(
            "kubelet_config",
            WARN,
            NOTHING,
            consequence="What the release needs of the kubelet can be neither set nor checked.",
            fix="join the host to the cluster, or set runtimeRequestTimeout and the feature gates by the host's own means.",
            evidence=(*CONFIGS, *RANCHER, "--config of the running kubelet"),
        )
    )


def _distribution(view: HostView, answer: Answer, decision: Decision) -> None:
    if not decision.supported:
        answer.findings.append(
            view.finding(
                "kubelet_distribution",
                BLOCK,
                f"this host runs {decision.distribution}, whose kubelet this collection does not configure.",
                consequence="What the release needs of the kubelet can be neither set nor checked.",
                fix=f"set it by the means of {decision.distribution} and accept this finding with a reason.",
                evidence=(decision.unit or decision.root_dir,),
                acceptable=True,
            )
        )
    if decision.root_dir.rstrip("/") != ROOT_DIR:
        answer.findings.append(
            view.finding(
                "D04",
                BLOCK,
                f"the kubelet keeps its files in {decision.root_dir} and not in {ROOT_DIR}.",
                consequence="The runtime looks for the socket of the device allocation there, does not find it, and starts pods "
                "without their GPU and without an error.",
                fix=f"name {decision.root_dir.rstrip('/')}/pod-resources/kubelet.sock as pod_resource_api_sock in the "
                "configuration of the Kata runtime, and accept this finding with a reason.",
                evidence=("--root-dir of the kubelet",),
                acceptable=True,
            )
        )


def _conflicts(view: HostView, answer: Answer, decision: Decision) -> None:
    for conflict in decision.conflicts:
        id, severity, consequence = _about(conflict.path)
        answer.findings.append(
            view.finding(
                id,
                severity,
                f"{_name(conflict)} is {conflict.current!r} in {conflict.source}, which has the last word.",
                consequence=consequence,
                fix="change it there; this collection writes no file of others for it.",
                evidence=(conflict.source,),
            )
        )


def _announce(view: HostView, answer: Answer, decision: Decision) -> None:
    for change in decision.changes:
        id, severity, consequence = _about(tuple(change.key.split(".")))
        current = "not set" if change.before is None else repr(change.before)
        answer.findings.append(
            view.finding(
                id,
                severity,
                f"{change.key} of the kubelet is {current}, {change.after!r} is needed.",
                consequence=consequence,
                state=WILL_BE_FIXED_BY,
                by=BY,
                evidence=(decision.path,),
            )
        )
    if decision.pending and not decision.write:
        answer.findings.append(
            view.finding(
                "kubelet_restart",
                INFO,
                f"the kubelet runs since before {decision.pending.get('path')} was written.",
                state=WILL_BE_FIXED_BY,
                by="a drained restart",
                evidence=(decision.unit,),
            )
        )


def _about(path: meaning.Path) -> tuple[str, str, str]:
    if path[0] == GATES:
        return "D03", BLOCK, "The runtime does not get from the kubelet what it asks for, and pods do not start."
    if path == (TIMEOUT,):
        return "D13", WARN, "A virtual machine that boots and pulls its image for longer is ended by the kubelet."
    return "kubelet_config", WARN, ""


def _name(conflict: Conflict) -> str:
    return ".".join(conflict.path)


def _reason(decision: Decision) -> str:
    return f"the kubelet has not read {decision.write.path if decision.write else decision.pending.get('path')}"
