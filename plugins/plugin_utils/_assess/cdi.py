# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CDI specifications, and whether they agree with what is bound to VFIO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _yaml


def parse(texts: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """JSON is YAML, so one parser reads both; a file that cannot be read says so in C(error)."""
    specs = []
    for path, text in sorted(texts.items()):
        spec: dict[str, Any] = {"path": path, "kind": "", "cdi_version": "", "devices": [], "error": ""}
        try:
            if text is None:
                raise ValueError("it is too large")
            data = _yaml.load(text)
            if not isinstance(data, Mapping):
                raise ValueError("it is not a mapping")
            spec["kind"] = str(data.get("kind", ""))
            spec["cdi_version"] = str(data.get("cdiVersion", ""))
            spec["devices"] = [_device(item) for item in data.get("devices") or []]
        except (yaml.YAMLError, ValueError, AttributeError, TypeError) as error:
            spec["error"] = str(error).splitlines()[0]
        specs.append(spec)
    return specs


def _device(item: Mapping[str, Any]) -> dict[str, Any]:
    nodes = (item.get("containerEdits") or {}).get("deviceNodes") or []
    return {"name": str(item.get("name", "")), "nodes": [str(node.get("path", "")) for node in nodes]}


def problems(
    specs: list[dict[str, Any]],
    kind: str,
    groups: Mapping[str, str | None],
    vfio_nodes: list[str],
    expected: bool = True,
    by_function: Mapping[str, str] | None = None,
) -> list[str]:
    """C(groups) maps each GPU on VFIO to its IOMMU group, C(by_function) a function to its own device node.

    Without C(expected), an absent specification is no problem."""
    ours = [spec for spec in specs if spec["kind"] == kind]
    if not ours:
        # What cannot be read may be the one; beside one of this kind it is somebody else's.
        unread = [f"{spec['path']} cannot be read: {spec['error']}" for spec in specs if spec["error"]]
        missing = [f"there is no CDI specification of the kind {kind}"] if expected else []
        return [*unread, *missing] if groups else []
    found, own = [], by_function or {}
    listed = {node for spec in ours for device in spec["devices"] for node in device["nodes"]}
    for address, group in sorted(groups.items()):
        if not listed & {f"/dev/vfio/{group}", own.get(address, "")}:
            found.append(f"GPU {address} is on VFIO (group {group}) and has no entry in the CDI specification {kind}")
    for node in sorted(listed):
        if node.startswith("/dev/vfio/devices/"):
            found += _own_node(kind, node, {path: address for address, path in own.items()}, groups)
            continue
        name = node.removeprefix("/dev/vfio/")
        if node.startswith("/dev/vfio/") and "/" not in name and name != "vfio":
            if name not in vfio_nodes:
                found.append(f"the CDI specification {kind} names {node}, which does not exist")
            elif name not in groups.values():
                found.append(f"the CDI specification {kind} names {node}, which belongs to no GPU on VFIO")
    names = [device["name"] for spec in ours for device in spec["devices"]]
    found += [
        f"the CDI device {kind}={name} is defined twice" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    return found


def _own_node(kind: str, node: str, addresses: Mapping[str, str], groups: Mapping[str, str | None]) -> list[str]:
    if node not in addresses:
        return [f"the CDI specification {kind} names {node}, which does not exist"]
    if addresses[node] not in groups:
        return [f"the CDI specification {kind} names {node}, which belongs to no GPU on VFIO"]
    return []


def own_nodes(devices: Mapping[str, Any]) -> dict[str, str]:
    """PCI address to the device node of the function alone, which kernels from 6.6 on can have beside that of the group."""
    nodes: Mapping[str, str | None] = devices.get("/dev/vfio/devices") or {}
    return {address: f"/dev/vfio/devices/{name}" for name, address in nodes.items() if address is not None}
