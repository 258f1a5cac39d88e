# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for the CoCo operator v0.7.0 as a pure function: each bad habit with the fact row that it cites."""

from __future__ import annotations

import copy
from typing import Any

from tests.lab.standins import coco_operator, facts
from tests.lab.standins.actions import Action, Create, Delete, Patch, Requeue, matches

T = facts.COCO_OPERATOR
SELECTED = {"nvidia.com/gpu.workload.config": "vm-passthrough"}
PRE = {"cc-preinstall/done": "true"}
DONE = {"katacontainers.io/kata-runtime": "true"}
CLEANUP = {"katacontainers.io/kata-runtime": "cleanup"}
FINALIZER = facts.value(T, "order.finalizer")
SAMPLE = facts.value(T, "sample")


def runtime(**metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "confidentialcontainers.org/v1beta1",
        "kind": "CcRuntime",
        "metadata": {"name": "ccruntime-sample", "uid": "u2", "resourceVersion": "1", **metadata},
        "spec": {
            "runtimeName": "kata",
            "ccNodeSelector": {"matchLabels": SELECTED},
            "config": {
                "installType": "bundle",
                "payloadImage": SAMPLE["payloadImage"],
                "runtimeClassNames": SAMPLE["runtimeClassNames"],
                "installDoneLabel": DONE,
                "uninstallDoneLabel": CLEANUP,
                "preInstall": {"image": SAMPLE["hookImage"]},
                "postUninstall": {"image": SAMPLE["hookImage"]},
            },
        },
    }


class World:
    """A cluster that takes what the reconcile wants."""

    def __init__(self, nodes: dict[str, dict[str, str]], item: dict[str, Any] | None = None) -> None:
        self.runtime: dict[str, Any] | None = item or runtime()
        self.nodes = {name: dict(labels) for name, labels in nodes.items()}
        self.objects: dict[str, dict[str, Any]] = {"DaemonSet": {}, "RuntimeClass": {}}

    def step(self) -> list[Action]:
        assert self.runtime is not None
        actions = coco_operator.reconcile(
            coco_operator.CcState(
                runtime=copy.deepcopy(self.runtime),
                nodes=[{"metadata": {"name": name, "labels": labels}} for name, labels in self.nodes.items()],
                namespace="confidential-containers-system",
                daemonsets=dict(self.objects["DaemonSet"]),
                runtime_classes=dict(self.objects["RuntimeClass"]),
            )
        )
        for one in actions:
            self._take(one)
        return actions

    def _take(self, one: Action) -> None:
        if isinstance(one, Create):
            self.objects[one.body["kind"]][one.body["metadata"]["name"]] = one.body
        elif isinstance(one, Delete):
            self.objects[one.kind].pop(one.name)
        elif isinstance(one, Patch) and one.kind == "Node":
            for key, value in one.patch["metadata"]["labels"].items():
                if value is None:
                    self.nodes[one.name].pop(key)
                else:
                    self.nodes[one.name][key] = value
        elif isinstance(one, Patch):
            assert self.runtime is not None
            if one.subresource == "status":
                self.runtime["status"] = one.patch["status"]
            else:
                self.runtime["metadata"]["finalizers"] = one.patch["metadata"]["finalizers"]
        if self.runtime and self.runtime["metadata"].get("deletionTimestamp"):
            self.runtime = self.runtime if self.runtime["metadata"].get("finalizers") else None

    @property
    def completed(self) -> int:
        assert self.runtime is not None
        installation = self.runtime.get("status", {}).get("installationStatus", {})
        return int(installation.get("completed", {}).get("completedNodesCount", 0))

    def daemonsets(self) -> list[str]:
        return sorted(self.objects["DaemonSet"])


def installed(count: int = 2) -> World:
    world = World({f"n{index}": {**SELECTED, **PRE, **DONE} for index in range(count)})
    for _ in range(3):
        world.step()
    assert world.runtime is not None and world.runtime["metadata"]["finalizers"] == [FINALIZER]
    return world


def test_without_a_matching_node_nothing_is_written_but_the_uninstall_daemonset() -> None:
    """order.no-nodes, order.uninstall-first"""
    world = World({"n1": {}})
    actions = world.step()
    assert world.daemonsets() == ["cc-operator-daemon-uninstall"]
    assert "status" not in (world.runtime or {}) and Requeue(15) in actions


def test_pre_install_comes_first_and_alone() -> None:
    """order.pre-install, order.install"""
    world = World({"n1": SELECTED, "n2": SELECTED})
    assert Requeue(10) in world.step()
    assert "cc-operator-daemon-install" not in world.daemonsets()
    world.nodes["n1"] |= PRE
    world.step()
    assert "cc-operator-daemon-install" not in world.daemonsets(), "one of two nodes is not enough"
    world.nodes["n2"] |= PRE
    world.step()
    assert "cc-operator-daemon-install" in world.daemonsets()


