# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a behaviour is given: one context per container run, see `behaviour.Context`."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .api import Api, ApiError
from .behaviour import Json, Pod

if TYPE_CHECKING:
    from .agent import Agent


class RunContext:
    """Implements `behaviour.Context` for one run of one container."""

    def __init__(self, agent: Agent, pod: Pod, container: Json, log: Callable[[str], None]) -> None:
        self._agent, self._started_pod, self._log = agent, pod, log
        self._uid: str = pod["metadata"]["uid"]
        self.container = container
        self.memory: dict[str, Any] = {}
        self.started_at = time.time()
        self.node: str = agent.config.node
        self.simulated: bool = agent.config.simulated
        self.root: Path = agent.root
        self.run_root: Path = agent.root / "run"
        self.run_dir: Path = agent.run_dir
        self.state_dir: Path = agent.state_dir
        self.api: Api = agent.api
        self.extended_resources = agent.devices.published
        self.runtime_handlers = agent.runtime_handlers

    @property
    def container_runtime_version(self) -> str:
        return self._agent.runtime_version

    @property
    def pod(self) -> Pod:
        """The pod as last seen, also after it was deleted by force."""
        return self._agent.pods.get(self._uid, self._started_pod)

    def log(self, text: str) -> None:
        self._log(text)

    def allocated(self, resource: str) -> list[str]:
        return list(self._agent.devices.held.get(self._uid, {}).get(resource, []))

    def restart_runtime(self, version: str | None = None, seconds: float = 6.0) -> None:
        meta = self.pod["metadata"]
        self._agent.restart_runtime(version, seconds, f"{meta['namespace']}/{meta['name']} {self.container['name']}")

    def node_object(self) -> Json:
        return self.api.get(f"/api/v1/nodes/{self.node}")

    def node_labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.node_object()["metadata"].get("labels") or {}
        return labels

    def patch_node_labels(self, labels: dict[str, str | None]) -> None:
        self._patch("labels", labels)

    def patch_node_annotations(self, annotations: dict[str, str | None]) -> None:
        self._patch("annotations", annotations)

    def _patch(self, kind: str, wanted: dict[str, str | None]) -> None:
        have = self.node_object()["metadata"].get(kind) or {}
        differs = {key: value for key, value in wanted.items() if have.get(key) != value}
        if differs:
            self.api.merge_patch(f"/api/v1/nodes/{self.node}", {"metadata": {kind: differs}})

    def pods_on_node(self) -> list[Pod]:
        return list(self._agent.pods.values())

    def event(self, reason: str, message: str, kind: str = "Normal") -> None:
        self._agent.event(self.pod, reason, message, kind)

    def env(self, name: str, default: str = "") -> str:
        for item in self.container.get("env") or []:
            if item["name"] == name:
                return self._value(item, default)
        for source in self.container.get("envFrom") or []:
            kind = "configMapRef" if "configMapRef" in source else "secretRef"
            prefix = source.get("prefix", "")
            data = self._data(kind.removesuffix("Ref"), source[kind]["name"])
            if name.startswith(prefix) and name[len(prefix) :] in data:
                return data[name[len(prefix) :]]
        return default

    def _value(self, item: Json, default: str) -> str:
        source = item.get("valueFrom")
        if not source:
            return str(item.get("value", ""))
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        for kind in ("configMap", "secret"):
            if f"{kind}KeyRef" in source:
                reference = source[f"{kind}KeyRef"]
                return self._data(kind, reference["name"]).get(reference["key"], default)
        return default

    def _field(self, path: str) -> str:
        match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
        if match:
            return str((self.pod["metadata"].get(match[1]) or {}).get(match[2], ""))
        if path in ("status.hostIP", "status.podIP"):
            return self._agent.config.address
        value: Any = self.pod
        for word in path.split("."):
            value = value.get(word, "") if isinstance(value, dict) else ""
        return str(value)

    def _data(self, kind: str, name: str) -> dict[str, str]:
        namespace = self.pod["metadata"]["namespace"]
        try:
            found = self.api.get(f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}")
        except ApiError as error:
            if error.status == 404:
                return {}
            raise
        data = found.get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()} if kind == "secret" else data
