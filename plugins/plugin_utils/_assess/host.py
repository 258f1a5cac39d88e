# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of host phases, and the one assessment made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import (
    bios,
    cc_gpus,
    confidential,
    iommu,
    kubelet,
    node,
    platform,
    vfio,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.desired import parse
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.verify_host import checks_of
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView, refused
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding, accept

# A phase with a plan is named as the role that applies it.
PHASES: Mapping[str, Callable[[HostView], Answer]] = {
    "platform": platform.assess,
    "identity": node.assess_identity,
    "confidential": confidential.assess,
    "host_firmware": bios.assess,
    "host_iommu": iommu.assess,
    "host_vfio": vfio.assess,
    "cc_gpus": cc_gpus.assess,
    "kubelet": kubelet.assess,
    "containerd": node.assess_containerd,
}
_PLANNING = ("host_firmware", "host_iommu", "host_vfio", "kubelet")


def assess(
    facts: Mapping[str, Any],
    desired: Mapping[str, Any] | None,
    release: Mapping[str, Any],
    node_name: str,
    cluster_node: Mapping[str, Any] | None = None,
    accepted: Mapping[str, str] | None = None,
    verify: bool = False,
    bios_answer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The plain result of C(host_info)."""
    view = HostView(facts, parse(desired, release), release, node_name, cluster_node, bios_answer or {})
    answers = {name: _answer(phase, view) for name, phase in PHASES.items()}
    findings = accept([finding for answer in answers.values() for finding in answer.findings], accepted or {})
    blocked = any(finding.stops for finding in findings)
    reasons = [reason for answer in answers.values() for reason in answer.reboot_reasons]
    restart = answers["kubelet"].restart
    checks = checks_of(view) if verify else []
    shown = [finding.as_dict() for finding in findings]
    compact = _compact(view)
    summary = {
        "boot_id": compact["boot_id"],
        "blocked": blocked,
        "reboot_needed": bool(reasons),
        "reboot_reasons": reasons,
        "restart_needed": bool(restart),
        "restart": restart,
        "gpu_count": len(view.gpus),
        "messages": _messages(findings),
    }
    return {
        "node": node_name,
        "facts": compact,
        "plan": {name: answers[name].plan for name in _PLANNING},
        "findings": shown,
        "checks": checks,
        "summary": summary,
        "record": {
            "node": node_name,
            "role": "kata",
            "boot_id": compact["boot_id"],
            "machine_id": compact["machine_id"],
            "gpu_count": len(view.gpus),
            "gpus": compact["gpus"],
            "confidential": view.desired.confidential,
            "blocked": blocked,
            "reboot_needed": bool(reasons),
            "reboot_reasons": reasons,
            "restart_needed": bool(restart),
            "restart_reasons": restart.get("reasons", []),
            "kubelet": answers["kubelet"].kept,
            "findings": shown,
            "checks": checks,
        },
    }


def _answer(phase: Callable[[HostView], Answer], view: HostView) -> Answer:
    """What a planner refuses ends its phase only, so that the findings of the others are not lost."""
    try:
        return phase(view)
    except KatagpuError as error:
        return Answer(findings=[refused(view, error, "wish", BLOCK)])


def _messages(findings: list[Finding]) -> list[str]:
    return [finding.message() for finding in findings if finding.stops]


def _compact(view: HostView) -> dict[str, Any]:
    """What is worth keeping for each host of a large fleet."""
    platform_facts = view.part("platform")
    os_release = platform_facts.get("os_release") or {}
    return {
        "boot_id": platform_facts.get("boot_id"),
        "machine_id": platform_facts.get("machine_id"),
        "kernel": platform_facts.get("kernel"),
        "architecture": platform_facts.get("architecture"),
        "os": os_release.get("pretty_name") or os_release.get("id"),
        "virtualization": platform_facts.get("virtualization"),
        "iommu_active": view.iommu_active,
        "kernel_arguments": view.part("iommu").get("kernel_arguments"),
        "gpus": [
            {
                "address": gpu.address,
                "id": gpu.id,
                "class_code": gpu.class_code,
                "driver": gpu.driver,
                "iommu_group": gpu.iommu_group,
                "members": {
                    device.address: device.driver
                    for device in view.devices
                    if gpu.iommu_group is not None
                    and device.iommu_group == gpu.iommu_group
                    and device.address != gpu.address
                    and device.is_endpoint
                },
            }
            for gpu in view.gpus
        ],
        "kvm": bool(view.part("devices").get("/dev/kvm")),
        "vfio_nodes": list(view.part("devices").get("/dev/vfio") or []),
        "cdi": sorted(view.part("cdi")),
        "artifacts": dict(view.part("artifacts")),
    }
