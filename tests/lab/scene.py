# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts things into the lab's API that no agent and no stand-in would, and takes them out again in reverse order.

The objects are real, and so are the API server, Helm and RBAC. What is made up is what a kubelet would report of a node.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.lab import paths
from tests.lab.controlplane import pki, server
from tests.lab.node.api import ApiError

Json = dict[str, Any]

UPSTREAM = paths.LAB / "upstream"
CHARTS = UPSTREAM / "charts"
COCO_CRD = UPSTREAM / "coco-operator-v0.7.0/config/release/crd.yaml"
COCO_RUNTIME = UPSTREAM / "coco-operator-v0.7.0/config/samples/ccruntime/base/ccruntime.yaml"
GPU_LABEL = "feature.node.kubernetes.io/pci-10de.present"
SECONDS = 30.0

_PATHS = {
    "Node": "/api/v1/nodes",
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
    "RuntimeClass": "/apis/node.k8s.io/v1/runtimeclasses",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "CcRuntime": "/apis/confidentialcontainers.org/v1beta1/ccruntimes",
}


class Scene(contextlib.ExitStack):
    """A context: what was put in is gone when it ends."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.api = server.api()

    def create(self, body: Json) -> Json:
        path = _path(body)
        created = self.api.create(path, body)
        self.callback(self._delete, f"{path}/{body['metadata']['name']}")
        return created

    def _delete(self, path: str) -> None:
        with contextlib.suppress(ApiError):
            self.api.delete(path, 0)
        self.wait_gone(path)

    def wait_gone(self, path: str) -> None:
        _until(lambda: self._status(path) == 404, f"{path} to be gone")

    def _status(self, path: str) -> int:
        try:
            self.api.get(path)
        except ApiError as error:
            return error.status
        return 200

    def namespace(self, name: str) -> None:
        """Stays: to remove a namespace takes longer than all the rest."""
        if self._status(f"/api/v1/namespaces/{name}") == 404:
            self.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        _until(
            lambda: self._status(f"/api/v1/namespaces/{name}/serviceaccounts/default") == 200,
            f"the default account of {name}",
        )

    # -- nodes ----------------------------------------------------------------------------------------------------

    def node(self, name: str, number: int, *, gpu: bool = True, nfd: bool = True, **changes: Any) -> None:
        """A Node as a kubelet would have registered it, with the labels that Node Feature Discovery would have written."""
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        if nfd:
            labels["feature.node.kubernetes.io/system-os_release.ID"] = "debian"
        if gpu:
            labels[GPU_LABEL] = "true"
        self.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        self.status(name, **{"address": f"192.0.2.{number}", "machine_id": f"{number:032x}", **changes})

    def status(
        self,
        node: str,
        *,
        address: str = "",
        machine_id: str = "",
        runtime: str = "containerd://2.2.1",
        memory: str = "131072000Ki",
        architecture: str = "amd64",
    ) -> None:
        before = self.api.get(f"/api/v1/nodes/{node}")["status"]
        info = {
            **before["nodeInfo"],
            "machineID": machine_id or before["nodeInfo"]["machineID"],
            "containerRuntimeVersion": runtime,
            "architecture": architecture,
            "kubeletVersion": "v1.35.1",
            "operatingSystem": "linux",
        }
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "scene"}
        amounts = {"cpu": "32", "memory": memory, "pods": "110"}
        status: Json = {
            "nodeInfo": info,
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
        }
        if address:
            status["addresses"] = [{"type": "InternalIP", "address": address}]
        self.api.strategic_patch(f"/api/v1/nodes/{node}/status", {"status": status})

    def changed_status(self, node: str, **changes: Any) -> None:
        """The same for a while."""
        self.callback(self.status, node)
        self.status(node, **changes)

    def label(self, node: str, labels: Mapping[str, str | None]) -> None:
        path = f"/api/v1/nodes/{node}"
        have = self.api.get(path)["metadata"].get("labels") or {}
        back = {key: have.get(key) for key in labels}
        self.callback(self.api.merge_patch, path, {"metadata": {"labels": back}})
        self.api.merge_patch(path, {"metadata": {"labels": dict(labels)}})

    def taint(self, node: str, key: str, value: str, effect: str) -> None:
        """Beside those that the node controller keeps there: the list is replaced as a whole, so it is read before."""
        mine = {"key": key, "value": value, "effect": effect}
        self.callback(self._taints, node, lambda found: [one for one in found if one["key"] != key])
        self._taints(node, lambda found: [*found, mine])

    def _taints(self, node: str, change: Callable[[list[Json]], list[Json]]) -> None:
        """The node controller writes them too; a write that comes between answers 409."""
        path = f"/api/v1/nodes/{node}"

        def written() -> bool:
            body = self.api.get(path)
            body["spec"]["taints"] = change(body["spec"].get("taints") or [])
            try:
                self.api.replace(path, body)
            except ApiError as error:
                if error.status != 409:
                    raise
                return False
            return True

        _until(written, f"the taints of {node}")

    def gpu_pod(self, node: str, resource: str = "nvidia.com/pgpu", name: str = "training-0") -> None:
        limits = {"limits": {resource: "1"}}
        spec = {
            "nodeName": node,
            "containers": [{"name": "main", "image": "registry.invalid/cuda", "resources": limits}],
        }
        meta = {"name": name, "namespace": "default"}
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    # -- kinds ----------------------------------------------------------------------------------------------------

    def crd(self, group: str, kind: str, version: str = "v1") -> None:
        """A CRD that says nothing about its objects."""
        plural = f"{kind.lower()}s"
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
        one = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        spec = {"group": group, "scope": "Cluster", "names": names, "versions": [one]}
        self._crd({"metadata": {"name": f"{plural}.{group}"}, "spec": spec})

    def _crd(self, body: Json) -> None:
        body = {**body, "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        self.create(body)
        group, plural = body["spec"]["group"], body["spec"]["names"]["plural"]
        path = f"/apis/{group}/{body['spec']['versions'][0]['name']}/{plural}"
        _until(lambda: self._status(path) == 200, f"{path} to be served")

    def cc_runtime(self, name: str, selector: Mapping[str, str], finalizers: Iterable[str] = ()) -> None:
        """With the CRD that the lab's CoCo operator brings."""
        for body in yaml.safe_load_all(COCO_CRD.read_text(encoding="utf-8")):
            self._crd(body)
        body: Json = yaml.safe_load(COCO_RUNTIME.read_text(encoding="utf-8"))
        body["metadata"] = {"name": name, "finalizers": list(finalizers)}
        body["spec"]["ccNodeSelector"] = {"matchLabels": dict(selector)}
        self.api.create(_path(body), body)
        path = f"{_path(body)}/{name}"
        self.callback(self.wait_gone, path)
        self.callback(self._delete_now, path)

    def _delete_now(self, path: str) -> None:
        with contextlib.suppress(ApiError):
            self.api.merge_patch(path, {"metadata": {"finalizers": None}})
            self.api.delete(path, 0)

    # -- Helm -----------------------------------------------------------------------------------------------------

    def helm(self, *arguments: str) -> str:
        done = subprocess.run(_helm(*arguments), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def installed(self, name: str, namespace: str, chart: Path, values: Json | None = None) -> None:
        """By Helm itself, without hooks: nothing here would run their pods."""
        file = self.directory / f"{name}.yml"
        file.write_text(yaml.safe_dump(values or {}), encoding="utf-8")
        before = self.crds()
        self.callback(self.remove_crds, before)
        self.callback(self.helm, "uninstall", name, "-n", namespace, "--no-hooks")
        self.helm("install", name, str(chart), "-n", namespace, "--no-hooks", "-f", str(file))

    def interrupted(self, name: str, namespace: str, chart: Path) -> None:
        """Helm waits for what never gets ready here, and is killed."""
        before = self.crds()
        self.callback(self.remove_crds, before)
        self.callback(self.helm, "uninstall", name, "-n", namespace, "--no-hooks")
        command = _helm("install", name, str(chart), "-n", namespace, "--no-hooks", "--wait")
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _until(lambda: bool(self.api.get(path)["items"]), "Helm to be at work")
            finally:
                process.kill()

    def repackaged(self, chart: Path, version: str) -> Path:
        """The same chart with another version."""
        copy = self.directory / f"{chart.name}-as-{version}"
        shutil.copytree(chart, copy)
        file = copy / "Chart.yaml"
        meta = yaml.safe_load(file.read_text(encoding="utf-8"))
        file.write_text(yaml.safe_dump({**meta, "version": version, "appVersion": version}), encoding="utf-8")
        return copy

    def crds(self) -> set[str]:
        return {item["metadata"]["name"] for item in self.api.get(_PATHS["CustomResourceDefinition"])["items"]}

    def remove_crds(self, before: set[str]) -> None:
        for name in sorted(self.crds() - before):
            self._delete(f"{_PATHS['CustomResourceDefinition']}/{name}")

    # -- credentials ----------------------------------------------------------------------------------------------

    def kubeconfig_of(self, user: str, rules: list[Json]) -> Path:
        """A user with a certificate of its own and exactly these rights."""
        meta = {"name": f"scene-{user}"}
        group = "rbac.authorization.k8s.io"
        self.create({"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules})
        role = {"apiGroup": group, "kind": "ClusterRole", "name": meta["name"]}
        subjects = [{"apiGroup": group, "kind": "User", "name": user}]
        self.create(
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": meta,
                "roleRef": role,
                "subjects": subjects,
            }
        )
        authority = server.authority()
        pair = authority.issue(f"scene-{user}", user)
        return self._kubeconfig(user, pki.kubeconfig(server.API, authority.pair, pair, user=user))

    def kubeconfig_with(self, address: str = server.API, token: str = "") -> Path:
        return self._kubeconfig("other", pki.kubeconfig(address, server.authority().pair, token=token or "none"))

    def _kubeconfig(self, name: str, text: str) -> Path:
        file = self.directory / f"{name}.kubeconfig"
        pki.write_private(file, text.encode())
        return file


def _path(body: Json) -> str:
    return _PATHS[body["kind"]].format(namespace=body["metadata"].get("namespace", ""))


def _helm(*arguments: str) -> list[str]:
    return [str(paths.CLIENTS / "helm"), "--kubeconfig", os.fspath(paths.KUBECONFIG), *arguments]


def _until(done: Any, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, f"waited {SECONDS:.0f} s for {what}"
        time.sleep(0.05)
