# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Node object: plain data from facts, configuration and state."""

from __future__ import annotations

import zlib

from .behaviour import Json
from .config import Config, Facts
from .lifecycle import stamp


def pod_ip(node: str, number: int) -> str:
    """A made-up address that no other pod of the lab has: one /24 per node, as kubeadm's examples use it."""
    return f"10.244.{zlib.crc32(node.encode()) % 250 + 1}.{number % 250 + 2}"


def new_node(config: Config, facts: Facts) -> Json:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": config.node, "labels": labels(config, facts)}}


def labels(config: Config, facts: Facts) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": config.node,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": facts.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": facts.architecture,
    }


def publishes_handlers(runtime_version: str) -> bool:
    """containerd tells the kubelet its handlers from 2.0 on; Nodes with older ones have no status.runtimeHandlers."""
    major = runtime_version.rpartition("//")[2].partition(".")[0]
    return major.isdigit() and int(major) >= 2


def node_status(
    config: Config,
    facts: Facts,
    runtime_version: str,
    handlers: set[str],
    resources: dict[str, str],
    down: str,
) -> Json:
    """Status without times (see `with_times`). `down` says why the node is not ready."""
    ready: Json = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    ready["message"] = "kubelet is posting ready status"
    if down:
        ready.update(status="False", reason="KubeletNotReady", message=down)
    conditions = [
        {"type": "MemoryPressure", "status": "False", "reason": "KubeletHasSufficientMemory"},
        {"type": "DiskPressure", "status": "False", "reason": "KubeletHasNoDiskPressure"},
        {"type": "PIDPressure", "status": "False", "reason": "KubeletHasSufficientPID"},
        ready,
    ]
    amounts = {**config.capacity, **resources}
    status: Json = {
        "capacity": amounts,
        "allocatable": dict(amounts),
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": config.address},
            {"type": "Hostname", "address": config.node},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "nodeInfo": {
            "machineID": facts.machine_id,
            "systemUUID": facts.machine_id,
            "bootID": facts.boot_id,
            "kernelVersion": facts.kernel,
            "osImage": facts.os_image,
            "containerRuntimeVersion": runtime_version,
            "kubeletVersion": config.kubelet_version,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": facts.architecture,
        },
    }
    if publishes_handlers(runtime_version):
        status["runtimeHandlers"] = [{"name": name} for name in ("", "runc", *sorted(handlers - {"runc"}))]
    else:
        status["runtimeHandlers"] = None
    return status


def with_times(status: Json, transitions: dict[str, tuple[str, str]], now: float) -> Json:
    """Adds heartbeat and transition times; `transitions` remembers (status, since) per condition and is updated."""
    conditions = []
    for item in status["conditions"]:
        value, since = transitions.get(item["type"], ("", ""))
        if value != item["status"]:
            since = stamp(now)
            transitions[item["type"]] = (item["status"], since)
        conditions.append({**item, "lastHeartbeatTime": stamp(now), "lastTransitionTime": since})
    return {**status, "conditions": conditions}
