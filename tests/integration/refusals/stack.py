# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed already, or half installed, or belongs to somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.integration.refusals.case import KATA, Case, Inventory, blocks
from tests.integration.refusals.nodes import WORKLOAD
from tests.lab.scene import CHARTS, Scene

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases  # isort: skip

OPERATOR = CHARTS / "gpu-operator-v26.7.0"
VALUES: Mapping[str, Any] = _releases.lookup("26.7")["gpu_operator"]["values"]
LEGACY = {"katagpu_release": "23.9"}
CC_SELECTOR: Mapping[str, str] = _releases.lookup("23.9")["coco_operator"]["node_selector"]


def _pending(scene: Scene, inventory: Inventory) -> None:
    scene.interrupted("gpu-operator", "gpu-operator", OPERATOR)


def _other_name(scene: Scene, inventory: Inventory) -> None:
    scene.installed("nvidia", "gpu-operator", OPERATOR, dict(VALUES))


def _other_namespace(scene: Scene, inventory: Inventory) -> None:
    scene.installed("gpu-operator", "other", OPERATOR, dict(VALUES))


def _foreign_values(scene: Scene, inventory: Inventory) -> None:
    scene.installed("gpu-operator", "gpu-operator", OPERATOR, {**VALUES, "toolkit": {"enabled": False}})


def _in_use(scene: Scene, inventory: Inventory) -> None:
    scene.installed("gpu-operator", "gpu-operator", OPERATOR, dict(VALUES))
    for name in KATA:
        scene.label(name, {WORKLOAD: "vm-passthrough"})
    scene.label("container-1", {WORKLOAD: "container"})


def _busy_upgrade(scene: Scene, inventory: Inventory) -> None:
    _in_use(scene, inventory)
    scene.gpu_pod("kata-2")


def _other_version(scene: Scene, inventory: Inventory) -> None:
    scene.installed("gpu-operator", "gpu-operator", scene.repackaged(OPERATOR, "v25.10.1"), dict(VALUES))


def _legacy_parts(scene: Scene, inventory: Inventory) -> None:
    scene.cc_runtime("ccruntime-sample", CC_SELECTOR)
    _runtime_class(scene, "kata-qemu-nvidia-gpu-snp", {"nvidia.com/kata-runtime-class": "true"})


def _kata_deploy_class(scene: Scene, inventory: Inventory) -> None:
    _old_containerd(scene)
    _runtime_class(scene, "kata-qemu", {"app.kubernetes.io/managed-by": "kata-deploy"})


