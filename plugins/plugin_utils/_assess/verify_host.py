# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a provisioned host: evidence for the report."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens, wishes
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers, rules
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import cdi, confidential, kubelet
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._confidential import NONE
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, INFO, WILL_BE_FIXED_BY
from ansible_collections.katagpu.cluster.plugins.plugin_utils._owner import HOST

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"


def check(id: str, node: str, title: str, problems: Iterable[str], evidence: str, skip: str = "") -> dict[str, Any]:
    """A check without problems has passed; its evidence then says what was seen."""
    listed = list(problems)
    if skip and not listed:
        return {"id": id, "node": node, "title": title, "result": SKIPPED, "evidence": skip}
    result = FAILED if listed else PASSED
    return {"id": id, "node": node, "title": title, "result": result, "evidence": "; ".join(listed) or evidence}


def checks_of(view: HostView) -> list[dict[str, Any]]:
    checks = [_boot(view), _arguments(view), _groups(view), _bound(view), _nodes(view), _drivers(view), _cdi(view)]
    # Only the Kata manager of the legacy stack writes them.
    checks += [_artifacts(view)] if "artifacts" in view.release else []
    checks += [_persistent(view)] if view.desired.vfio_owner == HOST and view.desired.vfio_persistent else []
    checks += [_confidential(view)] if view.desired.confidential != NONE else []
    return checks + ([_kubelet(view)] if view.release.get("kubelet") else [])


def _accepted(view: HostView) -> list[str]:
    return list(view.release["vfio"]["accepted_drivers"])


def _boot(view: HostView) -> dict[str, Any]:
    boot = str(view.part("platform").get("boot_id") or "")
    reported = str((view.cluster_node or {}).get("boot_id") or "")
    problems = (
        [] if not reported or reported.lower() == boot.lower() else [f"the Node reports {reported}, the host {boot}"]
    )
    skip = "" if reported else "the Node was not read"
    return check("V1", view.node, "The Node reports the boot that runs", problems, f"boot id {boot}", skip)


def _arguments(view: HostView) -> dict[str, Any]:
    line = str(view.part("iommu").get("kernel_arguments") or "")
    present, absent = view.desired.kernel_arguments_present, view.desired.kernel_arguments_absent
    try:
        missing, unwanted = wishes.read(present, absent).problems(tokens.parse(line))
        problems = [*(f"{text} is missing" for text in missing), *(f"{text} is there" for text in unwanted)]
    except KatagpuError as error:
        problems = [str(error)]
    skip = "" if present or absent else "no kernel arguments were asked for"
    return check("V2", view.node, "The running kernel has the arguments asked for", problems, line, skip)


def _groups(view: HostView) -> dict[str, Any]:
    problems = [f"GPU {gpu.address} has no IOMMU group" for gpu in view.gpus if gpu.iommu_group not in view.real_groups]
    if not view.gpus:
        problems = ["there is no NVIDIA GPU"]
    evidence = ", ".join(f"{gpu.address} in group {gpu.iommu_group}" for gpu in view.gpus)
    return check("V3", view.node, "Every GPU has an IOMMU group", problems, evidence)


def _bound(view: HostView) -> dict[str, Any]:
    accepted = _accepted(view)
    groups = {gpu.iommu_group for gpu in view.gpus} - {None}
    problems = [
        f"GPU {gpu.address} is on {gpu.driver or 'no driver'}" for gpu in view.gpus if gpu.driver not in accepted
    ]
    members = [
        device
        for device in view.devices
        if device.iommu_group in groups and device.is_endpoint and not device.is_nvidia_gpu
    ]
    problems += [
        f"{device.address} of group {device.iommu_group} is on {device.driver}"
        for device in members
        if device.driver not in (None, "", "pci-stub", *accepted)
    ]
    shown = [*view.gpus, *members]
    problems += [
        f"driver_override of {device.address} is {device.driver_override}"
        for device in shown
        if not drivers.is_viable(device.driver_override)
    ]
    evidence = ", ".join(f"{device.address} on {device.driver or 'no driver'}" for device in shown)
    return check("V5", view.node, "Every GPU's IOMMU group is on VFIO as a whole", problems, evidence)


def _persistent(view: HostView) -> dict[str, Any]:
    """With the owner host nobody else would bind them after a boot."""
    lines = rules.parse((view.part("vfio").get("persistent_files") or {}).get(rules.RULES))
    problems = [
        f"{rules.RULES} has no line for {gpu.address} as it is now"
        for gpu in view.gpus
        if lines.get(gpu.address) != rules.line_for(gpu, rules.driver_of(lines.get(gpu.address, "")) or "")
    ]
    title = "The GPUs are bound at every boot"
    return check("vfio_owner", view.node, title, problems, f"{rules.RULES}: {', '.join(lines)}")


