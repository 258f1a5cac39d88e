# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA sample of the current stack: its device comes from the allocation; and the hook Jobs of the charts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.node import config
from tests.lab.node.behaviour import Outcome
from tests.lab.node.behaviours import kata_stages
from tests.lab.standins import facts
from tests.unit.lab.node_context import AUDIO, GO_26, GPU0, KATA_PLUGIN, VGA, Ctx, find, pod, start, stop, tick

T = facts.KATA_DEPLOY
IMAGE = "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0-ubuntu22.04"
SHIM = "qemu-nvidia-gpu"
PREFIX = "io.katacontainers.config.hypervisor."


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def ready(root: Path, *functions: dict[str, Any], **environment: str) -> Ctx:
    """kata-deploy, vfio-manager and the plugin were here, and the pod was given all devices."""
    ctx = Ctx(root, *functions)
    ctx.images, ctx.container_runtime_version = GO_26, "containerd://2.2.1"
    ctx.environment = {"SHIMS_X86_64": f"{SHIM} {SHIM}-snp qemu-nvidia-cpu", **environment}
    start(ctx, "kube-kata")
    ctx.environment = {}
    start(ctx, "nvidia-vfio-manager")
    start(ctx, "nvidia-kata-sandbox-device-plugin-ctr", KATA_PLUGIN)
    ctx.given = ctx.extended_resources
    return ctx


def vectoradd(ctx: Ctx, shim: str = SHIM, resource: str = "nvidia.com/pgpu", **annotations: str) -> Outcome:
    limits = {resource: "1", "memory": "16Gi"}
    ctx.container = {"name": "cuda-vectoradd", "image": IMAGE, "resources": {"limits": limits}}
    ctx.memory = {}
    handler = f"kata-{shim}"
    ctx.replies[f"/apis/node.k8s.io/v1/runtimeclasses/{handler}"] = {"handler": handler}
    spec = pod(runtimeClassName=handler)
    spec["metadata"]["annotations"] = {PREFIX + key: value for key, value in annotations.items()}
    behaviour = find("cuda-vectoradd", image=IMAGE)
    outcome = behaviour.start(ctx, spec)  # type: ignore[arg-type]
    if "until" in ctx.memory:
        ctx.memory["until"] = 0.0
        outcome = behaviour.tick(ctx, spec)  # type: ignore[arg-type]
    return outcome


def test_the_sample_passes_without_any_annotation_and_says_what_it_is(tmp_path: Path) -> None:
    """runtime.devices"""
    ctx = ready(tmp_path, GPU0)
    outcome = vectoradd(ctx)
    assert outcome.state == "completed" and outcome.log.splitlines()[-2:] == ["Test PASSED", "Done"]
    assert "stand-in for the CUDA sample" in ctx.logs[-1] and "12" in ctx.logs[-1]


def test_memory_by_annotation_is_refused_for_the_plain_class_only(tmp_path: Path) -> None:
    """runtime.annotations"""
    message = facts.value(T, "runtime.annotations")["message"] % f"{PREFIX}default_memory"
    ctx = ready(tmp_path / "a", GPU0)
    outcome = vectoradd(ctx, default_memory="16384")
    assert outcome.state == "waiting" and message in outcome.message
    assert ctx.events[0].startswith("Warning FailedCreatePodSandBox")
    assert vectoradd(ctx, kernel_params="x").state == "completed"
    assert vectoradd(ctx, shim=f"{SHIM}-snp", default_memory="16384").state == "completed"
    allowed = ready(tmp_path / "b", GPU0, ALLOWED_HYPERVISOR_ANNOTATIONS_X86_64=f"{SHIM}:default_memory")
    assert vectoradd(allowed, default_memory="16384").state == "completed"


def test_a_sibling_on_a_host_driver_makes_the_group_unviable(tmp_path: Path) -> None:
    ctx = ready(tmp_path, VGA, AUDIO | {"driver": "snd_hda_intel"})
    outcome = vectoradd(ctx)
    assert outcome.state == "waiting" and "group 5 is not viable" in outcome.message
    ctx.system.unbind(ctx.system.function(str(AUDIO["address"])))
    assert vectoradd(ctx).state == "completed"


def test_what_keeps_the_sandbox_from_starting(tmp_path: Path) -> None:
    """runtime.devices"""
    ctx = ready(tmp_path, GPU0)
    assert "port is not set" in vectoradd(ctx, shim="qemu-nvidia-cpu").message
    assert vectoradd(ctx, resource="nvidia.com/other").state == "failed", "a VM without a GPU starts, the sample fails"
    (ctx.run_root / "cdi/nvidia.com-pgpu.yaml").unlink()
    wanted = facts.value(T, "runtime.devices") % "unresolvable CDI devices nvidia.com/pgpu=12"
    assert wanted in vectoradd(ctx).message
    start(ctx, "nvidia-kata-sandbox-device-plugin-ctr", KATA_PLUGIN)
    stop(ctx, "nvidia-vfio-manager")
    assert "error opening /dev/vfio/12" in vectoradd(ctx).message, "the CDI file is stale after an unbind"


