# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration of the agent and what it reads from the machine below its root."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What the Node claims to have: a small GPU server, so that the scheduler places what upstream's requests need.
# The guest has less; nothing that runs "in name" uses it.
CAPACITY = {"cpu": "32", "memory": "131072000Ki", "ephemeral-storage": "209715200Ki", "pods": "110"}


@dataclass(frozen=True)
class Config:
    """agent.json. Token, authority and serving certificate are paths on the machine itself, not below `root`."""

    node: str
    address: str
    api: str
    token_file: str
    ca_file: str
    certificate_file: str
    key_file: str
    root: str = "/"
    port: int = 10250
    bind: str = "0.0.0.0"
    simulated: bool = False
    kubelet_version: str = "v1.37.2"
    container_runtime_version: str = "containerd://1.7.24"
    capacity: dict[str, str] = field(default_factory=lambda: dict(CAPACITY))

    @staticmethod
    def load(path: Path) -> Config:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Config(**data)


@dataclass(frozen=True)
class Facts:
    """What nodeInfo says about the machine."""

    boot_id: str
    machine_id: str
    kernel: str
    os_image: str
    architecture: str


def read_facts(root: Path) -> Facts:
    """Facts of the machine below `root`; on an API-only node the tree has the same files."""
    return Facts(
        boot_id=_text(root / "proc/sys/kernel/random/boot_id"),
        machine_id=_text(root / "etc/machine-id"),
        kernel=_text(root / "proc/sys/kernel/osrelease"),
        os_image=os_image(_text(root / "etc/os-release")),
        architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def os_image(os_release: str) -> str:
    """PRETTY_NAME of an os-release text."""
    for line in os_release.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "PRETTY_NAME":
            return value.strip().strip("\"'")
    return "Linux"


class Store:
    """JSON files of the agent, written so that a power cut leaves the old or the new content."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def load(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.directory / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content

    def save(self, name: str, content: dict[str, Any]) -> None:
        temporary = self.directory / f".{name}.json.new"
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
        temporary.replace(self.directory / f"{name}.json")
