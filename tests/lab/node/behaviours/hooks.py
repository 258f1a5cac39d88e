# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hook Jobs of the charts: each is one container that does something to the API and ends."""

from __future__ import annotations

import json
import re
from typing import Any

from ..api import ApiError
from ..behaviour import Behaviour, Context, Outcome, Pod, completed, register, running
from .images import labels_of
from .kata_stages import present

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
FEATURE_PREFIX = "feature.node.kubernetes.io/"
# What the files that the hooks of the GPU Operator name contain.
FILES = {
    "nvidia.com_clusterpolicies": ("clusterpolicies.nvidia.com",),
    "nvidia.com_nvidiadrivers": ("nvidiadrivers.nvidia.com",),
    "nvidia.com_gpuclusters": ("gpuclusters.nvidia.com",),
    "nfd-api-crds": (
        "nodefeatures.nfd.k8s-sigs.io",
        "nodefeaturerules.nfd.k8s-sigs.io",
        "nodefeaturegroups.nfd.k8s-sigs.io",
    ),
}


def delete(ctx: Context, path: str) -> None:
    """What is gone already is no error."""
    try:
        ctx.api.delete(path)
    except ApiError as error:
        if error.status != 404:
            raise


@register
class RbacCleanup(Behaviour):
    """kata-deploy after its uninstall: waits for the pods of the DaemonSet, then takes away what Helm kept."""

    container = "rb-cleanup"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        namespace = ctx.env("NAMESPACE")
        pods = ctx.api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=ctx.env("DAEMONSET_POD_LABEL"))
        if pods["items"]:
            return running()
        paths = {
            "CLUSTER_ROLE_BINDING_NAME": f"{RBAC}/clusterrolebindings",
            "CLUSTER_ROLE_NAME": f"{RBAC}/clusterroles",
            "SERVICE_ACCOUNT_NAME": f"/api/v1/namespaces/{namespace}/serviceaccounts",
            "DISPATCHER_ROLE_BINDING_NAME": f"{RBAC}/namespaces/{namespace}/rolebindings",
            "DISPATCHER_ROLE_NAME": f"{RBAC}/namespaces/{namespace}/roles",
            "DISPATCHER_NODE_ROLE_BINDING_NAME": f"{RBAC}/clusterrolebindings",
            "DISPATCHER_NODE_ROLE_NAME": f"{RBAC}/clusterroles",
            "DISPATCHER_SERVICE_ACCOUNT_NAME": f"/api/v1/namespaces/{namespace}/serviceaccounts",
        }
        for variable, path in paths.items():
            if ctx.env(variable):
                delete(ctx, f"{path}/{ctx.env(variable)}")
        return completed("Kata-deploy RBAC cleanup completed.")


@register
class UpgradeCrd(Behaviour):
    """GPU Operator before an upgrade: applies the CRDs of the new chart, which the lab's chart puts into a ConfigMap."""

    container = "upgrade-crd"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        namespace = pod["metadata"]["namespace"]
        found: dict[str, Any] = ctx.api.get(f"/api/v1/namespaces/{namespace}/configmaps/gpu-operator-lab-crds")
        for text in found["data"].values():
            crd = json.loads(text)
            path = f"{CRDS}/{crd['metadata']['name']}"
            if present(ctx, path) is None:
                ctx.api.create(CRDS, crd)
            else:
                ctx.api.merge_patch(path, {"spec": crd["spec"]})
            ctx.log(f"applied {crd['metadata']['name']}")
        return completed()


@register
class CleanupGpuCluster(Behaviour):
    """Before every uninstall; the lab has no GPUCluster."""

    container = "cleanup-gpucluster"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        return completed("no GPUCluster to delete")


@register
class CleanupCrd(Behaviour):
    """With operator.cleanupCRD=true, before an uninstall: the CRDs go, and with them all objects of their kinds."""

    container = "cleanup-crd"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        for word in ctx.container.get("args") or []:
            for name in FILES.get(re.sub(r"^.*/|\.yaml$", "", str(word)), ()):
                delete(ctx, f"{CRDS}/{name}")
                ctx.log(f"deleted {name}")
        return completed()


@register
class NfdPrune(Behaviour):
    """NFD after an uninstall: its labels go from all nodes."""

    container = "nfd-master"

    def matches(self, pod: Pod, container: dict[str, Any]) -> bool:
        return container.get("name") == self.container and labels_of(pod).get("role") == "prune"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        for node in ctx.api.get("/api/v1/nodes")["items"]:
            labels = node["metadata"].get("labels") or {}
            gone = {key: None for key in labels if key.startswith(FEATURE_PREFIX)}
            if gone:
                ctx.api.merge_patch(f"/api/v1/nodes/{node['metadata']['name']}", {"metadata": {"labels": gone}})
                ctx.log(f"pruned node {node['metadata']['name']}")
        return completed()