def test_a_handler_that_is_not_from_kata_deploy_looks_at_the_annotation(tmp_path: Path) -> None:
    ctx = ready(tmp_path, GPU0)
    assert vectoradd(ctx, shim="of-the-kata-manager").state == "failed", "no annotation, no GPU"


def test_the_node_holds_the_sample_with_its_overhead() -> None:
    """classes.overhead: 10 GiB of the class and 16 GiB of the limit, and a second one beside it."""
    overhead = facts.value(T, "classes.overhead")[SHIM]
    assert (overhead["memory"], overhead["cpu"]) == ("10240Mi", "1.0")
    mebibytes = int(config.CAPACITY["memory"].removesuffix("Ki")) // 1024
    assert mebibytes >= 2 * (10240 + 16384) and int(config.CAPACITY["cpu"]) >= 4


# Hook Jobs


def test_rbac_of_kata_deploy_goes_when_its_pods_are_gone(tmp_path: Path) -> None:
    """rbac.kept"""
    fact = facts.value(T, "rbac.kept")
    sa, role, binding = fact["names"]
    ctx = Ctx(tmp_path)
    ctx.environment = {
        "NAMESPACE": "kata-system",
        "DAEMONSET_POD_LABEL": "name=kata-deploy",
        "CLUSTER_ROLE_BINDING_NAME": binding,
        "CLUSTER_ROLE_NAME": role,
        "SERVICE_ACCOUNT_NAME": sa,
    }
    pods = "/api/v1/namespaces/kata-system/pods"
    ctx.replies = {
        pods: {"items": [{}]},
        f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}": {},
        f"/api/v1/namespaces/kata-system/serviceaccounts/{sa}": {},
    }
    assert start(ctx, fact["container"]).state == "running" and not ctx.deleted
    ctx.replies[pods] = {"items": []}
    assert tick(ctx, fact["container"]).state == "completed"
    assert [path.rpartition("/")[2] for path in ctx.deleted] == [role, sa], "the binding was gone already"


def test_crds_are_applied_before_an_upgrade_and_go_only_on_request(tmp_path: Path) -> None:
    """chart.hooks"""
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    new = {"metadata": {"name": "gpuclusters.nvidia.com"}, "spec": {"x": 1}}
    old = {"metadata": {"name": "clusterpolicies.nvidia.com"}, "spec": {"y": 2}}
    ctx = Ctx(tmp_path)
    ctx.replies["/api/v1/namespaces/gpu-operator/configmaps/gpu-operator-lab-crds"] = {
        "data": {"a.json": json.dumps(new), "b.json": json.dumps(old)}
    }
    ctx.replies[f"{crds}/clusterpolicies.nvidia.com"] = {"metadata": {"name": "clusterpolicies.nvidia.com"}}
    hooks = {name: one["container"] for name, one in facts.value(facts.GPU_OPERATOR_26, "chart.hooks").items()}
    assert start(ctx, hooks["gpu-operator-upgrade-crd"]).state == "completed"
    assert ctx.patches == [(f"{crds}/clusterpolicies.nvidia.com", {"spec": {"y": 2}})]
    assert ctx.replies[f"{crds}/gpuclusters.nvidia.com"] == new
    assert start(ctx, hooks["gpu-operator-cleanup-gpucluster"]).state == "completed" and not ctx.deleted
    ctx.container = {
        "name": "cleanup-crd",
        "args": ["delete", "--filepath=/opt/gpu-operator/nvidia.com_gpuclusters.yaml"],
    }
    assert start(ctx, hooks["gpu-operator-cleanup-crd"]).state == "completed"
    assert ctx.deleted == [f"{crds}/gpuclusters.nvidia.com"]


def test_prune_takes_the_labels_of_nfd_from_all_nodes(tmp_path: Path) -> None:
    """chart.nfd-prune"""
    fact = facts.value(facts.GPU_OPERATOR_26, "chart.nfd-prune")
    ctx = Ctx(tmp_path)
    label = next(iter(facts.value(facts.GPU_OPERATOR_26, "nfd.gpu-label")))
    ctx.replies["/api/v1/nodes"] = {
        "items": [{"metadata": {"name": "a", "labels": {label: "true", "mine": "x"}}}, {"metadata": {"name": "b"}}]
    }
    assert start(ctx, fact["container"], {"role": "prune"}).state == "completed"
    assert ctx.patches == [("/api/v1/nodes/a", {"metadata": {"labels": {label: None}}})]


def test_constants_are_facts() -> None:
    assert facts.value(T, "install.directory") == kata_stages.DIRECTORY
    assert facts.value(T, "install.label") == {kata_stages.LABEL: "true"}
    rule = facts.value(T, "nfd.rule")
    assert (rule["name"], rule["resources"]) == (kata_stages.RULE, kata_stages.RESOURCES)
    annotations = facts.value(T, "runtime.annotations")
    assert list(kata_stages.ANNOTATIONS) == annotations["plain"]
    assert list(kata_stages.CONFIDENTIAL) == annotations["confidential"]
    assert facts.value(T, "snapshotter.versions")["mapping"] == kata_stages.SNAPSHOTTER_PROBLEM
