# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.labels import problems
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts as charts
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _manifests as manifests
from ansible_collections.katagpu.cluster.plugins.plugin_utils._labels import RUNTIME

STACK: dict[str, Any] = {
    "gpu_operator": {"deployment": "the-operator", "cluster_policy": "the-policy"},
    "operands": {
        "kata": [{"daemonset": "kata-a", "enabled_by": "a"}, {"daemonset": "kata-b", "enabled_by": "b"}],
        "container": [{"daemonset": "container-a"}],
    },
    "runtime_classes": {"operator": ["class-a", "class-b"]},
    "readiness": {},
    "kata_deploy": {
        "daemonset": "kata-installer",
        "done_label": {"done": "true"},
        "runtime_classes": ["class-c"],
        "values": {"mode": "daemonset", "shims": {"one": {"enabled": True}}},
    },
    "workload": {
        "name": "sample",
        "container": "one",
        "restart_policy": "OnFailure",
        "annotations": {"cdi": "gpu=0"},
        "memory_annotation": "memory",
    },
}


class TestNamedNodes:
    def test_names_roles_and_addresses(self) -> None:
        hostvars = {
            "a.example.com": {"katagpu_node_name": "a", "ansible_host": "192.0.2.1", "katagpu_reboot_ok": "yes"},
            "b": {"katagpu_record": {"boot_id": "u-1", "machine_id": "", "gpu_count": 2, "findings": []}},
        }
        assert manifests.named_nodes(hostvars, kata=["a.example.com"], container=["b"]) == {
            "a": {"role": "kata", "host": "a.example.com", "addresses": ["192.0.2.1"], "maintenance_ok": True},
            "b": {
                "role": "container",
                "host": "b",
                "addresses": [],
                "maintenance_ok": False,
                "boot_id": "u-1",
                "gpu_count": 2,
            },
        }

    def test_a_forgotten_record_is_no_record(self) -> None:
        assert manifests.named_nodes({"a": {"katagpu_record": {}}}, ["a"], []) == {
            "a": {"role": "kata", "host": "a", "addresses": [], "maintenance_ok": False}
        }

    def test_consent_to_the_role_counts_before_that_to_the_playbook(self) -> None:
        hosts = {"a": {"katagpu_reboot_ok": True, "node_maintenance_reboot_ok": False}}
        assert manifests.named_nodes(hosts, ["a"], [])["a"]["maintenance_ok"] is False

    def test_a_host_in_both_groups_is_refused(self) -> None:
        with pytest.raises(KatagpuError, match="in kata_nodes and in container_nodes at once: a"):
            manifests.named_nodes({"a": {}}, kata=["a"], container=["a"])

    def test_two_hosts_for_one_node_are_refused(self) -> None:
        with pytest.raises(KatagpuError, match="two hosts of the inventory are node n"):
            manifests.named_nodes({"a": {"katagpu_node_name": "n"}, "n": {}}, kata=["a"], container=["n"])


class TestCcRuntime:
    UPSTREAM = (
        {"kind": "Namespace", "metadata": {"name": "x"}},
        {"kind": "CcRuntime", "spec": {"runtimeName": "kata", "ccNodeSelector": {"matchLabels": {"upstream": "1"}}}},
    )

    def test_the_selector_replaces_that_of_upstream(self) -> None:
        given_manifests = copy.deepcopy(self.UPSTREAM)
        result = manifests.cc_runtime_manifests(given_manifests, {"ours": "yes"})
        assert result[0] == self.UPSTREAM[0]
        assert result[1]["spec"] == {"runtimeName": "kata", "ccNodeSelector": {"matchLabels": {"ours": "yes"}}}
        assert given_manifests == self.UPSTREAM, "the input was changed"

    def test_an_empty_selector_is_refused(self) -> None:
        with pytest.raises(KatagpuError, match="containerd of every node would be replaced"):
            manifests.cc_runtime_manifests(self.UPSTREAM, {})

    def test_manifests_without_a_runtime_are_refused(self) -> None:
        with pytest.raises(KatagpuError, match="contain no CcRuntime"):
            manifests.cc_runtime_manifests(self.UPSTREAM[:1], {"ours": "yes"})


