# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that exist in the API only: an agent on this host over a small file tree, no machine behind it."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import paths, processes
from tests.lab.controlplane import pki, server
from tests.lab.errors import LabError
from tests.lab.nodes import Progress, agent_config, agent_files, credentials, digest_of, renewal, wait_ready
from tests.unit import machines as trees

CONTAINER_NODE = "container-1"

_BRIDGE = {"address": "0000:00:01.0", "class": "060400", "vendor": "8086", "device": "2030", "driver": "pcieport"}
# A server with one A10 whose driver the GPU Operator would bring in a container: nothing is bound to the GPU.
_A10 = {
    "address": "0000:65:00.0",
    "class": "030200",
    "vendor": "10de",
    "device": "2236",
    "subsystem": "10de:1482",
    "revision": "a1",
    "parent": "0000:00:01.0",
    "numa_node": 0,
}


@dataclass(frozen=True)
class ApiNode:
    """A node that exists in the API only, with an agent over a small file tree on this host."""

    address: str
    functions: tuple[dict[str, Any], ...]
    # Written when it registers: what an earlier Node Feature Discovery would have left.
    discovered: tuple[str, ...] = ()


API_NODES = {
    CONTAINER_NODE: ApiNode("127.0.0.21", (_BRIDGE, _A10)),
    # Nobody names these two in the inventory.
    "cpu-1": ApiNode("127.0.0.22", (_BRIDGE,), ("feature.node.kubernetes.io/cpu-hardware_multithreading",)),
    "gpu-1": ApiNode("127.0.0.23", (_BRIDGE, _A10), ("feature.node.kubernetes.io/pci-10de.present",)),
}


def _tree(name: str, functions: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {
        "pci": [dict(function) for function in functions],
        "files": {
            "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\n'
            "VERSION_CODENAME=trixie\nID=debian\n",
            "/etc/hostname": f"{name}\n",
            "/proc/sys/kernel/osrelease": "6.12.48+deb13-amd64\n",
            "/proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz-6.12.48+deb13-amd64 root=/dev/vda1 ro quiet\n",
        },
        "dirs": ["/sys/kernel/iommu_groups", "/run", "/var/lib", "/var/log"],
    }


def directory_of(name: str) -> Path:
    return Path(paths.NODES) / name


def _boot(root: Path) -> None:
    """What a boot changes: a new boot id, an empty /run."""
    shutil.rmtree(root / "run", ignore_errors=True)
    (root / "run").mkdir(parents=True)
    identity = root / "proc/sys/kernel/random/boot_id"
    identity.parent.mkdir(parents=True, exist_ok=True)
    identity.write_text(f"{uuid.uuid4()}\n", encoding="utf-8")


def container_node_up(progress: Progress) -> None:
    """The container node, which every lab has."""
    api_node_up(CONTAINER_NODE, progress)


def api_node_up(name: str, progress: Progress) -> None:
    """Starts an API-only node: an agent on this host over a small file tree."""
    if name not in API_NODES:
        raise LabError(f"there is no API-only node {name}. Known: {', '.join(API_NODES)}")
    node, directory = API_NODES[name], directory_of(name)
    root = directory / "root"
    if not (root / "etc/machine-id").is_file():
        trees.build(_tree(name, node.functions), root)
        _boot(root)
        (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="utf-8")
    secrets = credentials(name, node.address)
    config = agent_config(
        name,
        node.address,
        str(directory),
        api=server.API,
        root=str(root),
        bind=node.address,
        simulated=True,
    )
    files = {**agent_files(), **secrets, "agent.json": json.dumps(config, indent=1).encode()}
    process, digest = f"node-{name}", digest_of(files)
    record = processes.find(process)
    if record is not None and record.get("digest") != digest:
        processes.stop(process)
        record = None
    before = ""
    if record is None:
        before = renewal(name)
        for file_name in ("agent.json", *secrets):
            pki.write_private(directory / file_name, files[file_name])
        command = [sys.executable, "-m", "tests.lab.node", "--agent-config", str(directory / "agent.json")]
        processes.start(process, command, digest=digest)
    wait_ready(name, progress, before)
    if node.discovered:
        labels = dict.fromkeys(node.discovered, "true")
        server.api().merge_patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}})
    progress(f"node {name} | Ready (API only, no machine behind it)")


def api_nodes_down(progress: Progress = lambda text: None) -> None:
    """Ends the agents of all of them and removes their trees."""
    for name in API_NODES:
        if processes.stop(f"node-{name}"):
            progress(f"node {name} | ended")
        shutil.rmtree(directory_of(name), ignore_errors=True)


def runtime_restarts(name: str) -> list[str]:
    """By which pods (namespace/name) containerd of an API-only node was restarted, as its agent noted it."""
    record = directory_of(name) / "root/var/lib/katalab/runtime-restarts"
    if not record.is_file():
        return []
    return [line.split()[1] for line in record.read_text(encoding="utf-8").splitlines()]
