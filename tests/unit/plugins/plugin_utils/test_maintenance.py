# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who cordoned a node, and what keeps it from being drained."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _maintenance
from ansible_collections.katagpu.cluster.plugins.plugin_utils._maintenance import (
    begun_maintenance,
    begun_rolls,
    drain_obstacles,
    ended_maintenance,
    maintenance_mark,
    maintenance_preview,
)

BOOT = "11111111-1111-4111-8111-111111111111"
LATER = "22222222-2222-4222-8222-222222222222"
BEAT = "2026-01-02T03:04:05Z"
CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}


def node(
    name: str = "gpu-01", cordoned: bool = False, mark: Any = None, ready: str = "True", **more: Any
) -> dict[str, Any]:
    annotations = {} if mark is None else {_maintenance.ANNOTATION: mark if isinstance(mark, str) else json.dumps(mark)}
    return {
        "metadata": {"name": name, "labels": more.get("labels", {}), "annotations": annotations},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "allocatable": more.get("allocatable", {}),
            "conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": BEAT}],
        },
    }


def pod(name: str, owner: str | None = "ReplicaSet", phase: str = "Running", **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "shop", "name": name, "labels": more.get("labels", {"app": "web"})}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner}]
    metadata.update(more.get("metadata", {}))
    volumes = [{"name": "scratch", "emptyDir": {}}] if more.get("emptydir") else []
    conditions = [{"type": "Ready", "status": "True" if more.get("ready", True) else "False"}]
    return {"metadata": metadata, "spec": {"volumes": volumes}, "status": {"phase": phase, "conditions": conditions}}


def budget(selector: Any, allowed: int = 0, name: str = "web", **more: Any) -> dict[str, Any]:
    spec = {"selector": selector, **more.get("spec", {})}
    return {
        "metadata": {"namespace": more.get("namespace", "shop"), "name": name},
        "spec": spec,
        "status": {"disruptionsAllowed": allowed, **more.get("status", {})},
    }


WEB = {"matchLabels": {"app": "web"}}


def test_a_schedulable_node_is_cordoned_by_us() -> None:
    found = begun_maintenance(
        node(allocatable={"nvidia.com/GA102GL_A10": "2", "nvidia.com/gpu": "9", "cpu": "8"}), BOOT
    )
    assert found == {"boot_id": BOOT, "reasons": [], "cordoned_by_us": True, "gpus": 2, "heartbeat": BEAT}


def test_an_admins_cordon_is_not_ours() -> None:
    assert begun_maintenance(node(cordoned=True), BOOT)["cordoned_by_us"] is False


@pytest.mark.parametrize("ours", [True, False])
def test_an_interrupted_run_knows_who_cordoned(ours: bool) -> None:
    mark = {"boot_id": BOOT, "cordoned_by_us": ours, "gpus": 1, "heartbeat": BEAT}
    begun = begun_maintenance(node(cordoned=True, mark=mark), LATER, ["x"])
    assert begun == {**mark, "boot_id": LATER, "reasons": ["x"]}


@pytest.mark.parametrize(
    ("cordoned", "boot_id", "reason", "stops"),
    [
        (True, LATER, "the IOMMU is off", True),
        (True, LATER, "0000:65:00.1 will be bound at boot", False),
        (True, BOOT, "the IOMMU is off", False),
        (False, LATER, "the IOMMU is off", False),
    ],
)
def test_nothing_is_rebooted_twice_for_one_thing(cordoned: bool, boot_id: str, reason: str, stops: bool) -> None:
    mark = begun_maintenance(node(), BOOT, ["the IOMMU is off"])
    target = node(cordoned=cordoned, mark=mark)
    assert bool(drain_obstacles(target, host_boot_id=boot_id, reboot_reasons=[reason])) is stops


def test_a_node_that_somebody_else_cordoned_is_left_to_them() -> None:
    (found,) = drain_obstacles(node(cordoned=True))
    assert "somebody else has cordoned it" in found and "node_maintenance_cordoned_ok" in found
    assert drain_obstacles(node(cordoned=True), cordoned_ok=True) == []
    for ours in (True, False):
        assert drain_obstacles(node(cordoned=True, mark={"boot_id": BOOT, "cordoned_by_us": ours})) == []


def test_a_node_with_another_boot_is_another_machine() -> None:
    target = node()
    target["status"]["nodeInfo"] = {"bootID": BOOT}
    assert drain_obstacles(target, host_boot_id=BOOT.upper()) == []
    (found,) = drain_obstacles(target, host_boot_id=LATER)
    assert BOOT in found and LATER in found
    assert drain_obstacles({}, host_boot_id=LATER) == []


def test_a_controller_in_a_container_on_the_host_is_seen() -> None:
    """It has a machine id of its own, and the boot id of its kernel."""
    given = {"host_machine_id": "abc", "controller_machine_id": "def", "host_boot_id": BOOT}
    assert drain_obstacles({}, **given, controller_boot_id=LATER) == []
    (found,) = drain_obstacles({}, **given, controller_boot_id=f"{BOOT}\n")
    assert "very host" in found


