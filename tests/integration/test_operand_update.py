# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changed values of the GPU Operator on a provisioned lab in use: refused, or node by node. Needs two Kata machines."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration import lab

NODES = ["kata-a10", "kata-workstation"]
LAST = NODES[-1]
POD = "machine-in-use"
VALUES = json.dumps({"gpu_operator_values": {"vfioManager": {"env": [{"name": "CHANGED", "value": "once"}]}}})
ON_DELETE = ["-e", "katagpu_operand_update=on_delete"]


def pods(namespace: str, prefix: str) -> dict[str, dict[str, Any]]:
    """By node, the pod of this name."""
    found = lab.kubectl_json("get", "pods", "-n", namespace)["items"]
    return {pod["spec"]["nodeName"]: pod for pod in found if pod["metadata"]["name"].startswith(prefix)}


def vfio_managers() -> dict[str, dict[str, Any]]:
    return pods("gpu-operator", "nvidia-vfio-manager-")


def uid(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["uid"])


def one_line(text: str) -> str:
    """Ansible breaks long messages."""
    return " ".join(text.split())


def ready_since(pod: dict[str, Any]) -> str:
    return next(str(one["lastTransitionTime"]) for one in pod["status"]["conditions"] if one["type"] == "Ready")


@pytest.fixture(scope="module")
def in_use() -> Iterator[dict[str, dict[str, Any]]]:
    """A Deployment whose pod has the GPU of the last node, and which comes back after each eviction; with the vfio-managers
    and that pod as they are before anything changes."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [LAST]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    container = {
        "name": "machine",
        "image": "registry.example.com/sleep:1",
        "resources": {"limits": {"nvidia.com/pgpu": "1"}},
    }
    spec = {"runtimeClassName": "kata-qemu-nvidia-gpu", "affinity": affinity, "containers": [container]}
    labels = {"app": POD}
    lab.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": POD, "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
    )
    lab.kubectl("rollout", "status", "-n", "default", f"deployment/{POD}", "--timeout=120s")
    yield {**vfio_managers(), POD: pods("default", POD)[LAST]}
    lab.kubectl("delete", "-n", "default", f"deployment/{POD}", "--wait=true")
    lab.kubectl("wait", "-n", "default", "--for=delete", "pod", "-l", f"app={POD}", "--timeout=120s")


def test_a_rolling_change_is_refused_while_a_machine_has_a_gpu(in_use: dict[str, dict[str, Any]]) -> None:
    run = lab.playbook("cluster", "-e", VALUES)
    assert run.returncode != 0
    assert f"GPU pods run on {LAST}" in run.output and "katagpu_operand_update: on_delete" in run.output
    assert not any(run.changed.values()), run.recap
    assert {node: uid(pod) for node, pod in vfio_managers().items()} == {node: uid(in_use[node]) for node in NODES}


def test_a_run_that_is_killed_leaves_its_node_to_the_next_one(in_use: dict[str, dict[str, Any]]) -> None:
    """Killed when the first node has lost its vfio-manager, and with it what its machines had."""

    def replacing() -> bool:
        found = vfio_managers().get(NODES[0])
        return found is None or uid(found) != uid(in_use[NODES[0]])

    run = lab.playbook("cluster", "-e", VALUES, *ON_DELETE, kill_when=replacing)
    assert run.returncode == -signal.SIGKILL, run.output
    # The hosts are as they should be, and their phase does not take the cordon of another phase away.
    hosts = lab.playbook("hosts", "-e", VALUES, *ON_DELETE)
    assert "The cluster phase goes on with it" in one_line(hosts.output), hosts.output
    found = {item["metadata"]["name"]: item for item in lab.kubectl_json("get", "nodes")["items"]}
    assert [name for name, node in found.items() if node["spec"].get("unschedulable")] == [NODES[0]]
    mark = json.loads(found[NODES[0]]["metadata"]["annotations"]["katagpu.io/maintenance"])
    assert mark["rolls"] == ["operands"] and mark["cordoned_by_us"] is True
    assert uid(vfio_managers()[LAST]) == uid(in_use[LAST]) and uid(pods("default", POD)[LAST]) == uid(in_use[POD])


def test_on_delete_replaces_operands_on_one_drained_node_after_the_other(in_use: dict[str, dict[str, Any]]) -> None:
    run = lab.playbook("cluster", "-e", VALUES, *ON_DELETE)
    print(f"cluster.yml: {run.seconds:.0f} s")
    assert run.returncode == 0, run.output
    after, again = vfio_managers(), pods("default", POD)[LAST]
    assert set(after) == set(NODES)
    for node in NODES:
        assert uid(after[node]) != uid(in_use[node])
        env = after[node]["spec"]["containers"][0]["env"]
        assert {"name": "CHANGED", "value": "once"} in env
    # The machine ran on while the first node was done, and was evicted before its own vfio-manager was replaced.
    assert uid(again) != uid(in_use[POD])
    assert (
        ready_since(after[NODES[0]])
        <= again["metadata"]["creationTimestamp"]
        <= after[LAST]["metadata"]["creationTimestamp"]
    )
    policy = lab.kubectl_json("get", "clusterpolicy", "cluster-policy")
    assert policy["status"]["state"] == "ready"
    for node in lab.kubectl_json("get", "nodes")["items"]:
        assert not node["spec"].get("unschedulable") and "katagpu.io/maintenance" not in node["metadata"].get(
            "annotations", {}
        )


def test_a_second_run_changes_nothing(in_use: dict[str, dict[str, Any]]) -> None:
    before = {node: uid(pod) for node, pod in vfio_managers().items()}
    run = lab.playbook("cluster", "-e", VALUES, *ON_DELETE)
    assert run.returncode == 0, run.output
    assert not any(run.changed.values()), run.recap
    assert {node: uid(pod) for node, pod in vfio_managers().items()} == before