class TestImages:
    def test_names_are_replaced_and_tags_are_kept(self) -> None:
        containers = [
            {"image": "a.io/x/proxy:v1"},
            {"image": "a.io/x/proxy-other:v1"},
            {"image": "a.io/x/proxy@sha256:0"},
        ]
        given = [
            {"kind": "Deployment", "spec": {"template": {"spec": {"containers": containers}}}},
            {"kind": "Namespace"},
        ]
        found = manifests.replaced_images(given, {"a.io/x/proxy": "b.io/proxy"})
        images = [entry["image"] for entry in found[0]["spec"]["template"]["spec"]["containers"]]
        assert images == ["b.io/proxy:v1", "a.io/x/proxy-other:v1", "b.io/proxy@sha256:0"]
        assert containers[0]["image"] == "a.io/x/proxy:v1", "the input was changed"


class TestWaits:
    def waits(self, kata: list[str], container: list[str]) -> list[dict[str, Any]]:
        values = {"a": {"x": 1}, "b": {"enabled": False}}
        return manifests.gpu_operator_waits(STACK, namespace="ns", kata=kata, container=container, values=values)

    def test_operands_of_both_workloads_name_their_nodes(self) -> None:
        found = {(entry["kind"], entry["name"]): entry.get("until") for entry in self.waits(["k1", "k2"], ["c1"])}
        assert found == {
            ("Deployment", "the-operator"): None,
            ("ClusterPolicy", "the-policy"): None,
            ("DaemonSet", "kata-a"): {"nodes": ["k1", "k2"]},
            ("DaemonSet", "container-a"): {"nodes": ["c1"]},
            ("RuntimeClass", "class-a"): None,
            ("RuntimeClass", "class-b"): None,
            ("Node", "k1"): {"allocatable_gpus": 1},
            ("Node", "k2"): {"allocatable_gpus": 1},
        }

    def test_nodes_are_waited_for_until_their_operands_say_that_they_are_done(self) -> None:
        stack = {**STACK, "readiness": {"kata_labels": {"cc": "off"}}}
        waits = manifests.gpu_operator_waits(stack, namespace="ns", kata=["k1"], container=[])
        assert waits[-1]["until"] == {"labels": {"cc": "off"}, "allocatable_gpus": 1}

    def test_classes_of_the_values_take_the_place_of_the_charts(self) -> None:
        def classes(kata_manager: dict[str, Any]) -> list[str]:
            values = {"kataManager": kata_manager}
            waits = manifests.gpu_operator_waits(STACK, namespace="ns", kata=["k1"], container=[], values=values)
            return [entry["name"] for entry in waits if entry["kind"] == "RuntimeClass"]

        assert classes({}) == ["class-a", "class-b"]
        assert classes({"config": {"runtimeClasses": [{"name": "mine"}]}}) == ["mine"]
        assert classes({"enabled": False}) == []

    def test_coco_is_waited_for_by_what_each_node_says(self) -> None:
        stack = {
            "coco_operator": {
                "api_version": "v1",
                "namespace": "ns",
                "ccruntime": "r",
                "daemonsets": ["d"],
                "done_label": {"done": "true"},
                "containerd_version": "containerd://1",
                "runtime_classes": ["c"],
            }
        }
        waits = manifests.coco_operator_waits(stack, nodes=["k1"])
        assert [entry["kind"] for entry in waits] == ["CcRuntime", "DaemonSet", "Node", "RuntimeClass"]
        wanted = {"labels": {"done": "true"}, "container_runtime": "containerd://1", "ready": True}
        assert waits[2]["until"] == wanted

    def test_kata_is_waited_for_by_the_label_and_not_by_the_daemonset_alone(self) -> None:
        waits = manifests.kata_deploy_waits(STACK, namespace="ns", nodes=["k1"])
        assert {(entry["kind"], entry["name"]): entry.get("until") for entry in waits} == {
            ("DaemonSet", "kata-installer"): {"nodes": ["k1"]},
            ("RuntimeClass", "class-c"): None,
            ("Node", "k1"): {"labels": {"done": "true"}, "ready": True},
        }

    def test_in_job_mode_there_is_no_daemonset_to_wait_for(self) -> None:
        waits = manifests.kata_deploy_waits(STACK, namespace="ns", nodes=["k1"], values={"deploymentMode": "job"})
        assert [entry["kind"] for entry in waits] == ["RuntimeClass", "Node"]

    def test_a_workload_without_nodes_is_not_waited_for(self) -> None:
        names = {entry["name"] for entry in self.waits([], ["c1"])}
        assert "kata-a" not in names and "class-a" not in names and "container-a" in names

    def test_what_has_a_namespace_names_it(self) -> None:
        for entry in self.waits(["k"], ["c"]):
            assert ("namespace" in entry) == (entry["kind"] in ("Deployment", "DaemonSet"))


