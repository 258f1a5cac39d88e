# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the current charts to the sample: what Helm renders, the stand-in makes and the node does, put together.

No API server: labels are carried from one to the other by hand. It shows that images, names, variables and labels of the
three parts fit each other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contract.lab_charts import only, render
from tests.lab.node.behaviour import Outcome
from tests.lab.node.behaviours import kata_deploy, kata_stages
from tests.lab.node.plain import PlainContainer
from tests.lab.standins import facts, gpu_operator
from tests.lab.standins.actions import Create, Patch, matches
from tests.unit.lab.node_context import AUDIO, GPU0, REGISTRY, VGA, Ctx

GPU = next(iter(facts.value(facts.GPU_OPERATOR_26, "nfd.gpu-label")))
IMAGE = "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0-ubuntu22.04"
VALUES = ("nodeSelector.nvidia\\.com/gpu\\.workload\\.config=vm-passthrough", "shims.disableAll=true")


class Node(Ctx):
    """Reads variables from the container that runs."""

    def env(self, name: str, default: str = "") -> str:
        for item in self.container.get("env") or []:
            if item["name"] == name:
                return str(item.get("value", ""))
        return default


class Running:
    """One pod of a DaemonSet: init containers in order and again where they fail, then its containers."""

    def __init__(self, daemonset: dict[str, Any]) -> None:
        template = daemonset["spec"]["template"]
        self.name = daemonset["metadata"]["name"]
        self.selector = template["spec"].get("nodeSelector") or {}
        labels = dict(template["metadata"]["labels"])
        self.pod = {"metadata": {"name": self.name, "namespace": "ns", "labels": labels}, "spec": template["spec"]}
        inits, mains = template["spec"].get("initContainers") or [], template["spec"]["containers"]
        self.steps = [(one, True) for one in inits] + [(one, False) for one in mains]
        self.at, self.outcome = 0, Outcome("waiting")
        self.memory: dict[str, Any] | None = None

    def step(self, ctx: Ctx) -> None:
        container, init = self.steps[self.at]
        behaviour = REGISTRY.find(self.pod, container) or PlainContainer()
        ctx.container = container
        if self.memory is None:
            ctx.memory = self.memory = {}
            self.outcome = behaviour.start(ctx, self.pod)  # type: ignore[arg-type]
        else:
            ctx.memory = self.memory
            self.outcome = behaviour.tick(ctx, self.pod)  # type: ignore[arg-type]
        if self.outcome.state == "failed":
            self.memory = None  # started again, as the kubelet does
        elif init and self.outcome.state == "completed":
            self.at, self.memory = self.at + 1, None

    @property
    def ready(self) -> bool:
        return self.at == len(self.steps) - 1 and self.outcome.state == "running" and self.outcome.ready


def converge(ctx: Node, policy: dict[str, Any], kata: list[dict[str, Any]]) -> dict[str, Running]:
    """Reconciles and runs pods until nothing moves any more."""
    pods = {one["metadata"]["name"]: Running(one) for one in kata if one["kind"] == "DaemonSet"}
    for _ in range(30):
        node = {"metadata": {"name": ctx.node, "labels": dict(ctx.labels)}}
        seen = gpu_operator.GpuState(
            table=facts.GPU_OPERATOR_26, policy=policy, nodes=[node], namespace="gpu-operator", now="now"
        )
        for action in gpu_operator.reconcile(seen):
            if isinstance(action, Patch) and action.kind == "Node":
                ctx.patch_node_labels(action.patch["metadata"]["labels"])
            if isinstance(action, Create) and action.body["kind"] == "DaemonSet":
                pods.setdefault(action.body["metadata"]["name"], Running(action.body))
        here = {name: one for name, one in pods.items() if matches(ctx.labels, one.selector)}
        ctx.pods = [one.pod for one in here.values()]
        for one in here.values():
            one.step(ctx)
        if all(one.ready for one in here.values()):
            return here
    pytest.fail(f"not ready: {[(name, one.outcome) for name, one in here.items() if not one.ready]}")


