# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node without an agent: trees of plain files, a context that keeps what a behaviour did, containers by release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab.node.api import ApiError
from tests.lab.node.behaviour import Behaviour, Outcome, load_behaviours
from tests.lab.node.behaviours import sysfs
from tests.unit import machines as trees

REGISTRY = load_behaviours()
GPU0 = {"address": "0000:65:00.0", "class": "030200", "vendor": "10de", "device": "2236", "group": "12"}
VGA = {"address": "0000:17:00.0", "class": "030000", "vendor": "10de", "device": "2230", "group": "5"}
AUDIO = {"address": "0000:17:00.1", "class": "040300", "vendor": "10de", "device": "1aef", "group": "5"}
NIC = {"address": "0000:01:00.0", "class": "020000", "vendor": "8086", "device": "1521", "group": "1", "driver": "igb"}
VALIDATOR = {"app": "nvidia-sandbox-validator"}
PLUGIN = {"app": "nvidia-sandbox-device-plugin-daemonset"}
KATA_PLUGIN = {"app": "nvidia-kata-sandbox-device-plugin-daemonset"}

# Images by container name: they tell the releases apart.
GO_23 = {
    "k8s-driver-manager": "nvcr.io/nvidia/cloud-native/k8s-driver-manager:v0.6.2",
    "nvidia-vfio-manager": "nvcr.io/nvidia/cuda:12.3.2-base-ubi8",
    "vfio-pci-validation": "nvcr.io/nvidia/cloud-native/gpu-operator-validator:v23.9.2",
}
GO_26 = {
    "k8s-driver-manager": "nvcr.io/nvidia/cloud-native/k8s-driver-manager:v0.12.0",
    "nvidia-vfio-manager": "nvcr.io/nvidia/cloud-native/k8s-driver-manager:v0.12.0",
    "vfio-pci-validation": "nvcr.io/nvidia/gpu-operator:v26.7.0",
}


class Ctx:
    """A context as the agent gives it, without an agent."""

    def __init__(self, root: Path, *functions: dict[str, Any], labels: dict[str, str] | None = None) -> None:
        trees.build({"pci": [dict(one) for one in functions], "dirs": ["/run"]}, root)
        self.root, self.run_root, self.state_dir = root, root / "run", root / "var/lib/agent"
        self.node, self.simulated = "kata-1", True
        self.memory: dict[str, Any] = {}
        self.container: dict[str, Any] = {}
        self.extended_resources: dict[str, list[str]] = {}
        self.runtime_handlers: set[str] = set()
        self.container_runtime_version = "containerd://1.7.24"
        self.labels = {"nvidia.com/gpu.workload.config": "vm-passthrough", **(labels or {})}
        self.logs: list[str] = []
        self.events: list[str] = []
        self.restarts: list[str | None] = []
        self.pods: list[dict[str, Any]] = []
        self.given: dict[str, list[str]] = {}
        self.environment: dict[str, str] = {}
        self.replies: dict[str, Any] = {}
        self.patches: list[tuple[str, dict[str, Any]]] = []
        self.deleted: list[str] = []
        self.ready = True
        self.images = GO_23
        self.api = self
        self.system = sysfs.sysfs(root, True)

    def get(self, path: str, **query: str) -> Any:
        if path not in self.replies:
            raise ApiError(404, "NotFound", path)
        return self.replies[path]

    def create(self, path: str, body: dict[str, Any]) -> Any:
        place = f"{path}/{body['metadata']['name']}"
        if place in self.replies:
            raise ApiError(409, "AlreadyExists", place)
        self.replies[place] = body
        return body

    def merge_patch(self, path: str, body: dict[str, Any]) -> Any:
        self.patches.append((path, body))
        return body

    def delete(self, path: str, grace_seconds: int | None = None) -> Any:
        if path not in self.replies:
            raise ApiError(404, "NotFound", path)
        del self.replies[path]
        self.deleted.append(path)
        return {}

    def node_object(self) -> Any:
        return {"status": {"conditions": [{"type": "Ready", "status": "True" if self.ready else "False"}]}}

    def log(self, text: str) -> None:
        self.logs.append(text)

    def env(self, name: str, default: str = "") -> str:
        return self.environment.get(name, default)

    def allocated(self, resource: str) -> list[str]:
        return self.given.get(resource, [])

    def restart_runtime(self, version: str | None = None, seconds: float = 6.0) -> None:
        self.restarts.append(version)
        self.container_runtime_version = version or self.container_runtime_version

    def node_labels(self) -> dict[str, str]:
        return dict(self.labels)

    def patch_node_labels(self, labels: dict[str, str | None]) -> None:
        for key, value in labels.items():
            if value is None:
                self.labels.pop(key, None)
            else:
                self.labels[key] = value

    def pods_on_node(self) -> list[dict[str, Any]]:
        return self.pods

    def event(self, reason: str, message: str, kind: str = "Normal") -> None:
        self.events.append(f"{kind} {reason}: {message}")

    def driver(self, function: dict[str, Any]) -> str:
        return self.system.function(str(function["address"])).driver

    def override(self, function: dict[str, Any]) -> str:
        return (self.root / f"sys/bus/pci/devices/{function['address']}/driver_override").read_text().strip()


def pod(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "gpu-operator", "labels": labels or {}}, "spec": spec}


def find(container: str, labels: dict[str, str] | None = None, image: str = "") -> Behaviour:
    found = REGISTRY.find(pod(labels), {"name": container, "image": image or GO_23.get(container, "")})
    assert found is not None
    return found


def start(ctx: Ctx, container: str, labels: dict[str, str] | None = None) -> Outcome:
    """Starts a container with the image of the context's release; its words are kept where it is the same container."""
    ctx.memory = {}
    image = ctx.images.get(container, "")
    words = ctx.container if ctx.container.get("name") == container else {}
    ctx.container = {**words, "name": container, "image": image}
    return find(container, labels, image).start(ctx, pod(labels))  # type: ignore[arg-type]


def tick(ctx: Ctx, container: str, labels: dict[str, str] | None = None) -> Outcome:
    behaviour = find(container, labels, ctx.images.get(container, ""))
    return behaviour.tick(ctx, pod(labels))  # type: ignore[arg-type]


def stop(ctx: Ctx, container: str, labels: dict[str, str] | None = None) -> None:
    find(container, labels, ctx.images.get(container, "")).stop(ctx, pod(labels))  # type: ignore[arg-type]


def bound(ctx: Ctx) -> Ctx:
    assert start(ctx, "nvidia-vfio-manager").state == "running"
    return ctx