class TestKataDeploy:
    def values(self, **changes: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"distribution": "k8s", "node_selector": {"a": "b"}, "tolerations": [], "values": {}}
        return charts.kata_deploy_values(STACK, **{"chart_version": "4.0.0+x", **options, **changes})

    def test_release_then_role_then_user(self) -> None:
        values = self.values(
            distribution="rke2",
            tolerations=[{"key": "gpu", "operator": "Exists"}],
            values={"mode": "job", "shims": {"one": {"x": 1}}},
        )
        assert values == {
            "mode": "job",
            "shims": {"one": {"enabled": True, "x": 1}},
            "k8sDistribution": "rke2",
            "nodeSelector": {"a": "b", RUNTIME: values["nodeSelector"][RUNTIME]},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        }

    def test_whatever_restarts_the_installer_changes_the_mark(self) -> None:
        """A node keeps the runtime that it has until it is drained, whichever input it is that changed."""
        changes: list[dict[str, Any]] = [
            {},
            {"chart_version": "4.0.1"},
            {"distribution": "k3s"},
            {"tolerations": [{"key": "x"}]},
            {"values": {"debug": True}},
            {"node_selector": {"a": "c"}},
        ]
        marks = [self.values(**change)["nodeSelector"][RUNTIME] for change in changes]
        assert len(set(marks)) == len(marks)
        assert marks[0] == self.values()["nodeSelector"][RUNTIME]
        assert problems({"n": {RUNTIME: marks[0]}}) == [] and marks[0].startswith("4.0.0-x-")
        long = self.values(chart_version="4.0.0-0." + "x" * 80)["nodeSelector"]
        assert problems({"n": long}) == []

    def test_jobs_go_to_the_same_nodes(self) -> None:
        paths = ["job.nodeSelector", "job.cleanup.nodeSelector"]
        stack = {"kata_deploy": {**STACK["kata_deploy"], "job_node_selectors": paths}}
        arguments = ("k8s", {"a": "b"}, [], {"deploymentMode": "job"})
        values = charts.kata_deploy_values(stack, *arguments)
        assert values["job"] == {"nodeSelector": {"a": "b"}, "cleanup": {"nodeSelector": {"a": "b"}}}
        assert values["nodeSelector"] == {"a": "b"}, "Helm makes all Jobs at once"
        assert "job" not in charts.kata_deploy_values(stack, "k8s", {"a": "b"}, [], {}, "4")

    def test_every_node_of_the_cluster_is_refused(self) -> None:
        with pytest.raises(KatagpuError, match="containerd of every node would be restarted"):
            self.values(node_selector={})
        with pytest.raises(KatagpuError, match="containerd of every node would be restarted"):
            self.values(values={"nodeSelector": None})

    def test_privileged_pods_are_allowed_where_operands_run(self) -> None:
        metadata = manifests.helm_namespace("ns", "kata-deploy")["metadata"]
        assert metadata["labels"] == {"pod-security.kubernetes.io/enforce": "privileged"}
        assert metadata["annotations"] == {"katagpu.io/helm-kata-deploy": "managed"}


class TestSkippedWorkloads:
    def test_an_annotation_with_an_index_proves_nothing_on_a_node_with_two_gpus(self) -> None:
        stack = {"workload": {"name": "w", "annotations": {"cdi": "gpu=0"}}, "runtime_classes": {"gpu": "c"}}
        nodes = {
            "one": {"allocatable": {"nvidia.com/A": "1"}},
            "two": {"allocatable": {"nvidia.com/A": "1", "nvidia.com/B": "1"}},
        }
        found = manifests.skipped_workloads(stack, nodes, ["one", "two", "gone"])
        assert [(item["node"], item["result"]) for item in found] == [("two", "skipped")]
        stack["workload"] = {"name": "w", "annotations": {}}
        assert manifests.skipped_workloads(stack, nodes, ["one", "two"]) == []


