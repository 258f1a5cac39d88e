# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts
from ansible_collections.katagpu.cluster.plugins.plugin_utils._labels import RUNTIME
from ansible_collections.katagpu.cluster.plugins.plugin_utils._maintenance import ANNOTATION
from tests.unit.assess_cluster import (
    CURRENT,
    HELM,
    POLICIES,
    RELEASE,
    WORKLOAD,
    api,
    ask,
    ask_current,
    current_node,
    gpu_pod,
    policy,
    release_secret,
    runtime,
)
from tests.unit.fake_api import node

VALUES = _charts.kata_deploy_values(CURRENT, "k8s", CURRENT["kata_deploy"]["node_selector"], [], {})
MARK = {RUNTIME: VALUES["nodeSelector"][RUNTIME]}
CHART = {
    "name": "kata-deploy",
    "namespace": "kata-system",
    "chart": "kata-deploy",
    "chart_version": "4.0.0",
    "values": VALUES,
}
NAMED = {name: {"role": "kata", "maintenance_ok": True} for name in ("b", "c", "d")}
OWNED = {"katagpu.io/owned-labels": '["nvidia.com/gpu.deploy.operands"]'}
COCO = {RUNTIME: RELEASE["coco_operator"]["node_selector"][RUNTIME]}
OFF = "nvidia.com/gpu.deploy.operands"


def secret(values: Mapping[str, Any]) -> dict[str, Any]:
    chart = {"metadata": {"name": "kata-deploy", "version": "4.0.0"}}
    data = {"name": "kata-deploy", "namespace": "kata-system", "version": 1, "info": {"status": "deployed"}}
    packed = gzip.compress(json.dumps({**data, "chart": chart, "config": values}).encode())
    text = base64.b64encode(base64.b64encode(packed)).decode()
    return {"metadata": {"name": "sh.helm.release.v1.kata-deploy.v1"}, "data": {"release": text}}


def live(values: Mapping[str, Any]) -> dict[str, Any]:
    """The DaemonSet of kata-deploy as these values make it."""
    template = {"spec": {"nodeSelector": values["nodeSelector"]}}
    return {
        "/apis/apps/v1/namespaces/kata-system/daemonsets/kata-deploy": {
            "metadata": {"name": "kata-deploy"},
            "spec": {"template": template},
        }
    }


def begun(*parts: str) -> dict[str, str]:
    return {ANNOTATION: json.dumps({"cordoned_by_us": True, "rolls": list(parts)})}


def current(
    *labels: Mapping[str, str],
    installed: Mapping[str, Any] | None = VALUES,
    daemonset: bool = True,
    marks: Mapping[str, Mapping[str, str]] | None = None,
    **given: Any,
) -> dict[str, Any]:
    """The nodes b, c, d with these labels, and kata-deploy with these values."""
    items = [current_node(name, more) for name, more in zip("bcd", labels, strict=False)]
    for item in items:
        item["metadata"]["annotations"] = dict((marks or {}).get(item["metadata"]["name"], {}))
    stored = {"/api/v1/namespaces/kata-system/secrets/x": secret(installed)} if installed is not None else {}
    there = live(installed) if installed is not None and daemonset else {}
    cluster = api(*items, version="v1.35.0", **stored, **there, **given.pop("more", {}))
    return ask_current(cluster, **{"nodes": NAMED, "helm": [CHART], **given})


def test_a_node_gets_the_runtime_when_its_mark_is_another_one() -> None:
    answer = current(MARK, {RUNTIME: "3.29.0-0123456789"}, {})
    why = "containerd restarts when kata-deploy comes"
    assert answer["rolls"]["kata_deploy"] == {
        "nodes": ["c", "d"],
        "why": why,
        "labels": MARK,
        "stale": [],
        "unagreed": [],
        "missing": False,
    }


def test_control_planes_come_last() -> None:
    answer = current({"node-role.kubernetes.io/control-plane": ""}, {}, {})
    assert answer["rolls"]["kata_deploy"]["nodes"] == ["c", "d", "b"]


def test_only_nodes_of_this_run() -> None:
    assert current({}, {}, {}, eligible=["c"])["rolls"]["kata_deploy"]["nodes"] == ["c"]


def test_where_the_chart_is_gone_no_node_may_keep_its_mark() -> None:
    """Else a new installation would come to all of them at once."""
    roll = current(MARK, {}, MARK, installed=None)["rolls"]["kata_deploy"]
    assert roll["nodes"] == ["b", "c", "d"] and roll["stale"] == ["b", "d"]


