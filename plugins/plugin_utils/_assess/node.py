# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether host and Node are the same machine, and whether its container runtime can take a Kata runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomllib

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, WARN


def assess_identity(view: HostView) -> Answer:
    answer = Answer()
    node = view.cluster_node
    if not node:
        return answer
    machine = str(view.part("platform").get("machine_id") or "").replace("-", "").lower()
    theirs = str(node.get("machine_id") or "").replace("-", "").lower()
    if machine and theirs and machine != theirs:
        answer.findings.append(
            view.finding(
                "node_identity",
                BLOCK,
                f"this host has machine id {machine}, the Node {view.node} has {theirs}.",
                consequence="Host and Node are different machines: another node would be drained than is rebooted.",
                fix="correct katagpu_node_name or ansible_host of this host.",
                evidence=("/etc/machine-id", "Node .status.nodeInfo.machineID"),
            )
        )
        return answer
    boot = str(view.part("platform").get("boot_id") or "").lower()
    reported = str(node.get("boot_id") or "").lower()
    if boot and reported and boot != reported:
        answer.findings.append(
            view.finding(
                "F08",
                WARN,
                f"the Node {view.node} still reports the boot {reported}, the host runs {boot}.",
                consequence="The kubelet has not reported since the last boot, so what the Node says is old.",
                fix="look whether the kubelet runs.",
                evidence=("/proc/sys/kernel/random/boot_id", "Node .status.nodeInfo.bootID"),
            )
        )
    return answer


def assess_containerd(view: HostView) -> Answer:
    answer = Answer()
    for path, text in (view.part("containerd").get("configs") or {}).items():
        if text is None:
            answer.findings.append(
                view.finding(
                    "D10",
                    WARN,
                    f"{path} is too large to be judged.",
                    consequence="Whether containerd starts with it and serves the kubelet is not known.",
                    fix="look at it with containerd config dump.",
                    evidence=(path,),
                )
            )
            continue
        try:
            config = tomllib.loads(text)
            disabled = _names(config, "disabled_plugins")
        except (ValueError, RecursionError) as error:
            answer.findings.append(
                view.finding(
                    "D10",
                    BLOCK,
                    f"{path} is not a valid configuration: {error}.",
                    consequence="The next restart of containerd fails, and installing the runtime restarts it.",
                    fix="correct the file.",
                    evidence=(path,),
                )
            )
            continue
        if any(name == "cri" or name.endswith(".cri") for name in disabled):
            answer.findings.append(
                view.finding(
                    "D10",
                    BLOCK,
                    f"{path} disables the CRI plugin (disabled_plugins: {', '.join(disabled)}).",
                    consequence="The kubelet cannot use containerd, and the node gets NotReady at its next restart.",
                    fix="write a complete configuration with containerd config default and keep your changes.",
                    evidence=(path,),
                )
            )
    return answer


def _names(config: Mapping[str, Any], key: str) -> list[str]:
    found = config.get(key, [])
    if not isinstance(found, list):
        raise ValueError(f"{key} is {found!r} and no list")
    return [str(name) for name in found]
