# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the file tree of a machine from a compact YAML description of facts.

A description has C(pci) (a list of functions), C(files) (path to content), C(links) (path to target) and C(dirs). A
function has C(address), C(class), C(vendor), C(device) and where known C(subsystem) (C(10de:1482)), C(revision), C(driver),
C(group), C(parent) (address of the upstream bridge), C(consumers) (functions that the kernel
links to this one), C(boot_vga), C(numa_node), C(driver_override), C(config) (hex of
configuration space, or a description of it as in config_space.py), C(acs) (offset, capability and control of Access Control Services
in hex), C(bars) (index, kind, address, size, width and whether it is prefetchable) and C(files) (further attributes). C(vendor_name), C(device_name) and
C(modules) are what lspci says of it; they are in no file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.unit import config_space

DESCRIPTIONS = Path(__file__).parent / "fixtures" / "machines"


def names() -> list[str]:
    return sorted(path.stem for path in DESCRIPTIONS.glob("*.yml"))


def load(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((DESCRIPTIONS / f"{name}.yml").read_text(encoding="utf-8"))
    return data


def sort_key(address: str) -> list[int]:
    """The numeric order of addresses, written apart from the product's own."""
    return [int(part, 16) for part in address.replace(".", ":").split(":")]


def build(description: dict[str, Any] | str, root: Path) -> Path:
    """Writes the tree of a description (or of a fixture's name) below C(root) and returns C(root)."""
    data = load(description) if isinstance(description, str) else description
    functions = {function["address"]: function for function in data.get("pci", [])}
    for function in functions.values():
        _write_function(root, function, functions)
    for path in data.get("dirs", []):
        (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for path, content in data.get("files", {}).items():
        _write(root / path.lstrip("/"), content)
    for path, target in data.get("links", {}).items():
        _link(root / path.lstrip("/"), target, root)
    return root


def _device_path(address: str, functions: dict[str, Any]) -> str:
    parent = functions[address].get("parent")
    base = _device_path(parent, functions) if parent in functions else f"/sys/devices/pci{address[:7]}"
    return f"{base}/{address}"


def _write_function(root: Path, function: dict[str, Any], functions: dict[str, Any]) -> None:
    address = function["address"]
    path = _device_path(address, functions)
    device = root / path.lstrip("/")
    subsystem = function.get("subsystem", "0000:0000").split(":")
    identity = f"{function['vendor']}:{function['device']}".upper()
    attributes = {
        "uevent": f"PCI_CLASS={int(function['class'].ljust(6, '0'), 16):X}\nPCI_ID={identity}\n"
        f"PCI_SUBSYS_ID={':'.join(subsystem).upper()}\nPCI_SLOT_NAME={address}\n",
        "vendor": f"0x{function['vendor']}\n",
        "device": f"0x{function['device']}\n",
        "class": f"0x{function['class'].ljust(6, '0')}\n",
        "subsystem_vendor": f"0x{subsystem[0]}\n",
        "subsystem_device": f"0x{subsystem[1]}\n",
        "revision": f"0x{function.get('revision', '00')}\n",
        "numa_node": f"{function.get('numa_node', -1)}\n",
        "driver_override": f"{function.get('driver_override', '(null)')}\n",
        "enable": "0\n",
        **({"boot_vga": f"{function['boot_vga']}\n"} if "boot_vga" in function else {}),
        **({"resource": resource_text(function["bars"])} if "bars" in function else {}),
        **function.get("files", {}),
    }
    for name, content in attributes.items():
        _write(device / name, content)
    for consumer in function.get("consumers", ()):
        _link(device / f"consumer:pci:{consumer}", f"/sys/devices/virtual/devlink/pci:{address}--pci:{consumer}", root)
    if "config" in function:
        _write_space(device, function, function["config"])
    if "acs" in function:
        offset, capability, control = function["acs"]
        described = config_space.port("root_port")
        registers = f"{capability[2:]}{capability[:2]}{control[2:]}{control[:2]}"
        described["extended"] = [[offset, "000d", registers]]
        _write_space(device, function, described)
    _link(root / f"sys/bus/pci/devices/{address}", path, root)
    if function.get("driver"):
        driver = root / f"sys/bus/pci/drivers/{function['driver']}"
        driver.mkdir(parents=True, exist_ok=True)
        _link(device / "driver", f"/sys/bus/pci/drivers/{function['driver']}", root)
        _link(driver / address, path, root)
    if function.get("group") is not None:
        group = f"/sys/kernel/iommu_groups/{function['group']}"
        _link(root / f"{group[1:]}/devices/{address}", path, root)
        _link(device / "iommu_group", group, root)


def _write_space(device: Path, function: dict[str, Any], given: Any) -> None:
    if isinstance(given, str):
        content = bytes.fromhex(given)
    else:
        content = config_space.space({"revision": function.get("revision", "00"), **given})
    (device / "config").write_bytes(content)


def resource_text(bars: list[list[Any]]) -> str:
    """The kernel's table of address ranges: start, end and flags of six registers and the expansion ROM."""
    lines = ["0x0000000000000000 0x0000000000000000 0x0000000000000000"] * 7
    for index, kind, address, size, bits, prefetchable in bars:
        flags = 0x40200 if kind == "memory" else 0x40101
        flags |= (0x100000 if bits == 64 else 0) | (0x2000 if prefetchable else 0)
        lines[index] = f"0x{address:016x} 0x{address + size - 1:016x} 0x{flags:016x}"
    return "\n".join(lines) + "\n"


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def _link(path: Path, target: str, root: Path) -> None:
    """Absolute targets become relative ones, so that the tree can lie anywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if target.startswith("/"):
        depth = len(path.parent.relative_to(root).parts)
        target = "../" * depth + target.lstrip("/")
    path.symlink_to(target)