def _runtime_class(scene: Scene, name: str, labels: dict[str, str]) -> None:
    meta = {"name": name, "labels": labels}
    scene.create({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": meta, "handler": name})


def _old_containerd(scene: Scene) -> None:
    for name in KATA:
        scene.changed_status(name, runtime="containerd://1.7.24")


def _other_selector(scene: Scene, inventory: Inventory) -> None:
    _old_containerd(scene)
    scene.cc_runtime("ccruntime-sample", {"node.kubernetes.io/worker": ""})


def _leaving(scene: Scene, inventory: Inventory) -> None:
    _old_containerd(scene)
    scene.cc_runtime("ccruntime-sample", CC_SELECTOR, ["runtimeconfig.confidentialcontainers.org/finalizer"])
    scene.api.delete("/apis/confidentialcontainers.org/v1beta1/ccruntimes/ccruntime-sample")


def _labelled(scene: Scene, inventory: Inventory) -> None:
    scene.label("kata-1", {WORKLOAD: "vm-passthrough"})
    scene.label("container-1", {WORKLOAD: "container"})


def _both_labelled(scene: Scene, inventory: Inventory) -> None:
    _labelled(scene, inventory)
    scene.label("kata-2", {WORKLOAD: "vm-passthrough"})


# No host is asked here: this stands for what the phase of the hosts would have found.
ONE_ELIGIBLE = {"all": ["container-1", "kata-2"], "kata": ["kata-2"], "container": ["container-1"]}


CASES = (
    Case(
        "pending",
        "Interrupted Helm release",
        "``helm install --wait`` that was killed while it waited",
        _pending,
        blocks=blocks("F16"),
        says=(
            "gpu-operator/gpu-operator is pending-install (revision 1)",
            "helm uninstall gpu-operator -n gpu-operator",
        ),
    ),
    Case(
        "foreign_name",
        "GPU Operator under another name",
        "``helm install nvidia`` of the same chart in the same namespace",
        _other_name,
        blocks=blocks("foreign_name"),
        says=("gpu-operator/nvidia",),
    ),
    Case(
        "foreign_namespace",
        "GPU Operator in another namespace",
        "``helm install gpu-operator -n other``",
        _other_namespace,
        blocks=blocks("foreign_name", "E02"),
        says=("other/gpu-operator", "gpu_operator_namespace: other"),
    ),
    Case(
        "foreign_values",
        "Values of an existing installation that would be lost",
        "``helm install`` of the chart with ``toolkit.enabled: false``, which the inventory does not repeat",
        _foreign_values,
        blocks=blocks("foreign_values"),
        says=("drop its values toolkit",),
    ),
    Case(
        "busy_upgrade",
        "Change that restarts vfio-manager under running GPU pods",
        "the chart installed as this release wants it, a pod with a GPU on ``kata-2``, and"
        " ``gpu_operator_values: {dcgmExporter: {enabled: false}}``",
        _busy_upgrade,
        variables={"gpu_operator_values": {"dcgmExporter": {"enabled": False}}},
        blocks=blocks("C07"),
        others=frozenset({("gpu_pods_running", "", "open")}),
        says=("GPU pods run on kata-2", "unbinds the GPUs of running virtual machines"),
    ),
    Case(
        "owner_change",
        "Change of the owner of the bindings",
        "the chart installed as this release wants it, all nodes with their workload label, and ``katagpu_vfio_owner: host``",
        _in_use,
        variables={"katagpu_vfio_owner": "host"},
        blocks=blocks("vfio_owner"),
        says=("katagpu_vfio_owner is host, and the GPU Operator of this cluster is installed for operator",),
    ),
    Case(
        "other_version",
        "Other generation of the GPU Operator",
        "the chart installed as version v25.10.1",
        _other_version,
        blocks=blocks("two_generations"),
        says=("v25.10.1",),
    ),
    Case(
        "legacy_parts",
        "Parts of the legacy stack",
        "a CcRuntime and a RuntimeClass of the Kata manager, and release 26.7",
        _legacy_parts,
        blocks=blocks("two_generations"),
        says=("CcRuntime ccruntime-sample", "RuntimeClass kata-qemu-nvidia-gpu-snp of the Kata manager"),
    ),
    Case(
        "kata_deploy_class",
        "kata-deploy under the legacy stack",
        "a RuntimeClass of kata-deploy, release 23.9 and containerd 1.7.24",
        _kata_deploy_class,
        variables=LEGACY,
        blocks=blocks("two_generations"),
        says=("RuntimeClasses of kata-deploy",),
    ),
    Case(
        "cc_runtime_selector",
        "CcRuntime that selects other nodes",
        "release 23.9 and a CcRuntime with another ``ccNodeSelector``",
        _other_selector,
        variables=LEGACY,
        blocks=blocks("cc_runtime_selector"),
        says=("node.kubernetes.io/worker",),
    ),
    Case(
        "leaving",
        "CcRuntime that is being deleted",
        "release 23.9 and a deleted CcRuntime whose finalizer nobody removes",
        _leaving,
        variables=LEGACY,
        blocks=blocks("D12"),
        says=("keeps its finalizer",),
    ),
    Case(
        "not_eligible",
        "Nodes that are not eligible, before the operator comes",
        "``playbooks/cluster.yml --limit localhost,container-1``, and ``kata-2`` without the workload label",
        _labelled,
        playbook="cluster",
        blocks=blocks("unprotected_nodes"),
        says=("kata-2 of the inventory is not eligible", "katagpu_protect_ineligible"),
    ),
    Case(
        "runtime_by_jobs",
        "Nodes that are not eligible, before the runtime comes",
        "``kata-1`` and ``kata-2`` with the workload label, of which ``kata-2`` alone is eligible, and the runtime to come by Jobs, which go"
        " to every labelled node at once",
        _both_labelled,
        {"kata_deploy_values": {"deploymentMode": "job"}, "katagpu_eligible": ONE_ELIGIBLE},
        blocks=blocks("selected_not_eligible"),
        says=("kata-1 is not eligible",),
    ),
)
