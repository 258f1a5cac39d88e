# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for GPU Operator 26.7: how the release is told apart, and when labels are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.standins import facts, gpu_labels, gpu_operator, runner
from tests.lab.standins.actions import Action, Note, Patch
from tests.unit.lab.test_standins_gpu_operator_26 import DEPLOY, KATA, PLUGIN, created, node, policy, state

# Which release it is


def deployment(image: str, label: str = "v26.7.0") -> dict[str, Any]:
    return {
        "metadata": {"name": "gpu-operator", "namespace": "n", "labels": {"app.kubernetes.io/version": label}},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
        "status": {"availableReplicas": 1},
    }


@pytest.mark.parametrize(
    ("image", "table"),
    [
        ("nvcr.io/nvidia/gpu-operator:v23.9.2", facts.GPU_OPERATOR),
        ("mirror:5000/gpu-operator:v26.7.0", facts.GPU_OPERATOR_26),
        ("mirror:5000/gpu-operator@sha256:00", facts.GPU_OPERATOR_26),
        ("nvcr.io/nvidia/gpu-operator:v25.3.4", None),
        ("nvcr.io/nvidia/gpu-operator:main-latest", None),
    ],
)
def test_the_deployment_says_which_release_it_is(image: str, table: str | None) -> None:
    """deployment.gpu-operator"""
    assert runner.table_of(runner.operator_version(deployment(image))) == table


class FakeCluster:
    """Lists from a dictionary."""

    def __init__(self, image: str) -> None:
        self.objects = {"Deployment": [deployment(image)], "ClusterPolicy": [policy()], "Node": [node("kata-1", KATA)]}

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        return self.objects.get(kind, [])

    def by_name(self, kind: str, namespace: str = "") -> dict[str, dict[str, Any]]:
        return {one["metadata"]["name"]: one for one in self.list(kind, namespace)}


def steps(image: str) -> Iterator[list[Action]]:
    return runner.gpu_operator_step(FakeCluster(image))  # type: ignore[arg-type]


def test_the_runner_reconciles_with_the_facts_of_the_installed_release() -> None:
    assert PLUGIN in created(next(steps("x/gpu-operator:v26.7.0")), "DaemonSet")
    (only,) = list(steps("x/gpu-operator:v99.1.0"))
    assert only == [Note("GPU Operator v99.1.0 is not one of 23.9, 26.7")]


# What the comparison with the real controller has shown


def labelled(actions: list[Action]) -> dict[str, Any]:
    return {
        one.name: one.patch["metadata"]["labels"] for one in actions if isinstance(one, Patch) and one.kind == "Node"
    }


def test_a_deploy_label_that_was_taken_away_comes_back_only_with_the_next_event() -> None:
    """nodes.labelling-events"""
    memory: gpu_labels.Memory = {}
    owner = policy()
    owner["metadata"]["generation"] = 1
    first = labelled(gpu_operator.reconcile(state(owner, memory=memory)))["kata-1"]
    nodes = [node("kata-1", {**KATA, **first})]
    # The controller's own label is an event too, and then there is nothing to do.
    assert labelled(gpu_operator.reconcile(state(owner, nodes=nodes, memory=memory))) == {}
    del nodes[0]["metadata"]["labels"][f"{DEPLOY}vfio-manager"]
    assert labelled(gpu_operator.reconcile(state(owner, nodes=nodes, memory=memory))) == {}
    owner["metadata"]["generation"] = 2
    assert labelled(gpu_operator.reconcile(state(owner, nodes=nodes, memory=memory))) == {
        "kata-1": {f"{DEPLOY}vfio-manager": "true"}
    }


@pytest.mark.parametrize(
    "change",
    [
        {"nvidia.com/gpu.workload.config": "container"},
        {"nvidia.com/gpu.workload.config": "vm-passthough"},
        {"nvidia.com/gpu.deploy.operands": "false"},
        {"feature.node.kubernetes.io/pci-10de.present": "false"},
        {"nvidia.com/gpu.present": "maybe"},
    ],
)
def test_what_counts_as_an_event(change: dict[str, str]) -> None:
    """nodes.labelling-events"""
    memory: gpu_labels.Memory = {}
    nodes = [node("kata-1", {**KATA, **labelled(gpu_operator.reconcile(state(memory=memory)))["kata-1"]})]
    assert labelled(gpu_operator.reconcile(state(nodes=nodes, memory=memory))) == {}
    nodes[0]["metadata"]["labels"] |= change
    assert labelled(gpu_operator.reconcile(state(nodes=nodes, memory=memory))) != {}


def test_earlier_releases_look_at_labels_with_every_reconcile() -> None:
    """nodes.labelling-events"""
    memory: gpu_labels.Memory = {}
    nodes = [node("kata-1", KATA)]
    operand = {"vfio": {"metadata": {"resourceVersion": "1"}}}
    owner = policy() | {"status": {"state": "ready"}}

    def acts() -> bool:
        return gpu_labels.plan(facts.GPU_OPERATOR, nodes, owner, operand, memory)[0] != []

    assert [acts(), acts()] == [True, False]
    operand["vfio"]["metadata"]["resourceVersion"] = "2"
    assert [acts(), acts()] == [True, False]
    owner["status"] = {"state": "notReady"}
    assert [acts(), acts()] == [True, True]
