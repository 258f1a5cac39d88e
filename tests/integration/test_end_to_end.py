# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole site.yml on a fresh lab: what it refuses, what check mode leaves alone, what it makes, and that it is done once.

The tests build on each other in the order in which they stand, as an operator would go.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import canaries, guest_changes, lab, snapshot
from tests.integration import rights as granted
from tests.integration.expected import (
    ACCEPTED,
    CONTAINERS,
    EXPECTED,
    GPU,
    GPU_1_NAMED,
    LABELS,
    MACHINES,
    NAMED,
    NODES,
    RELEASE,
    REPORT,
    RESTARTED,
    UNNAMED,
)
from tests.lab import api_nodes
from tests.lab.controlplane import rights


@pytest.fixture(scope="module", autouse=True)
def fresh_lab() -> Iterator[None]:
    lab.lab("down")
    # What runs here has the rights that the collection asks for with this release, and no others.
    os.environ["KATAGPU_LAB_RIGHTS"] = RELEASE
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


# Where a host keeps what this collection may change: files, and what is bound to what.
CONFIGURATION = (
    *("/etc", "/etc/default", "/etc/default/grub.d", "/etc/modprobe.d", "/etc/modules-load.d", "/etc/udev/rules.d"),
    *(
        "/etc/systemd/system",
        "/etc/initramfs-tools",
        "/boot",
        "/boot/grub",
        "/var/lib/kubelet",
        "/var/lib/katagpu",
        "/sys/bus/pci",
    ),
    *("/sys/bus/pci/drivers/vfio-pci", "/sys/bus/pci/devices/*", "/sys/kernel/iommu_groups/*"),
)
PYTHON = "$(readlink -f /usr/bin/python3)"


def site(*arguments: str) -> lab.PlaybookRun:
    named = ["-i", str(NAMED)] if GPU_1_NAMED else []
    return lab.playbook("site", "-e", f"katagpu_release={RELEASE}", *named, *arguments)


def boot_id(machine: str) -> str:
    return lab.guest(machine, "cat /proc/sys/kernel/random/boot_id").strip()


@pytest.fixture(scope="module")
def foreign() -> snapshot.Objects:
    """Everything that is in the API before anything was done, with somebody else's work on the nodes that are not ours."""
    for name in UNNAMED:
        lab.lab("node-up", name)
    snapshot.tenant("container-1", *UNNAMED)
    return snapshot.settled()


def report() -> dict[str, object]:
    data: dict[str, object] = json.loads(REPORT.read_text(encoding="utf-8"))
    return data


def in_preflight(*arguments: str) -> dict[str, dict[str, Any]]:
    """The findings of a run that reads the cluster and no machine, by id."""
    lab.playbook("preflight", "-e", f"katagpu_release={RELEASE}", "--limit", "localhost,container-1", *arguments)
    return {item["id"]: item for item in json.loads(REPORT.read_text(encoding="utf-8"))["findings"]}


class TestUnnamedGpuNode:
    """A GPU node that the inventory does not name, before the first installation, and the three ways out."""

    def test_it_is_refused(self, foreign: snapshot.Objects) -> None:
        run = lab.playbook("site", "-e", f"katagpu_release={RELEASE}", "--limit", "localhost,container-1")
        assert run.returncode != 0, run.output
        text = " ".join(run.output.split())
        assert "[foreign_gpu_nodes][block] the GPU nodes gpu-1 are not in the inventory." in text
        assert not any(run.changed.values()), run.recap
        assert snapshot.changed(snapshot.of_others(foreign), snapshot.objects()) == []

    def test_a_way_out_is_to_name_it(self) -> None:
        assert "foreign_gpu_nodes" not in in_preflight("-i", str(NAMED))

    def test_a_way_out_is_to_accept_the_finding(self) -> None:
        accepted = [{"id": "foreign_gpu_nodes", "reason": "gpu-1 is to be a container node"}, *ACCEPTED]
        found = in_preflight("-e", json.dumps({"katagpu_accepted_findings": accepted}))["foreign_gpu_nodes"]
        assert (found["state"], found["reason"]) == ("accepted", "gpu-1 is to be a container node")

    def test_a_way_out_is_the_label_that_keeps_the_operator_off(self) -> None:
        lab.kubectl("label", "node", "gpu-1", "nvidia.com/gpu.deploy.operands=false")
        assert "foreign_gpu_nodes" not in in_preflight()
        if GPU_1_NAMED:
            lab.kubectl("label", "node", "gpu-1", "nvidia.com/gpu.deploy.operands-")


def test_the_machine_is_not_ready_at_first(boots: dict[str, str]) -> None:
    for machine in MACHINES:
        assert lab.guest(machine, "ls /sys/kernel/iommu_groups | wc -l").strip() == "0"
        assert "vfio-pci" not in lab.guest(machine, "lspci -nnk -d 10de:")
        # Otherwise that it stays out afterwards would prove nothing.
        assert "nouveau" in lab.guest(machine, "cut -d' ' -f1 /proc/modules").split()