def sample(ctx: Node, handler: str) -> Outcome:
    ctx.replies[f"/apis/node.k8s.io/v1/runtimeclasses/{handler}"] = {"handler": handler}
    ctx.container, ctx.memory = {"name": "x", "image": IMAGE, "resources": {"limits": {"nvidia.com/pgpu": "1"}}}, {}
    ctx.given = {key: ids[:1] for key, ids in ctx.extended_resources.items()}
    spec = {"metadata": {"name": "p", "namespace": "d"}, "spec": {"runtimeClassName": handler}}
    behaviour = REGISTRY.find(spec, ctx.container)
    assert behaviour is not None
    outcome = behaviour.start(ctx, spec)  # type: ignore[arg-type]
    if "until" in ctx.memory:
        ctx.memory["until"] = 0.0
        outcome = behaviour.tick(ctx, spec)  # type: ignore[arg-type]
    return outcome


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The ClusterPolicy and the objects of kata-deploy, as the charts make them."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(kata_stages, "RESTART_SECONDS", 0.0)
    monkeypatch.setattr(kata_deploy, "STABLE_SECONDS", 0.0)
    settings = ("sandboxWorkloads.enabled=true", "sandboxWorkloads.mode=kata", "nfd.enabled=true")
    policy = only(render("gpu-operator-v26.7.0", "gpu-operator", "gpu-operator", *settings), "ClusterPolicy")
    policy["metadata"]["uid"] = "u"
    return policy, render(
        "kata-deploy-4.0.0", "kata-deploy", "kata-system", *VALUES, "shims.qemu-nvidia-gpu.enabled=true"
    )


def test_a_kata_node_comes_up_and_runs_the_sample(
    tmp_path: Path, stack: tuple[dict[str, Any], list[dict[str, Any]]]
) -> None:
    policy, kata = stack
    ctx = Node(tmp_path, GPU0, labels={GPU: "true"})
    ctx.container_runtime_version = "containerd://2.2.1"
    here = converge(ctx, policy, kata)
    assert sorted(here) == [
        "kata-deploy",
        "nvidia-cc-manager",
        "nvidia-kata-sandbox-device-plugin-daemonset",
        "nvidia-sandbox-validator",
        "nvidia-vfio-manager",
    ]
    runtime_class = only(kata, "RuntimeClass")
    assert matches(ctx.labels, runtime_class["scheduling"]["nodeSelector"]), "the class selects this node"
    assert runtime_class["handler"] in ctx.runtime_handlers
    assert ctx.extended_resources == {"nvidia.com/pgpu": ["12"]}
    assert sample(ctx, runtime_class["handler"]).log.endswith("Test PASSED\nDone")


def test_all_is_ready_and_the_sample_fails_where_a_sibling_keeps_its_driver(
    tmp_path: Path, stack: tuple[dict[str, Any], list[dict[str, Any]]]
) -> None:
    """Nothing of upstream looks at the group: only a workload, or a look at the host, shows it."""
    policy, kata = stack
    ctx = Node(tmp_path, VGA, AUDIO | {"driver": "snd_hda_intel"}, labels={GPU: "true"})
    ctx.container_runtime_version = "containerd://2.2.1"
    converge(ctx, policy, kata)
    assert "is not viable" in sample(ctx, "kata-qemu-nvidia-gpu").message


def test_a_container_node_gets_the_container_operands_and_no_kata(
    tmp_path: Path, stack: tuple[dict[str, Any], list[dict[str, Any]]]
) -> None:
    policy, kata = stack
    ctx = Node(tmp_path, GPU0, labels={GPU: "true"})
    del ctx.labels["nvidia.com/gpu.workload.config"]
    here = converge(ctx, policy, kata)
    assert "kata-deploy" not in here and "nvidia-device-plugin-daemonset" in here
    assert sorted(ctx.runtime_handlers) == ["nvidia", "nvidia-cdi", "nvidia-legacy"]
    assert len(ctx.extended_resources["nvidia.com/gpu"]) == 1
    assert not (tmp_path / "opt/kata").exists() and not (tmp_path / "etc/containerd").exists()
