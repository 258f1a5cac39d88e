# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole site.yml on a fresh lab: what it refuses, what check mode leaves alone, what it makes, and that it is done once.

The tests build on each other in the order in which they stand, as an operator would go.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator

import pytest

from tests.integration import lab

RELEASE = os.environ.get("KATAGPU_TEST_RELEASE", "26.7")
# What the release is seen by in the cluster: classes, operands of a Kata node, Helm releases with their namespaces.
EXPECTED: dict[str, dict[str, set[str]]] = {
    "26.7": {
        "classes": {"kata-qemu-nvidia-gpu", "nvidia"},
        "operands": {
            "nvidia-vfio-manager",
            "nvidia-cc-manager",
            "nvidia-sandbox-validator",
            "nvidia-kata-sandbox-device-plugin-daemonset",
        },
        "helm": {"gpu-operator/gpu-operator", "kata-system/kata-deploy"},
        "resources": {"nvidia.com/pgpu"},
    },
    "23.9": {
        "classes": {
            *("kata", "kata-clh", "kata-clh-tdx", "kata-qemu", "kata-qemu-tdx", "kata-qemu-sev", "kata-qemu-snp"),
            *("kata-qemu-nvidia-gpu", "kata-qemu-nvidia-gpu-snp", "nvidia"),
        },
        "operands": {
            "nvidia-kata-manager",
            "nvidia-vfio-manager",
            "nvidia-sandbox-device-plugin-daemonset",
            "nvidia-sandbox-validator",
        },
        "helm": {"gpu-operator/gpu-operator"},
        "resources": {"nvidia.com/GA102GL_A10", "nvidia.com/GA102GL_RTX_A6000"},
    },
}
MACHINES = os.environ.get("KATAGPU_TEST_MACHINES", "a10 workstation").split()
GPU = {"a10": ["00:08.0"], "workstation": ["00:08.0", "00:08.1"]}
NODES = [f"kata-{machine}" for machine in MACHINES]


@pytest.fixture(scope="module", autouse=True)
def fresh_lab() -> Iterator[None]:
    lab.lab("down")
    # The legacy stack is for containerd 1; nodes of the current one run containerd 2.
    if RELEASE == "23.9":
        os.environ["KATAGPU_LAB_CONTAINERD"] = "1.7.24"
    print(lab.lab("up", "--machines", *MACHINES))
    yield
    if not os.environ.get("KATAGPU_KEEP_LAB"):
        lab.lab("down")


@pytest.fixture(scope="module")
def boots() -> dict[str, str]:
    """Boot ids before anything was done."""
    return {machine: boot_id(machine) for machine in MACHINES}


def site(*arguments: str) -> lab.PlaybookRun:
    return lab.playbook("site", "-e", f"katagpu_release={RELEASE}", *arguments)


def boot_id(machine: str) -> str:
    return lab.guest(machine, "cat /proc/sys/kernel/random/boot_id").strip()


@pytest.fixture(scope="module")
def container_node() -> dict[str, object]:
    """The container node before anything was done."""
    return untouchable("container-1")


def untouchable(node: str) -> dict[str, object]:
    """What a Kata runtime that comes to a node would change. The container toolkit restarts containerd too, so that is no sign."""
    found = lab.kubectl_json("get", "node", node)
    pods = lab.kubectl_json("get", "pods", "--all-namespaces", "--field-selector", f"spec.nodeName={node}")["items"]
    installers = {"kata-system", "confidential-containers-system"}
    handlers = [item["name"] for item in found["status"].get("runtimeHandlers", [])]
    return {
        "runtime": found["status"]["nodeInfo"]["containerRuntimeVersion"],
        "boot": found["status"]["nodeInfo"]["bootID"],
        "handlers": [name for name in handlers if name.startswith("kata")],
        "label": found["metadata"]["labels"].get("katacontainers.io/kata-runtime"),
        "daemons": [
            pod["metadata"]["name"]
            for pod in pods
            if pod["metadata"]["namespace"] in installers
            and any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))
        ],
    }


def report() -> dict[str, object]:
    data: dict[str, object] = json.loads((lab.STATE / "report" / "report.json").read_text(encoding="utf-8"))
    return data