def test_the_mark_knows_which_parts_of_the_stack_have_begun_a_change() -> None:
    """A reboot in between must not take a node for finished that the cluster phase has left cordoned."""
    first = begun_maintenance(node(), BOOT, roll="operands")
    assert first["rolls"] == ["operands"] and first["cordoned_by_us"] is True
    second = begun_maintenance(node(cordoned=True, mark=first), BOOT, roll="kata_deploy")
    assert second["rolls"] == ["kata_deploy", "operands"] and second["cordoned_by_us"] is True
    reboot = begun_maintenance(node(cordoned=True, mark=second), LATER, ["the IOMMU is off"])
    assert reboot["rolls"] == second["rolls"] and reboot["boot_id"] == LATER
    assert "rolls" not in begun_maintenance(node(), BOOT, ["x"])
    annotations = {_maintenance.ANNOTATION: json.dumps(second)}
    assert begun_rolls(annotations) == second["rolls"] and begun_rolls({}) == []


def test_how_long_it_took_is_remembered_unless_it_was_interrupted() -> None:
    mark = begun_maintenance(node(), BOOT, ["the IOMMU is off"], begun=1000.9)
    assert ended_maintenance(mark, "reboot", 1312.2) == {"act": "reboot", "seconds": 312, "ended": 1312}
    resumed = begun_maintenance(node(cordoned=True, mark=mark), LATER, ["x"], begun=5000)
    assert ended_maintenance(resumed, "reboot", 5100) == {}
    assert ended_maintenance(mark, "reboot", 900) == {}, "a clock that was put back"
    assert ended_maintenance({"begun": True}, "reboot", 900) == ended_maintenance({}, "reboot", 900) == {}


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"seconds": "5", "act": "reboot"}', '{"seconds": 5}'])
def test_a_note_that_is_not_ours_is_not_shown(text: str) -> None:
    found = node()
    found["metadata"]["annotations"] = {_maintenance.LAST: text}
    assert maintenance_preview(found) == ["No pod has to be evicted."]


def test_what_agreeing_would_mean() -> None:
    found = node()
    found["metadata"]["annotations"] = {_maintenance.LAST: json.dumps({"act": "reboot", "seconds": 312, "ended": 1})}
    pods = [pod("web-2"), pod("web-1"), pod("logs", owner="DaemonSet")]
    assert maintenance_preview(found, pods) == [
        "These pods are evicted: shop/web-1, shop/web-2.",
        "The last maintenance of this node (reboot) took 5 min 12 s.",
    ]


def test_a_mark_on_a_schedulable_node_is_stale() -> None:
    stale = {"boot_id": BOOT, "cordoned_by_us": False, "gpus": 7}
    found = begun_maintenance(node(mark=stale), LATER)
    assert found["cordoned_by_us"] is True and found["boot_id"] == LATER and found["gpus"] == 0


@pytest.mark.parametrize("text", ["", "yes", "[]", "null", '{"boot_id": "x"}', '{"cordoned_by_us": "true"}'])
def test_what_we_did_not_write_is_not_ours(text: str) -> None:
    assert maintenance_mark(node(mark=text)) == {}
    assert begun_maintenance(node(cordoned=True, mark=text), BOOT)["cordoned_by_us"] is False


def test_no_annotation_is_no_mark() -> None:
    assert maintenance_mark({"metadata": {"name": "gpu-01"}}) == {}
    assert maintenance_mark({}) == {}


def test_ordinary_pods_are_no_obstacle() -> None:
    pods = [
        pod("web-1"),
        pod("agent", owner="DaemonSet", emptydir=True),
        pod("done", owner=None, phase="Succeeded", emptydir=True),
        pod("static", owner=None, metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}),
    ]
    assert drain_obstacles(node(), pods, [budget(WEB, allowed=1)]) == []


def test_everything_is_said_at_once() -> None:
    pods = [pod("web-1"), pod("bare", owner=None, labels={}), pod("cache-1", labels={}, emptydir=True)]
    found = drain_obstacles(
        node(labels=CONTROL_PLANE), pods, [budget(WEB)], [node(labels=CONTROL_PLANE)], False, False, "ab-c", "ABC\n"
    )
    keys = ("very host", "control-plane", "shop/bare", "shop/cache-1", "shop/web ")
    assert [key for key, text in zip(keys, found, strict=True) if key not in text] == []
    assert all(" Fix: " in text for text in found)


def test_consent_takes_pods_off_the_list() -> None:
    pods = [pod("bare", owner=None), pod("cache-1", emptydir=True)]
    assert len(drain_obstacles(node(), pods)) == 2
    assert len(drain_obstacles(node(), pods, force=True)) == 1
    assert drain_obstacles(node(), pods, force=True, delete_emptydir_data=True) == []


