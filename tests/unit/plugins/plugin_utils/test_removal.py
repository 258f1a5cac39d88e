# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from ansible_collections.katagpu.cluster.plugins.plugin_utils._labels import RUNTIME
from ansible_collections.katagpu.cluster.plugins.plugin_utils._removal import kata_removal

STACK = _releases.lookup("26.7")
CLASS = STACK["kata_deploy"]["runtime_classes"][0]
NAMED = {name: {"maintenance_ok": True} for name in ("a", "b", "control")}
NODES: dict[str, Any] = {
    "a": {"labels": {RUNTIME: "4.0.0-x"}},
    "b": {"labels": {}},
    "control": {"labels": {"node-role.kubernetes.io/control-plane": "", RUNTIME: "old"}},
    "foreign": {"labels": {RUNTIME: "4.0.0-x"}},
}


def pod(name: str, node: str, space: str = "default", phase: str = "Running", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": space, "labels": {"name": "kata-deploy"}}
    return {"metadata": metadata, "spec": {"nodeName": node, **spec}, "status": {"phase": phase}}


def installer(name: str, node: str) -> dict[str, Any]:
    return pod(name, node, "kata-system")


def removal(*pods: dict[str, Any], named: dict[str, Any] | None = None) -> dict[str, Any]:
    return kata_removal(pods, STACK, "kata-system", NAMED if named is None else named, NODES)


def test_control_planes_come_last_and_only_our_labels_on_our_nodes_go() -> None:
    answer = removal(
        installer("kd-1", "control"), installer("kd-2", "b"), pod("same-label", "a"), installer("pending", "")
    )
    assert answer["refusals"] == []
    assert answer["nodes"] == ["b", "control"] and answer["pods"] == {"b": ["kd-2"], "control": ["kd-1"]}
    assert answer["marked"] == ["a", "control"]
    assert {entry["kind"] for entry in answer["waits"]} == {"DaemonSet", "RuntimeClass"}
    assert all(entry["until"] == {"absent": True} for entry in answer["waits"])


def test_where_nothing_is_left_nothing_is_done() -> None:
    answer = removal()
    assert (answer["refusals"], answer["nodes"], answer["pods"]) == ([], [], {})


def test_pods_that_use_the_classes_are_in_the_way() -> None:
    users = [
        pod("machine", "a", runtimeClassName=CLASS),
        pod("waiting", "", phase="Pending", runtimeClassName=CLASS),
        pod("done", "a", phase="Succeeded", runtimeClassName=CLASS),
        pod("container", "a", runtimeClassName="nvidia"),
    ]
    [refusal] = removal(*users)["refusals"]
    assert "default/machine, default/waiting." in refusal


def test_nodes_that_nobody_named_or_agreed_to_drain_are_in_the_way() -> None:
    named = {"a": {"maintenance_ok": True}, "b": {"maintenance_ok": False}}
    refusals = removal(installer("1", "a"), installer("2", "b"), installer("3", "foreign"), named=named)["refusals"]
    assert len(refusals) == 2
    assert "runs on foreign too" in refusals[0] and "restarts on b when" in refusals[1]


DONE = STACK["kata_deploy"]["done_label"]


def node(labels: dict[str, str], *rolls: str) -> dict[str, Any]:
    mark = {"katagpu.io/maintenance": json.dumps({"cordoned_by_us": True, "rolls": list(rolls)})} if rolls else {}
    return {"labels": labels, "annotations": mark}


def test_a_runtime_that_no_installer_can_take_off_is_in_the_way() -> None:
    nodes = {"a": node(DONE), "b": node(DONE), "foreign": node(DONE)}
    answer = kata_removal([installer("kd", "a")], STACK, "kata-system", NAMED, nodes)
    [refusal] = answer["refusals"]
    assert refusal.startswith("b has the runtime and no installer")
    jobs = kata_removal([], STACK, "kata-system", NAMED, nodes, jobs=True)
    assert jobs["refusals"] == []


def test_a_node_on_which_a_removal_was_interrupted_is_finished() -> None:
    nodes = {"a": node(DONE, "kata_deploy"), "b": node({}), "control": node(DONE, "operands")}
    answer = kata_removal([installer("kd", "control")], STACK, "kata-system", NAMED, nodes)
    assert (answer["refusals"], answer["nodes"], answer["pods"]) == ([], ["a", "control"], {"a": [], "control": ["kd"]})


def test_every_class_of_kata_deploy_counts() -> None:
    machine = pod("machine", "a", runtimeClassName="kata-qemu-nvidia-gpu-snp")
    assert removal(machine)["refusals"] == []
    answer = kata_removal([machine], STACK, "kata-system", NAMED, NODES, classes=["kata-qemu-nvidia-gpu-snp"])
    assert "default/machine" in answer["refusals"][0]
    assert "kata-qemu-nvidia-gpu-snp" in {entry["name"] for entry in answer["waits"]}