class TestRefusals:
    """Bad input ends in one clear message and changes nothing."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["-e", "katagpu_release=22.9"], "22.9"),
            (["-e", "katagpu_release=25.10"], "25.10 is recognised, but not installed"),
            (["-e", "katagpu_reboot_okay=true"], "katagpu_reboot_ok"),
            (["-e", "gpu_operator_vaules={}"], "gpu_operator_values"),
            (["-e", "katagpu_vfio_owner=nobody"], "nobody"),
            (["-e", "katagpu_maintenance_batch=100%"], "katagpu_maintenance_batch"),
            (["-e", '{"katagpu_accepted_findings": []}'], "kubernetes_range"),
            (["-e", '{"katagpu_accepted_findings": [{"id": "kubernetes_range"}]}'], "needs an id and a reason"),
            (["-e", "katagpu_kubeconfig=/nonexistent/kubeconfig"], "/nonexistent/kubeconfig"),
            (["-e", "katagpu_node_name=not-a-node", "--limit", "kata-a10,localhost"], "not-a-node"),
            (["-e", "katagpu_default_workload=vm-passthough"], "vm-passthrough"),
            (["-e", '{"gpu_operator_values": {"kataManager": {"enabled": true}}}'], "installs Kata by kata-deploy"),
            (
                ["-e", '{"katagpu_release": "23.9", "gpu_operator_values": {"sandboxWorkloads": {"mode": "kata"}}}'],
                "has no such key",
            ),
            (["-e", "katagpu_release=25.3"], "katagpu_release_consent: '25.3'"),
            (["-e", '{"kata_deploy_node_selector": {}}'], "containerd of every node would be restarted"),
            (["--limit", "kata-a10"], "name localhost too"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    def test_is_refused_with_its_message(self, arguments: list[str], message: str) -> None:
        run = lab.playbook("site", "--check", *arguments)
        assert run.returncode != 0, run.output
        assert message in run.output
        assert "Traceback" not in run.output
        assert not any(run.changed.values()), run.recap

    def test_an_empty_inventory_fails(self, tmp_path: object) -> None:
        run = lab.playbook("site", inventory="localhost,")
        assert run.returncode != 0
        assert "kata_nodes" in run.output


def test_the_machine_is_not_ready_at_first(boots: dict[str, str]) -> None:
    for machine in MACHINES:
        assert lab.guest(machine, "ls /sys/kernel/iommu_groups | wc -l").strip() == "0"
        assert "vfio-pci" not in lab.guest(machine, "lspci -nnk -d 10de:")
        # Otherwise that it stays out afterwards would prove nothing.
        assert "nouveau" in lab.guest(machine, "cut -d' ' -f1 /proc/modules").split()


def test_check_mode_shows_a_plan_and_changes_nothing(boots: dict[str, str]) -> None:
    before = {machine: lab.tree(machine) for machine in MACHINES}
    cluster_before = lab.cluster_dump()
    run = site("--check", "--diff")
    assert run.returncode == 0, run.output
    assert "intel_iommu=on" in run.output
    assert "would be drained and rebooted once" in run.output
    for machine in MACHINES:
        after = lab.tree(machine)
        assert sorted(set(before[machine]) ^ set(after)) == []
        assert boot_id(machine) == boots[machine]
    assert lab.cluster_dump() == cluster_before


def test_site_provisions(boots: dict[str, str], container_node: dict[str, object]) -> None:
    run = site()
    print(f"site.yml: {run.seconds:.0f} s")
    assert run.returncode == 0, run.output
    for machine in MACHINES:
        assert boot_id(machine) != boots[machine]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_function_of_the_gpu_is_on_vfio(machine: str) -> None:
    listing = lab.guest(machine, "lspci -nnk -d 10de:")
    assert listing.count("Kernel driver in use: vfio-pci") == len(GPU[machine]), listing


def test_no_kata_runtime_comes_to_the_container_node(container_node: dict[str, object]) -> None:
    """kata-deploy and the CoCo operator restart containerd wherever their DaemonSets run."""
    assert (container_node["label"], container_node["daemons"]) == (None, [])
    assert untouchable("container-1") == container_node


@pytest.mark.skipif(RELEASE == "23.9", reason="this release needs nothing of the kubelet")
def test_the_kubelet_gives_a_virtual_machine_time_to_start() -> None:
    for machine in MACHINES:
        text = lab.guest(machine, "cat /var/lib/kubelet/config.yaml")
        assert "runtimeRequestTimeout: 20m" in text and "runtimeRequestTimeout: 0s" not in text
        assert "cgroupDriver: systemd" in text and "rotateCertificates: true" in text


def test_the_runtime_classes_of_the_release_exist() -> None:
    names = {item["metadata"]["name"] for item in lab.kubectl_json("get", "runtimeclass")["items"]}
    assert names >= EXPECTED[RELEASE]["classes"]


def test_the_helm_releases_have_fixed_names() -> None:
    found = json.loads(lab.lab("helm", "list", "-A", "-o", "json"))
    assert {f"{item['namespace']}/{item['name']}" for item in found} == EXPECTED[RELEASE]["helm"]


def test_the_gpus_are_offered_under_the_name_of_the_release() -> None:
    for node in lab.kubectl_json("get", "nodes")["items"]:
        if node["metadata"]["name"] in NODES:
            offered = {name for name in node["status"]["allocatable"] if name.startswith("nvidia.com/")}
            assert offered and offered <= EXPECTED[RELEASE]["resources"]


def test_the_operands_run_where_they_should() -> None:
    pods = lab.kubectl_json("get", "pods", "-n", "gpu-operator")["items"]
    running = {
        (pod["spec"]["nodeName"], pod["metadata"]["name"].rsplit("-", 1)[0])
        for pod in pods
        if pod["status"]["phase"] == "Running"
    }
    for node in NODES:
        for operand in EXPECTED[RELEASE]["operands"]:
            assert (node, operand) in running, sorted(running)
    assert ("container-1", "nvidia-device-plugin-daemonset") in running


def test_only_named_nodes_are_labelled_and_nobody_is_cordoned() -> None:
    workload = "nvidia.com/gpu.workload.config"
    nodes = {item["metadata"]["name"]: item for item in lab.kubectl_json("get", "nodes")["items"]}
    assert {name: node["metadata"]["labels"].get(workload) for name, node in nodes.items()} == {
        **{name: "vm-passthrough" for name in NODES},
        "container-1": "container",
    }
    assert [name for name, node in nodes.items() if node["spec"].get("unschedulable")] == []


def pod_times(namespace: str, prefix: str) -> dict[str, tuple[str, str]]:
    """By node, when the pod of this name was made and when it became ready; in the API's own text, which sorts by time."""
    found = {}
    for pod in lab.kubectl_json("get", "pods", "-n", namespace)["items"]:
        ready = [
            one for one in pod["status"].get("conditions", []) if one["type"] == "Ready" and one["status"] == "True"
        ]
        if pod["metadata"]["name"].startswith(prefix) and ready:
            found[pod["spec"]["nodeName"]] = (pod["metadata"]["creationTimestamp"], ready[0]["lastTransitionTime"])
    return found