def test_classes_and_finalizer_come_one_reconcile_after_the_counters() -> None:
    """order.classes, order.finalizer"""
    world = World({"n1": {**SELECTED, **PRE}, "n2": {**SELECTED, **PRE}})
    world.step()
    world.nodes["n1"] |= DONE
    world.step()
    assert world.completed == 1 and not world.objects["RuntimeClass"]
    world.nodes["n2"] |= DONE
    world.step()
    assert world.completed == 2
    assert not world.objects["RuntimeClass"] and "finalizers" not in (world.runtime or {})["metadata"]
    world.step()
    assert sorted(world.objects["RuntimeClass"]) == sorted(SAMPLE["runtimeClassNames"])
    assert (world.runtime or {})["metadata"]["finalizers"] == [FINALIZER]
    assert [one for one in world.step() if isinstance(one, (Create, Patch))] == [], "converged"


def test_counters_only_grow() -> None:
    """status.counters"""
    world = installed()
    del world.nodes["n1"]["nvidia.com/gpu.workload.config"]
    world.step()
    world.step()
    assert world.runtime is not None
    assert (world.runtime["status"]["totalNodesCount"], world.completed) == (1, 2)


def test_an_existing_class_is_left_alone() -> None:
    """classes.form"""
    world = World({"n1": {**SELECTED, **PRE, **DONE}})
    foreign = {"metadata": {"name": "kata"}, "handler": "something-else"}
    world.objects["RuntimeClass"]["kata"] = foreign
    for _ in range(3):
        world.step()
    assert world.objects["RuntimeClass"]["kata"] is foreign
    made = world.objects["RuntimeClass"]["kata-qemu"]
    assert (made["handler"], made["scheduling"]) == ("kata-qemu", {"nodeSelector": SELECTED})


def test_daemonsets_have_no_tolerations_and_hooks_no_owner() -> None:
    """daemonset.*"""
    world = installed()
    (world.runtime or {})["metadata"]["deletionTimestamp"] = "now"
    world.nodes["n0"] |= CLEANUP
    world.nodes["n1"] |= CLEANUP
    world.objects["DaemonSet"]["cc-operator-pre-install-daemon"] = coco_operator.coco_objects.daemonset(
        "pre-install", runtime(), "confidential-containers-system"
    )
    world.step()
    assert len(world.daemonsets()) == 4
    for operation in ("pre-install", "install", "uninstall", "post-uninstall"):
        fact = facts.value(T, f"daemonset.{operation}")
        made = world.objects["DaemonSet"][fact["name"]]
        pod = made["spec"]["template"]["spec"]
        assert "tolerations" not in pod and pod["containers"][0]["name"] == fact["container"]
        assert ("ownerReferences" in made["metadata"]) is fact["owned"]
        assert made["spec"]["selector"]["matchLabels"] == {"name": fact["name"]}
        wanted = SELECTED if fact["node_selector"] == "ccNodeSelector" else CLEANUP
        assert pod["nodeSelector"] == wanted


def test_a_half_installed_runtime_goes_at_once_and_uninstalls_nothing() -> None:
    """delete.half-installed"""
    world = World({"n1": {**SELECTED, **PRE}})
    world.step()
    (world.runtime or {})["metadata"]["deletionTimestamp"] = "now"
    before = copy.deepcopy(world.nodes)
    assert world.step() == [] and world.nodes == before


def test_deletion_in_order() -> None:
    """delete.order, status.uninstall-dropped"""
    world = installed()
    (world.runtime or {})["metadata"]["deletionTimestamp"] = "now"
    world.step()
    assert all(matches(labels, CLEANUP) for labels in world.nodes.values())
    assert "unInstallationStatus" not in (world.runtime or {})["status"]
    world.step()
    assert "cc-operator-post-uninstall-daemon" in world.daemonsets()
    world.nodes["n0"] |= {"cc-postuninstall/done": "true"}
    world.step()
    assert world.runtime is not None, "one of two nodes is not enough"
    world.nodes["n1"] |= {"cc-postuninstall/done": "true"}
    world.step()
    assert world.runtime is None
    assert world.daemonsets() == ["cc-operator-daemon-install"], "the garbage collector takes that one"
    assert all(labels == SELECTED for labels in world.nodes.values())


def test_a_node_that_lost_the_selector_label_blocks_the_deletion() -> None:
    """status.counters, delete.order: the count is compared with the total of the last install pass."""
    world = installed()
    (world.runtime or {})["metadata"]["deletionTimestamp"] = "now"
    del world.nodes["n1"]
    for _ in range(5):
        world.step()
    assert world.runtime is not None and world.runtime["metadata"]["finalizers"] == [FINALIZER]