def test_check_mode_shows_a_plan_and_changes_nothing(boots: dict[str, str], foreign: snapshot.Objects) -> None:
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


def test_site_provisions(boots: dict[str, str], foreign: snapshot.Objects) -> None:
    run = site()
    print(f"site.yml: {run.seconds:.0f} s")
    assert run.returncode == 0, run.output
    for machine in MACHINES:
        assert boot_id(machine) != boots[machine]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_function_of_the_gpu_is_on_vfio(machine: str) -> None:
    listing = lab.guest(machine, "lspci -nnk -d 10de:")
    assert listing.count("Kernel driver in use: vfio-pci") == len(GPU[machine]), listing


class TestOthersAreLeftAlone:
    """After the installation: what was there before, down to the resourceVersion, and the nodes that are not Kata nodes."""

    def test_the_objects_of_others_are_unchanged(self, foreign: snapshot.Objects) -> None:
        changed = snapshot.changed(snapshot.of_others(foreign), snapshot.objects())
        assert [key for key in changed if not key.startswith(RESTARTED)] == []

    def test_nothing_is_left_in_namespaces_of_others(self, foreign: snapshot.Objects) -> None:
        new = {key: item for key, item in snapshot.of_others(snapshot.objects()).items() if key not in foreign}
        assert [key for key, item in new.items() if item["metadata"].get("namespace")] == []

    def test_pods_of_others_went_on_where_containerd_was_restarted(self, foreign: snapshot.Objects) -> None:
        after = snapshot.objects()
        for name in CONTAINERS:
            before, now = (found[f"Pod tenant/web-{name}"] for found in (foreign, after))
            assert (now["metadata"]["uid"], now["spec"]) == (before["metadata"]["uid"], before["spec"])
            assert now["status"]["containerStatuses"] == before["status"]["containerStatuses"]

    @pytest.mark.parametrize("name", ["container-1", *UNNAMED])
    def test_a_node_has_the_labels_of_its_kind_and_nothing_else(self, name: str, foreign: snapshot.Objects) -> None:
        before, after = foreign[f"Node /{name}"], snapshot.objects()[f"Node /{name}"]
        keys = snapshot.differing(before, after, "labels")
        assert [key for key in sorted(keys) if not key.startswith(LABELS[name])] == []
        named = name in CONTAINERS
        assert snapshot.differing(before, after, "annotations") == ({"katagpu.io/owned-labels"} if named else set())
        assert after["spec"] == before["spec"]
        assert after["status"]["nodeInfo"] == before["status"]["nodeInfo"]

    @pytest.mark.parametrize("name", ["container-1", *UNNAMED])
    def test_this_collection_wrote_its_label_on_named_nodes_only(self, name: str, foreign: snapshot.Objects) -> None:
        node = snapshot.objects()[f"Node /{name}"]
        fields = snapshot.writers(node).get(snapshot.OUR_MANAGER)
        if name not in CONTAINERS:
            assert fields is None
            return
        assert fields is not None
        written = fields["f:metadata"]
        assert set(fields) == {"f:metadata"} and set(written) == {"f:labels", "f:annotations"}
        assert [key for key in written["f:labels"] if key != "."] == ["f:nvidia.com/gpu.workload.config"]
        assert [key for key in written["f:annotations"] if key != "."] == ["f:katagpu.io/owned-labels"]

    @pytest.mark.parametrize("name", ["container-1", *UNNAMED])
    def test_nothing_of_kata_restarts_containerd(self, name: str) -> None:
        """On container nodes the container toolkit of the GPU Operator does, as everywhere that operator is; nobody else."""
        by = {pod.rpartition("-")[0] for pod in api_nodes.runtime_restarts(name)}
        assert by == ({"gpu-operator/nvidia-container-toolkit-daemonset"} if name in CONTAINERS else set())
        pods = lab.kubectl_json("get", "pods", "--all-namespaces", "--field-selector", f"spec.nodeName={name}")["items"]
        # Controllers are Deployments and go to any node; what is made for each node comes by DaemonSet.
        daemons = {
            f"{pod['metadata']['namespace']}/{owner['name']}"
            for pod in pods
            for owner in pod["metadata"].get("ownerReferences", [])
            if owner["kind"] == "DaemonSet"
        }
        assert {one.partition("/")[0] for one in daemons} == {"gpu-operator"}
        if name not in CONTAINERS:
            assert [one for one in daemons if "node-feature-discovery-worker" not in one] == []
        handlers = lab.kubectl_json("get", "node", name)["status"].get("runtimeHandlers", [])
        assert [item["name"] for item in handlers if item["name"].startswith("kata")] == []


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
        "cpu-1": None,
        "gpu-1": "container" if GPU_1_NAMED else None,
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


