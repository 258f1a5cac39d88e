# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API tells of the cluster as such, and whether it may be asked."""

from __future__ import annotations

from tests.integration.refusals.case import ACCEPTED, Case, Inventory, blocks
from tests.lab.controlplane.access import READ, rule
from tests.lab.scene import Scene

READER = [
    rule("core", "nodes pods services namespaces configmaps", READ),
    rule("apps", "daemonsets deployments", READ),
    rule("node.k8s.io", "runtimeclasses", READ),
    rule("apiextensions.k8s.io", "customresourcedefinitions", READ),
    rule("nvidia.com", "clusterpolicies", READ),
]


def _foreign_gpu(scene: Scene, inventory: Inventory) -> None:
    scene.node("gpu-1", 32)


def _undiscovered(scene: Scene, inventory: Inventory) -> None:
    scene.node("cpu-1", 31, gpu=False, nfd=False)


def _openshift(scene: Scene, inventory: Inventory) -> None:
    scene.crd("config.openshift.io", "ClusterVersion")


def _two_nfd(scene: Scene, inventory: Inventory) -> None:
    labels = {"app.kubernetes.io/name": "node-feature-discovery"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "worker", "image": "registry.invalid/nfd"}]},
    }
    meta = {"name": "nfd-worker", "namespace": "node-feature-discovery", "labels": labels}
    spec = {"selector": {"matchLabels": labels}, "template": pod}
    scene.create({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec})


def _reader(scene: Scene, inventory: Inventory) -> None:
    inventory["all"]["vars"]["katagpu_kubeconfig"] = str(scene.kubeconfig_of("reader", READER))


def _nobody_listens(scene: Scene, inventory: Inventory) -> None:
    inventory["all"]["vars"]["katagpu_kubeconfig"] = str(scene.kubeconfig_with("https://127.0.0.1:16440"))


def _unknown_token(scene: Scene, inventory: Inventory) -> None:
    inventory["all"]["vars"]["katagpu_kubeconfig"] = str(scene.kubeconfig_with(token="not-issued"))


CASES = (
    Case(
        "kubernetes_range",
        "Kubernetes out of range",
        "the lab's Kubernetes, and the finding not accepted",
        variables={"katagpu_accepted_findings": []},
        blocks=blocks("kubernetes_range"),
        says=("the release 26.7 is for 1.33 to 1.36",),
    ),
    Case(
        "openshift",
        "OpenShift",
        "the CRD ``clusterversions.config.openshift.io``",
        _openshift,
        blocks=blocks("openshift"),
        together=True,
        says=("Machine Config Operator",),
    ),
    Case(
        "foreign_gpu_nodes",
        "GPU node that the inventory does not name",
        "a Node ``gpu-1`` with the label of Node Feature Discovery for a 10de device",
        _foreign_gpu,
        blocks=blocks("foreign_gpu_nodes"),
        together=True,
        says=("gpu-1", "given the operator's driver", "nvidia.com/gpu.deploy.operands=false"),
    ),
    Case(
        "default_vm",
        "Every node a VM node, and not every GPU node named",
        "the same with ``katagpu_default_workload: vm-passthrough``, and ``foreign_gpu_nodes`` accepted in vain",
        _foreign_gpu,
        variables={
            "katagpu_default_workload": "vm-passthrough",
            "katagpu_accepted_findings": [*ACCEPTED, {"id": "foreign_gpu_nodes", "reason": "tried"}],
        },
        blocks=blocks("foreign_gpu_nodes"),
        says=("gpu-1", "bound to VFIO"),
    ),
    Case(
        "gpu_nodes_unknown",
        "Node of which nobody knows whether it has a GPU",
        "a Node ``cpu-1`` without any label of Node Feature Discovery",
        _undiscovered,
        blocks=blocks("gpu_nodes_unknown"),
        together=True,
        says=("cpu-1",),
    ),
    Case(
        "two_nfd",
        "Second Node Feature Discovery",
        "a DaemonSet of Node Feature Discovery in a namespace of its own",
        _two_nfd,
        blocks=blocks("E02"),
        together=True,
        says=("node-feature-discovery/nfd-worker", "nfd: {enabled: false}"),
    ),
    Case(
        "permissions",
        "Missing permissions",
        "a user that may only read, and no Secrets",
        _reader,
        blocks=blocks("permissions"),
        says=(
            "patch nodes, namespaces",
            "create pods/eviction, customresourcedefinitions.apiextensions.k8s.io",
            "read helm gpu-operator",
        ),
    ),
    Case(
        "api_unreachable",
        "API that does not answer",
        "a kubeconfig with a port on which nobody listens",
        _nobody_listens,
        blocks=blocks("api_unreachable"),
        says=("127.0.0.1:16440",),
    ),
    Case(
        "credentials",
        "Credentials that the API refuses",
        "a token that nobody has issued",
        _unknown_token,
        blocks=blocks("api_unreachable"),
        says=("401",),
    ),
    Case(
        "kubeconfig",
        "Missing kubeconfig",
        "``katagpu_kubeconfig: /nonexistent/kubeconfig``",
        variables={"katagpu_kubeconfig": "/nonexistent/kubeconfig"},
        blocks=blocks("api_unreachable"),
        says=("/nonexistent/kubeconfig",),
    ),
)