RUNTIME_PODS = {"26.7": ("kata-system", "kata-deploy-"), "23.9": ("gpu-operator", "nvidia-kata-manager-")}


def test_what_restarts_containerd_came_to_one_node_after_the_other() -> None:
    times = pod_times(*RUNTIME_PODS[RELEASE])
    assert set(times) == set(NODES)
    for earlier, later in itertools.pairwise(sorted(NODES)):
        assert times[earlier][1] <= times[later][0], times


def test_the_report_says_that_the_workload_passed() -> None:
    data = report()
    workloads = data["workloads"]
    assert isinstance(workloads, list)
    assert {workload["node"] for workload in workloads} == set(NODES)
    assert all(workload["result"] == "passed" and "Test PASSED" in workload["log"] for workload in workloads)
    assert lab.kubectl_json("get", "pods", "-n", "default")["items"] == []


def test_a_second_run_changes_nothing_and_reboots_nothing() -> None:
    before = {machine: boot_id(machine) for machine in MACHINES}
    revision = lab.lab("helm", "list", "-A", "-o", "json")
    run = site()
    print(f"second site.yml: {run.seconds:.0f} s")
    assert run.returncode == 0, run.output
    assert not any(run.changed.values()), run.recap
    assert {machine: boot_id(machine) for machine in MACHINES} == before
    assert lab.lab("helm", "list", "-A", "-o", "json") == revision


def test_check_mode_on_a_converged_cluster_is_quiet() -> None:
    run = site("--check", "--diff")
    assert run.returncode == 0, run.output
    assert not any(run.changed.values()), run.recap