def test_changed_values_come_to_no_node_by_themselves() -> None:
    """So machines may run elsewhere meanwhile."""
    before = _charts.kata_deploy_values(CURRENT, "k8s", {}, [], {"debug": True, "nodeSelector": {"a": "b"}})
    old = {RUNTIME: before["nodeSelector"][RUNTIME], WORKLOAD: "vm-passthrough"}
    answer = current(old, old, old, installed=before, more={"/api/v1/pods/p": gpu_pod()})
    assert answer["helm"][0]["verdict"] == "upgrade"
    assert answer["rolls"]["kata_deploy"]["nodes"] == ["b", "c", "d"]
    assert "C07" not in {item["id"] for item in answer["findings"]}


def test_values_of_before_come_to_no_node_by_themselves_either() -> None:
    """After a roll that failed on its first node: the others still have the mark that is wanted again, and no installer."""
    other = _charts.kata_deploy_values(CURRENT, "k8s", {"a": "b"}, [], {"debug": True})
    roll = current({RUNTIME: other["nodeSelector"][RUNTIME]}, MARK, MARK, installed=other)["rolls"]["kata_deploy"]
    assert (roll["nodes"], roll["stale"]) == (["b", "c", "d"], ["c", "d"])


def test_a_release_whose_daemonset_is_gone_is_installed_again() -> None:
    roll = current(MARK, MARK, {}, daemonset=False)["rolls"]["kata_deploy"]
    assert (roll["missing"], roll["nodes"], roll["stale"]) == (True, ["b", "c", "d"], ["b", "c"])


def test_a_node_on_which_a_run_was_interrupted_is_finished_by_the_same_part() -> None:
    rolls = current(MARK, MARK, MARK, marks={"c": begun("kata_deploy"), "d": begun("operands")})["rolls"]
    assert rolls["kata_deploy"]["nodes"] == ["c"]
    assert (rolls["operands"]["nodes"], rolls["operands"]["pods"]) == (["d"], {"d": []})
    garbage = current(MARK, MARK, MARK, marks={"c": {ANNOTATION: "[]"}, "d": {ANNOTATION: "{"}})["rolls"]
    assert garbage["kata_deploy"]["nodes"] == garbage["operands"]["nodes"] == []


def test_in_job_mode_nothing_comes_one_by_one_and_pods_are_in_the_way() -> None:
    values = _charts.kata_deploy_values(CURRENT, "k8s", {"a": "b"}, [], {"deploymentMode": "job"})
    chart = {**CHART, "values": values}
    labels = {WORKLOAD: "vm-passthrough"}
    answer = current(labels, labels, labels, helm=[chart], more={"/api/v1/pods/p": gpu_pod()})
    assert answer["rolls"]["kata_deploy"]["nodes"] == []
    assert "C07" in {item["id"] for item in answer["findings"]}


@pytest.mark.parametrize(
    ("labels", "annotations", "held"),
    [
        ({}, {}, True),
        ({WORKLOAD: "container"}, {}, True),
        ({WORKLOAD: "vm-passthrough"}, {}, False),
        ({WORKLOAD: "vm-passthrough", OFF: "false"}, OWNED, True),
        ({WORKLOAD: "vm-passthrough", OFF: "false"}, {}, False),
    ],
    ids=["new", "other workload", "provisioned", "interrupted", "kept off by somebody else"],
)
def test_operands_that_restart_containerd_are_held_back(
    labels: dict[str, str], annotations: dict[str, str], held: bool
) -> None:
    item = node("b", labels)
    item["metadata"]["annotations"] = annotations
    roll = ask(api(node("a"), item, **{f"{POLICIES}/cluster-policy": policy()}))["rolls"]["gpu_operator"]
    assert (roll["nodes"] == ["b"]) is held
    assert roll["labels"] == ({OFF: None})


def test_before_the_operator_is_there_its_operands_are_held_back_from_every_node() -> None:
    """Also from one that somebody has labelled before."""
    assert ask(api(node("a"), node("b", {WORKLOAD: "vm-passthrough"})))["rolls"]["gpu_operator"]["nodes"] == ["b"]


def test_operands_of_the_current_stack_are_not_held_back() -> None:
    assert current({}, {}, {})["rolls"]["gpu_operator"]["nodes"] == []


def test_the_runtime_of_the_coco_operator_comes_one_by_one() -> None:
    assert ask(api(node("a"), node("b")))["rolls"]["coco_operator"]["nodes"] == ["b"]
    done = ask(api(node("a"), node("b", COCO), **runtime(["b"])))["rolls"]["coco_operator"]
    assert (done["nodes"], done["labels"], done["stale"]) == ([], COCO, [])
    gone = ask(api(node("a"), node("b", COCO)))["rolls"]["coco_operator"]
    assert (gone["nodes"], gone["stale"]) == (["b"], ["b"])


