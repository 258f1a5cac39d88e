# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of readers, and the one call that runs them all."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot.facts import read_facts as read_boot
from ansible_collections.katagpu.cluster.plugins.module_utils._host_facts import (
    confidential,
    framebuffers,
    nodes,
    platform,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._host_facts.compact import (
    compact_iommu,
    compact_pci,
    relevant_addresses,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.facts import read_facts as read_iommu
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet.facts import read_facts as read_kubelet
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.facts import read_facts as read_modules
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.facts import read_facts as read_pci
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_facts as read_vfio

SCHEMA = 1


class Request(NamedTuple):
    """What the caller asks for; a reader takes what concerns it."""

    artifacts_dirs: Tuple[str, ...] = ()
    full: bool = False
    ssh_connection: str = ""


Reader = Callable[[HostRoot, Request], Any]

# The order is that of the result.
READERS: Mapping[str, Reader] = {
    "platform": lambda root, request: platform.read_platform(root),
    "pci": lambda root, request: read_pci(root),
    "framebuffers": lambda root, request: framebuffers.read_framebuffers(root),
    "iommu": lambda root, request: read_iommu(root),
    "boot": lambda root, request: read_boot(root),
    "modules": lambda root, request: read_modules(root),
    "vfio": lambda root, request: read_vfio(root, ssh_connection=request.ssh_connection),
    "devices": lambda root, request: nodes.read_devices(root),
    "confidential": lambda root, request: confidential.read_confidential(root),
    "kubelet": lambda root, request: read_kubelet(root),
    "containerd": lambda root, request: nodes.read_containerd(root),
    "cdi": lambda root, request: nodes.read_cdi(root),
    "artifacts": lambda root, request: nodes.read_artifacts(root, request.artifacts_dirs),
}


def collect(root: HostRoot, request: Request, readers: Optional[Mapping[str, Reader]] = None) -> Dict[str, Any]:
    facts: Dict[str, Any] = {"schema": SCHEMA}
    seconds: List[Tuple[str, float]] = []
    for name, reader in (READERS if readers is None else readers).items():
        started = time.monotonic()
        facts[name] = reader(root, request)
        seconds.append((name, round(time.monotonic() - started, 4)))
    if not request.full:
        relevant = relevant_addresses(facts["pci"]["devices"])
        facts["pci"] = compact_pci(facts["pci"])
        facts["iommu"] = compact_iommu(facts["iommu"], relevant)
    facts["seconds"] = dict(seconds)
    return facts