class TestWorkload:
    def pod(self, **changes: Any) -> dict[str, Any]:
        options: dict[str, Any] = {
            "node": "k1",
            "resources": {"nvidia.com/B": 1, "nvidia.com/A": 2},
            "image": "example.com/i:1",
            "namespace": "ns",
            "memory_mib": 8192,
            "runtime_class": "class-a",
            "annotations": {},
        }
        return manifests.workload_pod(STACK, **{**options, **changes})

    def test_memory_by_limit_where_the_release_knows_no_annotation(self) -> None:
        workload = {key: value for key, value in STACK["workload"].items() if key != "memory_annotation"}
        pod = manifests.workload_pod(
            {"workload": {**workload, "annotations": {}}}, "k1", {"nvidia.com/pgpu": 1}, "i", "ns", 8192, "class-a", {}
        )
        assert pod["metadata"]["annotations"] == {}
        assert pod["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/pgpu": "1", "memory": "8192Mi"}

    def test_it_tolerates_the_taints_of_its_node(self) -> None:
        pod = self.pod(taints=[{"key": "team", "value": "ml", "effect": "NoSchedule"}])
        assert pod["spec"]["tolerations"] == [{"key": "team", "operator": "Exists", "effect": "NoSchedule"}]
        assert "tolerations" not in self.pod()["spec"]

    def test_one_gpu_of_one_resource_on_the_node(self) -> None:
        pod = self.pod()
        assert pod["spec"]["containers"][0]["resources"] == {"limits": {"nvidia.com/A": "1"}}
        required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        field = {"key": "metadata.name", "operator": "In", "values": ["k1"]}
        assert required == {"nodeSelectorTerms": [{"matchFields": [field]}]}
        assert "nodeSelector" not in pod["spec"]
        assert pod["spec"]["runtimeClassName"] == "class-a"
        assert pod["metadata"]["annotations"] == {"cdi": "gpu=0", "memory": "8192"}

    def test_it_carries_our_mark_and_ends_by_itself(self) -> None:
        pod = self.pod(timeout_seconds=900)
        assert pod["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "katagpu.cluster"}
        assert pod["spec"]["activeDeadlineSeconds"] == 900
        assert "activeDeadlineSeconds" not in self.pod()["spec"]

    def test_annotations_of_the_user_come_last(self) -> None:
        annotations = self.pod(annotations={"memory": "1", "more": "x"})["metadata"]["annotations"]
        assert annotations == {"cdi": "gpu=0", "memory": "1", "more": "x"}
        assert STACK["workload"]["annotations"] == {"cdi": "gpu=0"}

    def test_a_node_without_gpus_is_an_error(self) -> None:
        with pytest.raises(KatagpuError, match="k1 offers no passthrough GPU resource"):
            self.pod(resources={})


def pod(name: str, phase: str = "Running", owner: str = "", mirror: bool = False, **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "ns", "name": name, **more}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner}]
    if mirror:
        metadata["annotations"] = {"kubernetes.io/config.mirror": "x"}
    return {"metadata": metadata, "status": {"phase": phase}}


class TestUndrained:
    def test_only_what_a_drain_evicts_counts(self) -> None:
        pods = [
            pod("b"),
            pod("a", owner="ReplicaSet"),
            pod("pending", phase="Pending"),
            pod("done", phase="Succeeded"),
            pod("broken", phase="Failed"),
            pod("daemon", owner="DaemonSet"),
            pod("static", mirror=True, owner="Node"),
            pod("orphan", labels={"pod-template-generation": "1"}),
        ]
        assert manifests.undrained_pods(pods) == ["ns/a", "ns/b", "ns/pending"]

    @given(st.lists(st.sampled_from(["Running", "Pending", "Unknown"]), max_size=5))
    def test_a_pod_that_lives_is_never_overlooked(self, phases: list[str]) -> None:
        pods = [pod(str(index), phase=phase) for index, phase in enumerate(phases)]
        assert len(manifests.undrained_pods(pods)) == len(phases)


def test_runtime_class_waits() -> None:
    assert manifests.runtime_class_waits(["a"]) == [
        {"api_version": "node.k8s.io/v1", "kind": "RuntimeClass", "name": "a"}
    ]