@pytest.mark.parametrize(
    ("selector", "stops"),
    [
        (WEB, True),
        ({}, True),
        (None, False),
        ({"matchLabels": {"app": "other"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
    ],
)
def test_selectors_of_budgets(selector: Any, stops: bool) -> None:
    assert bool(drain_obstacles(node(), [pod("web-1")], [budget(selector)])) is stops


def test_a_budget_of_another_namespace_does_not_count() -> None:
    assert drain_obstacles(node(), [pod("web-1")], [budget(WEB, namespace="other")]) == []


def test_two_budgets_for_one_pod_stop_even_when_they_allow() -> None:
    budgets = [budget(WEB, allowed=1), budget({}, allowed=1, name="all")]
    (found,) = drain_obstacles(node(), [pod("web-1")], budgets)
    assert "shop/all, shop/web" in found


def test_the_api_evicts_some_pods_whatever_the_budget_says() -> None:
    gone = pod("gone", metadata={"deletionTimestamp": BEAT})
    assert drain_obstacles(node(), [gone, pod("waiting", phase="Pending")], [budget(WEB)]) == []


def test_a_pod_that_is_not_ready_may_go_when_the_others_are_enough() -> None:
    sick = [pod("web-1", ready=False)]
    assert drain_obstacles(node(), sick, [budget(WEB, status={"desiredHealthy": 2, "currentHealthy": 1})])
    assert drain_obstacles(node(), sick, [budget(WEB, status={"desiredHealthy": 2, "currentHealthy": 2})]) == []
    assert drain_obstacles(node(), sick, [budget(WEB, spec={"unhealthyPodEvictionPolicy": "AlwaysAllow"})]) == []


@pytest.mark.parametrize(
    ("others", "stops"),
    [
        ([], True),
        ([node("cp-2", labels=CONTROL_PLANE)], False),
        ([node("cp-2", labels=CONTROL_PLANE, ready="False")], True),
        ([node("worker-1")], True),
    ],
)
def test_the_only_ready_control_plane(others: list[dict[str, Any]], stops: bool) -> None:
    target = node("cp-1", labels=CONTROL_PLANE)
    assert bool(drain_obstacles(target, control_planes=[target, *others])) is stops


def test_a_worker_may_go_beside_one_control_plane() -> None:
    assert drain_obstacles(node(), control_planes=[node("cp-1", labels=CONTROL_PLANE)]) == []


def test_a_host_without_node_is_asked_for_the_controller_only() -> None:
    assert drain_obstacles({}, host_machine_id="abc", controller_machine_id="def") == []
    assert drain_obstacles({}, host_machine_id="", controller_machine_id="") == []
    assert len(drain_obstacles({}, host_machine_id="abc", controller_machine_id="abc")) == 1


MARK = {"boot_id": BOOT, "cordoned_by_us": True, "gpus": 1, "heartbeat": BEAT}


@pytest.mark.parametrize(
    ("name", "given", "options", "wanted"),
    [
        ("maintenance_mark", (node(cordoned=True, mark=MARK),), {}, MARK),
        (
            "begun_maintenance",
            (node(cordoned=True, mark=MARK), LATER),
            {"reasons": ["x"]},
            {**MARK, "boot_id": LATER, "reasons": ["x"]},
        ),
        ("ended_maintenance", ({"begun": 5}, "reboot", 7.5), {}, {"act": "reboot", "seconds": 2, "ended": 7}),
        ("maintenance_preview", (node(),), {"pods": []}, ["No pod has to be evicted."]),
        ("drain_obstacles", (node(), [pod("bare", owner=None)], []), {"force": True, "host_machine_id": "abc"}, []),
    ],
)
def test_filters_hand_on_what_they_are_given(name: str, given: Any, options: dict[str, Any], wanted: Any) -> None:
    plugin = importlib.import_module(f"ansible_collections.katagpu.cluster.plugins.filter.{name}")
    assert list(plugin.FilterModule().filters()) == [name] and f"name: {name}\n" in plugin.DOCUMENTATION
    assert plugin.FilterModule().filters()[name](*given, **options) == wanted


def test_the_filter_of_obstacles_documents_every_option() -> None:
    plugin = importlib.import_module("ansible_collections.katagpu.cluster.plugins.filter.drain_obstacles")
    documented = [name for name in yaml.safe_load(plugin.DOCUMENTATION)["options"] if name != "_input"]
    assert documented == list(inspect.signature(drain_obstacles).parameters)[1:]
    assert len(plugin.FilterModule().filters()["drain_obstacles"](node(cordoned=True), [pod("bare", owner=None)])) == 2


def test_a_restart_leaves_the_host_and_most_api_servers_running() -> None:
    machine_id = "728afaec4678466693b066679238be21"
    one = {"control_planes": [node(labels=CONTROL_PLANE)], "host_machine_id": machine_id}
    same = {**one, "controller_machine_id": machine_id}
    target = node(labels=CONTROL_PLANE)
    assert len(drain_obstacles(target, **same)) == 2
    assert drain_obstacles(target, **same, act="restart of kubelet.service", ends_api=False) == []
    (told,) = drain_obstacles(target, **same, act="restart of k3s.service")
    assert "so the restart of k3s.service would take the API away" in told