def _nodes(view: HostView) -> dict[str, Any]:
    devices = view.part("devices")
    present = [str(name) for name in devices.get("/dev/vfio") or []]
    # A kernel without CONFIG_VFIO_GROUP has no nodes of groups, and a release that passes single functions needs none.
    by_function = view.release["vfio"]["passes"] == "cdev" and devices.get("/dev/iommu")
    own = cdi.own_nodes(devices) if by_function else {}
    wanted = {gpu.address: str(gpu.iommu_group) for gpu in view.gpus if gpu.iommu_group is not None}
    left = sorted({group for address, group in wanted.items() if address not in own})
    problems = [f"/dev/vfio/{group} does not exist" for group in left if group not in present]
    evidence = ", ".join(
        [*(own[address] for address in sorted(wanted) if address in own), *(f"/dev/vfio/{group}" for group in left)]
    )
    return check(
        "V6", view.node, "The VFIO device nodes exist", problems, evidence, "" if wanted else "no IOMMU groups"
    )


def _drivers(view: HostView) -> dict[str, Any]:
    loaded = view.part("modules").get("loaded") or []
    competing = [name for name in dict.fromkeys(["nvidia", *view.desired.blacklist]) if name in loaded]
    problems = [f"{name} is loaded" for name in competing]
    names = ", ".join(dict.fromkeys(["nvidia", *view.desired.blacklist]))
    return check("V8", view.node, "No competing driver is loaded", problems, f"not loaded: {names}")


def _cdi(view: HostView) -> dict[str, Any]:
    kind = view.release["resource"]["cdi_kind"]
    specs = cdi.parse(view.part("cdi"))
    groups = {gpu.address: gpu.iommu_group for gpu in view.gpus if gpu.driver in _accepted(view)}
    nodes = [str(name) for name in view.part("devices").get("/dev/vfio") or []]
    problems = cdi.problems(specs, kind, groups, nodes, by_function=cdi.own_nodes(view.part("devices")))
    shown = [
        f"{kind}={device['name']} -> {', '.join(device['nodes'])}"
        for spec in specs
        if spec["kind"] == kind
        for device in spec["devices"]
    ]
    return check(
        "V14",
        view.node,
        "The CDI specification agrees with the bindings",
        problems,
        "; ".join(shown),
        "" if groups else "no GPU is on VFIO",
    )


def _kubelet(view: HostView) -> dict[str, Any]:
    """What is only a warning stays one; a host without a configuration to look at has nothing to check."""
    answer = kubelet.assess(view)
    problems = [
        finding.fact.rstrip(".")
        for finding in answer.findings
        if (finding.state == WILL_BE_FIXED_BY and finding.severity != INFO)
        or (finding.severity == BLOCK and not finding.acceptable)
    ]
    problems += answer.restart.get("reasons") or []
    path = view.part("kubelet").get("config_path") or "arguments of the service"
    skip = kubelet.NOTHING if any(finding.fact == kubelet.NOTHING for finding in answer.findings) else ""
    return check("V10", view.node, "The kubelet runs with what the release needs", problems, f"read from {path}", skip)


def _confidential(view: HostView) -> dict[str, Any]:
    problems = [
        finding.fact.rstrip(".")
        for finding in confidential.assess(view).findings
        if finding.severity == BLOCK and not finding.acceptable
    ]
    title = "The host can start confidential virtual machines"
    return check("confidential", view.node, title, problems, view.desired.confidential)


def _artifacts(view: HostView) -> dict[str, Any]:
    wanted = view.release["artifacts"]
    folder = view.desired.artifacts_dir or wanted["dir"]
    title = "The guest artifacts are installed"
    found = view.part("artifacts").get(folder)
    if found is None:
        return check("artifacts", view.node, title, [f"{folder} does not exist"], "")
    problems = []
    for name in wanted["classes"]:
        files = [entry.partition("/")[2] for entry in found if entry.startswith(f"{name}/")]
        problems += [
            f"{folder}/{name} has no {pattern}"
            for pattern in wanted["patterns"]
            if not any(fnmatch(entry, pattern) for entry in files)
        ]
    return check("artifacts", view.node, title, problems, f"{folder}: {', '.join(found)}")