def test_a_runtime_that_is_selected_by_ones_own_label_does_not_come_one_by_one() -> None:
    answer = ask(api(node("a"), node("b")), kata_selector={"example.com/kata": "yes"})
    assert answer["rolls"]["coco_operator"]["nodes"] == []


def test_what_restarts_where_is_said_before() -> None:
    named = {**NAMED, "c": {"role": "kata", "maintenance_ok": False}}
    answer = current({}, {}, {}, nodes=named)
    found = {item["severity"]: item for item in answer["findings"] if item["id"] == "runtime_restart"}
    assert "when kata-deploy comes on b, d." in found["info"]["fact"]
    assert "when kata-deploy comes on c." in found["warn"]["fact"] and "katagpu_reboot_ok" in found["warn"]["fix"]
    assert answer["rolls"]["kata_deploy"]["unagreed"] == ["c"]
    assert "runtime_restart" not in {item["id"] for item in current(MARK, MARK, MARK)["findings"]}


def operand(name: str, uid: str, strategy: str = "OnDelete") -> dict[str, Any]:
    """Its second template."""
    annotations = {"deprecated.daemonset.template.generation": "2"}
    return {
        "metadata": {"name": name, "uid": uid, "annotations": annotations},
        "spec": {"updateStrategy": {"type": strategy}, "template": {"spec": {}}},
    }


def operand_pod(name: str, node_name: str, generation: str, uid: str = "u-1", **more: Any) -> dict[str, Any]:
    owners = [{"uid": uid, "kind": "DaemonSet"}]
    labels = {"pod-template-generation": generation}
    metadata = {"name": name, "namespace": "gpu-operator", "ownerReferences": owners, "labels": labels, **more}
    return {"metadata": metadata, "spec": {"nodeName": node_name, "containers": []}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("strategy", "wanted", "found"),
    [
        ("OnDelete", "OnDelete", {"b": ["old-b"]}),
        ("RollingUpdate", "OnDelete", {}),
        ("OnDelete", "RollingUpdate", {}),
    ],
)
def test_operands_that_stay_until_they_are_deleted_are_replaced_node_by_node(
    strategy: str, wanted: str, found: dict[str, list[str]]
) -> None:
    space = "/apis/apps/v1/namespaces/gpu-operator/daemonsets"
    objects = {
        f"{space}/vfio": operand("nvidia-vfio-manager", "u-1", strategy),
        # The operator upgrades drivers by itself, and drains for it.
        f"{space}/driver": operand("nvidia-driver-daemonset", "u-2"),
        "/api/v1/pods/driver": operand_pod("driver", "b", "1", "u-2"),
        "/api/v1/pods/old-b": operand_pod("old-b", "b", "1"),
        "/api/v1/pods/new-c": operand_pod("new-c", "c", "2"),
        "/api/v1/pods/going-d": operand_pod("going-d", "d", "1", deletionTimestamp="2026-01-01T00:00:00Z"),
        "/api/v1/pods/foreign": operand_pod("foreign", "x", "1"),
        "/api/v1/pods/other": {
            "metadata": {"name": "other", "namespace": "x", "ownerReferences": [{"uid": "u-9"}]},
            "spec": {"nodeName": "b", "containers": []},
        },
    }
    chart = {
        "name": "gpu-operator",
        "namespace": "gpu-operator",
        "values": {"daemonsets": {"updateStrategy": wanted}},
    }
    roll = current(MARK, MARK, MARK, helm=[CHART, chart], more=objects)["rolls"]["operands"]
    assert (roll["nodes"], roll["pods"]) == (sorted(found), found)


@pytest.mark.parametrize(("strategy", "found"), [("RollingUpdate", True), ("OnDelete", False)])
def test_a_changed_operator_and_running_pods(strategy: str, found: bool) -> None:
    """Machines run on while their operands stay as they are."""
    values = {"daemonsets": {"updateStrategy": strategy}}
    stored = {"/api/v1/namespaces/gpu-operator/secrets/y": release_secret("deployed", driver={"enabled": False})}
    labelled = node("b", {WORKLOAD: "vm-passthrough"})
    cluster = api(node("a"), labelled, **stored, **{"/api/v1/pods/p": gpu_pod()})
    answer = ask(cluster, helm=[{**HELM, "values": values}])
    assert answer["helm"][0]["verdict"] == "upgrade"
    fixes = [item["fix"] for item in answer["findings"] if item["id"] == "C07"]
    assert bool(fixes) is found
    assert all("katagpu_operand_update: on_delete" in fix for fix in fixes)
