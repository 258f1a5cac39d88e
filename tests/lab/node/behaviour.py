# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container does on a node of the lab: the interface between the node agent and the stand-in behaviours.

A behaviour is written as one class in a module of `behaviours/`::

    from ..behaviour import Behaviour, Context, Outcome, completed, register, running

    @register
    class Validator(Behaviour):
        container = "vfio-pci-validation"

        def start(self, ctx: Context, pod: Pod) -> Outcome:
            return self.tick(ctx, pod)

        def tick(self, ctx: Context, pod: Pod) -> Outcome:
            if not (ctx.run_root / "nvidia/validations/vfio-pci-ready").exists():
                return running(ready=False)
            return completed("all GPUs are bound to vfio-pci")

One instance serves every pod with such a container, so what a run has to remember goes into `ctx.memory`.
`start`, `tick` and `stop` are called from one thread, one after the other, and must return within a few seconds:
whatever waits, returns an outcome and looks again at the next tick (once per second).
An exception is a crash of the container: its text is the log, exit code 1.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

Pod = dict[str, Any]
Json = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """State of one container after `start` or `tick`. Made by the functions below."""

    state: str  # running | waiting | failed | completed
    reason: str = ""
    message: str = ""
    log: str = ""
    ready: bool = True
    exit_code: int = 0


def running(ready: bool = True) -> Outcome:
    """The container runs; with ready=False its readiness probe fails. An init container that waits is `running()`."""
    return Outcome("running", ready=ready)


def waiting(reason: str = "ContainerCreating", message: str = "") -> Outcome:
    """The container was not started yet (state.waiting); `tick` is asked again."""
    return Outcome("waiting", reason=reason, message=message, ready=False)


def failed(message: str, exit_code: int = 1) -> Outcome:
    """The container ended with an error; it starts again by restartPolicy (CrashLoopBackOff, capped at 10 s)."""
    return Outcome("failed", reason="Error", message=message, log=message, ready=False, exit_code=exit_code)


def completed(log: str = "") -> Outcome:
    """The container ended with exit code 0; `log` is added to its log."""
    return Outcome("completed", reason="Completed", log=log, ready=False)


class Api(Protocol):
    """Client of the Kubernetes API with the rights of the node agent. Paths such as `/api/v1/nodes/x`."""

    def get(self, path: str, **query: str) -> Json: ...

    def create(self, path: str, body: Json) -> Json: ...

    def merge_patch(self, path: str, body: Json) -> Json: ...

    def delete(self, path: str, grace_seconds: int | None = None) -> Json: ...


class Context(Protocol):
    """What a behaviour may use. One context per container run."""

    node: str
    """Name of the Node object."""
    simulated: bool
    """True on an API-only node, whose `root` is a small tree and not a machine."""
    root: Path
    """Root of the node's file system; sysfs is `root / "sys"`."""
    run_root: Path
    """`root / "run"`: lost at a reboot."""
    run_dir: Path
    """Private directory of the agent below `run_root`: lost at a reboot."""
    state_dir: Path
    """Private directory of the agent that survives a reboot."""
    container: Json
    """This container's part of the pod's spec."""
    memory: dict[str, Any]
    """Private to this container run: empty at every start."""
    extended_resources: dict[str, list[str]]
    """Devices of each resource, as a device plugin lists them. Assign a list to publish or change it and delete the key
    when the plugin stops: allocatable becomes 0 then. Lost when the agent restarts, as with a kubelet."""
    runtime_handlers: set[str]
    """Handlers the runtime knows besides `runc`: a pod of a RuntimeClass with another handler gets no sandbox.
    Kept over reboots (it stands for containerd's configuration file)."""
    started_at: float
    """Time of this container's start, seconds since the epoch."""

    @property
    def api(self) -> Api:
        """The Kubernetes API with the rights of the node agent."""

    @property
    def container_runtime_version(self) -> str:
        """`containerd://1.7.24`; to be changed through `restart_runtime`."""

    def log(self, text: str) -> None:
        """Adds lines to this container's log (kubectl logs)."""

    def env(self, name: str, default: str = "") -> str:
        """Environment of the container from literal values, downward API, ConfigMaps and Secrets."""

    def allocated(self, resource: str) -> list[str]:
        """Device ids of `resource` that were given to this pod."""

    def restart_runtime(self, version: str | None = None, seconds: float = 6.0) -> None:
        """containerd restarts: the node is NotReady for a moment; `version` is what it reports afterwards."""

    def node_object(self) -> Json:
        """The Node as the API has it now."""

    def node_labels(self) -> dict[str, str]:
        """Labels of the Node, read now."""

    def patch_node_labels(self, labels: dict[str, str | None]) -> None:
        """Sets labels of this Node (None removes); no request when all are as wanted."""

    def patch_node_annotations(self, annotations: dict[str, str | None]) -> None:
        """The same for annotations."""

    def pods_on_node(self) -> list[Pod]:
        """Pods bound to this node, from the agent's watch (no request)."""

    def event(self, reason: str, message: str, kind: str = "Normal") -> None:
        """Posts an Event about the pod."""


class Behaviour(ABC):  # noqa: B024 - subclasses may need none of the three
    """One container name and what it does on the node. The defaults: runs at once, ends when it is stopped."""

    container: ClassVar[str]

    def matches(self, pod: Pod, container: Json) -> bool:
        """Override where a container name alone is not unique."""
        return bool(container.get("name") == self.container)

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        """Called once for every start of the container, before the first tick."""
        return running()

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        """Called every second while the container is waiting or running."""
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        """preStop and SIGTERM: called when the pod is deleted while the container runs (not at a reboot or a crash)."""
        return None


@dataclass
class Registry:
    """Behaviours in order of registration: the first that matches serves the container."""

    behaviours: list[Behaviour] = field(default_factory=list)

    def find(self, pod: Pod, container: Json) -> Behaviour | None:
        return next((one for one in self.behaviours if one.matches(pod, container)), None)


REGISTRY = Registry()


def register(kind: type[Behaviour]) -> type[Behaviour]:
    """Class decorator: adds one instance to the registry."""
    REGISTRY.behaviours.append(kind())
    return kind


def load_behaviours() -> Registry:
    """Imports every module of `behaviours/`, which register themselves."""
    package = importlib.import_module(".behaviours", __package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return REGISTRY