def test_the_nodes_tell_of_their_maintenance() -> None:
    events = lab.kubectl_json("get", "events", "-n", "default")["items"]
    for node in lab.kubectl_json("get", "nodes")["items"]:
        name, annotations = node["metadata"]["name"], node["metadata"].get("annotations") or {}
        told = [one["reason"] for one in events if one["involvedObject"].get("uid") == node["metadata"]["uid"]]
        ours = [reason for reason in told if reason.startswith("Maintenance")]
        steps = ("MaintenanceBegun", "MaintenanceDrained", "MaintenanceFinished")
        # Once for the reboot, and again for each part of the stack that is changed on the drained node.
        assert len({ours.count(step) for step in steps}) == 1 and set(ours) == (set(steps) if name in NODES else set())
        assert ("katagpu.io/last-maintenance" in annotations) == (name in NODES)
        if name in NODES:
            assert json.loads(annotations["katagpu.io/last-maintenance"])["seconds"] > 0
            assert "MaintenanceFinished" in lab.kubectl("describe", "node", name)


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
    everything = snapshot.objects()
    with contextlib.ExitStack() as stack:
        changes = {one: stack.enter_context(guest_changes.watched(one, [*CONFIGURATION, PYTHON])) for one in MACHINES}
        run = site()
        seen = {machine: told() for machine, told in changes.items()}
    print(f"second site.yml: {run.seconds:.0f} s")
    for machine, events in seen.items():
        # An interpreter is opened once for each module; more than a read before and a read after would be waste.
        executions = len([event for event in events if event.startswith("open ")])
        print(f"{machine}: {executions} module executions")
        assert 1 <= executions <= 3, events
        assert [event for event in events if not event.startswith("open")] == []
    assert run.returncode == 0, run.output
    assert not any(run.changed.values()), run.recap
    assert {machine: boot_id(machine) for machine in MACHINES} == before
    assert lab.lab("helm", "list", "-A", "-o", "json") == revision
    after = snapshot.objects()
    nodes = {key: item for key, item in everything.items() if key.startswith("Node ")}
    assert [key for key in snapshot.changed(everything, after) if key not in nodes] == []
    assert {key: snapshot.writers(after[key], snapshot.AGENT) for key in nodes} == {
        key: snapshot.writers(item, snapshot.AGENT) for key, item in nodes.items()
    }


def test_who_may_only_read_can_verify_it() -> None:
    """With the manifest for readers, and without the sample workload, which is a pod."""
    reader = [
        "-e",
        f"katagpu_kubeconfig={rights.kubeconfig_of(rights.USERS[0])}",
        "-e",
        "verify_workload_enabled=false",
    ]
    run = lab.playbook(
        "verify", "-e", f"katagpu_release={RELEASE}", *reader, *(["-i", str(NAMED)] if GPU_1_NAMED else [])
    )
    assert run.returncode == 0, run.output
    data = report()
    assert data["counts"]["checks_failed"] == 0 and data["counts"]["checks_passed"] > 0  # type: ignore[index]


def test_check_mode_on_a_converged_cluster_is_quiet() -> None:
    run = site("--check", "--diff")
    assert run.returncode == 0, run.output
    assert not any(run.changed.values()), run.recap


# In the journal, and in files; -D skip leaves pipes and sockets alone.
LOOK = (
    f"(journalctl --no-pager -o cat; grep -rahE -D skip '{canaries.PATTERN}' /etc /root /home /run /tmp /var/log /var/tmp"
    f" /var/lib/katagpu /var/lib/kubelet 2>/dev/null) | grep -aoE '{canaries.PATTERN}|Invoked with' | sort | uniq -c"
)


def test_secrets_of_the_charts_are_on_no_host_and_in_no_report(tmp_path: Path) -> None:
    """As in test_secrets.py, where Helm gets them too; here modules run on real hosts and log to their journals."""
    planted, searched = canaries.Planted(), canaries.Searched()
    given = tmp_path / "given.json"
    given.write_text(json.dumps(canaries.chart_values(planted)), encoding="utf-8")
    run = site("--check", "--diff", "-vvv", "-e", f"@{given}")
    searched.output_without(planted, run.output)
    searched.files_without(planted, [path for path in REPORT.parent.rglob("*") if path.is_file()])
    # Without these values nothing is to be done, as above.
    assert run.returncode != 0 or run.changed["localhost"] > 0, run.output
    for machine in MACHINES:
        seen = lab.guest(machine, LOOK)
        print(f"{machine}: {' '.join(seen.split())}")
        assert "Invoked with" in seen and "canary-" not in seen, seen
    print(searched)


def test_nobody_was_refused_anything() -> None:
    """And nobody is an administrator: what these users did is in the log of the API server."""
    usage = granted.usage(rights.audit_log())
    used = len(usage.grants) - len(usage.unused)
    print(f"{usage.calls} calls, {len(usage.refused)} refused; {used} of {len(usage.grants)} rights used here")
    assert usage.calls > 100
    assert [str(call) for call in usage.refused] == []
