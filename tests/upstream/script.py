# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events that both controllers see, one after the other. Each step changes the cluster and waits until nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.lab.node.api import Api, ApiError
from tests.upstream.fake_nodes import FakeNodes

KATA, UNNAMED, PLAIN = "kata-1", "gpu-unnamed", "cpu-1"
WORKLOAD = "nvidia.com/gpu.workload.config"
DEPLOY = "nvidia.com/gpu.deploy"
NODES: dict[str, dict[str, str]] = {KATA: {WORKLOAD: "vm-passthrough"}, UNNAMED: {}, PLAIN: {}}
_NFD = "feature.node.kubernetes.io"
SEEN_BY_NFD = {
    f"{_NFD}/kernel-version.full": "6.8.0-60-generic",
    f"{_NFD}/system-os_release.ID": "ubuntu",
    f"{_NFD}/system-os_release.VERSION_ID": "24.04",
    f"{_NFD}/system-os_release.VERSION_ID.major": "24",
}
GPU = f"{_NFD}/pci-10de.present"
OS_RELEASE = 'ID=ubuntu\nVERSION_ID="24.04"\n'


@dataclass
class World:
    """What a step may change."""

    api: Api
    nodes: FakeNodes
    namespace: str
    policy: str

    def label(self, node: str, labels: dict[str, str | None]) -> None:
        self.api.merge_patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": labels}})

    def spec(self, change: dict[str, Any]) -> None:
        self.api.merge_patch(f"/apis/nvidia.com/v1/clusterpolicies/{self.policy}", {"spec": change})

    def remove(self, daemonset: str) -> None:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets/{daemonset}"
        try:
            self.api.delete(path)
        except ApiError as error:
            if error.status != 404:
                raise


@dataclass(frozen=True)
class Step:
    name: str
    act: Callable[[World], None]
    releases: str = ""  # prefix of the versions that have it


def _nfd(world: World) -> None:
    world.nodes.all_unready = True
    world.label(PLAIN, dict(SEEN_BY_NFD))
    for node in (KATA, UNNAMED):
        world.label(node, {**SEEN_BY_NFD, GPU: "true"})


def _all_ready(world: World) -> None:
    world.nodes.all_unready = False
    world.nodes.unready = set()


def _hold(*names: str) -> Callable[[World], None]:
    def act(world: World) -> None:
        world.nodes.unready = set(names)

    return act


def _label(node: str, **labels: str | None) -> Callable[[World], None]:
    """Keyword workload is the workload label, others are deploy labels."""
    given: dict[str, str | None] = {}
    for key, value in labels.items():
        given[WORKLOAD if key == "workload" else f"{DEPLOY}.{key.replace('_', '-')}"] = value
    return lambda world: world.label(node, given)


def _spec(change: dict[str, Any]) -> Callable[[World], None]:
    return lambda world: world.spec(change)


def _again(number: int) -> Callable[[World], None]:
    """A change of the spec that decides nothing, not even about a pod template: a reason to look at everything once more."""
    return _spec({"driver": {"upgradePolicy": {"maxParallelUpgrades": number + 1}}})


def _no_gpus(world: World) -> None:
    for node in (KATA, UNNAMED):
        world.label(node, {GPU: None})


READY = "pods of all operands are ready"
STEPS = (
    Step("installed, nodes without labels of NFD", lambda world: None),
    Step("NFD sees two GPU nodes, no pod is ready", _nfd),
    Step(READY, _all_ready),
    Step("workload label with a bad value", _label(KATA, workload="vm-passthough")),
    Step("workload label right again", _label(KATA, workload="vm-passthrough")),
    Step("deploy.operands=false on the node that nobody named", _label(UNNAMED, operands="false")),
    Step("deploy.operands taken away", _label(UNNAMED, operands=None)),
    Step("a deploy label is paused", _label(KATA, vfio_manager="paused-for-driver-upgrade")),
    Step("a deploy label is empty", _label(KATA, vfio_manager="")),
    Step("the spec changes while a deploy label is empty", _again(1)),
    Step("a deploy label has a value that is not the operator's", _label(KATA, vfio_manager="false")),
    Step("the spec changes while a deploy label has it", _again(2)),
    Step("a deploy label is taken away", _label(KATA, vfio_manager=None)),
    Step("the spec changes while a deploy label is not there", _again(3)),
    Step("vfio-manager is deleted", lambda world: world.remove("nvidia-vfio-manager")),
    Step("a pod of the sandbox validator is not ready", _hold("nvidia-sandbox-validator")),
    Step("it is ready again", _all_ready),
    Step("vfioManager.enabled=false", _spec({"vfioManager": {"enabled": False}})),
    Step("vfioManager.enabled=true", _spec({"vfioManager": {"enabled": True}})),
    Step("ccManager.enabled=false", _spec({"ccManager": {"enabled": False}}), "v26."),
    Step(
        "ccManager.enabled=true, defaultMode=off", _spec({"ccManager": {"enabled": True, "defaultMode": "off"}}), "v26."
    ),
    Step("mode kubevirt", _spec({"sandboxWorkloads": {"mode": "kubevirt"}}), "v26."),
    Step("mode kata", _spec({"sandboxWorkloads": {"mode": "kata"}}), "v26."),
    Step("kataManager.enabled=false", _spec({"kataManager": {"enabled": False}}), "v2[35]."),
    Step("kataManager.enabled=true", _spec({"kataManager": {"enabled": True}}), "v2[35]."),
    Step("defaultWorkload=vm-passthrough", _spec({"sandboxWorkloads": {"defaultWorkload": "vm-passthrough"}})),
    Step("the spec changes after defaultWorkload=vm-passthrough", _again(4)),
    Step("defaultWorkload=container", _spec({"sandboxWorkloads": {"defaultWorkload": "container"}})),
    Step("the spec changes after defaultWorkload=container", _again(5)),
    Step("updateStrategy OnDelete", _spec({"daemonsets": {"updateStrategy": "OnDelete"}})),
    Step("updateStrategy RollingUpdate", _spec({"daemonsets": {"updateStrategy": "RollingUpdate"}})),
    Step("sandboxWorkloads.enabled=false", _spec({"sandboxWorkloads": {"enabled": False}})),
    Step("sandboxWorkloads.enabled=true", _spec({"sandboxWorkloads": {"enabled": True}})),
    Step("NFD sees no GPU any more", _no_gpus),
)
