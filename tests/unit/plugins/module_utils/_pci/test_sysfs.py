# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees of described machines, read back; and the facts that only sysfs has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.facts import (
    devices_from_facts,
    iommu_groups,
    read_facts,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import config_space, machines

GPU = {"address": "0000:65:00.0", "class": "030200", "vendor": "10de", "device": "2236"}


def read(tmp_path: Path, *functions: dict[str, Any]) -> list[Any]:
    return read_devices(HostRoot(str(machines.build({"pci": list(functions)}, tmp_path))))


@pytest.mark.parametrize("has_uevent", [True, False])
@pytest.mark.parametrize("name", machines.names())
def test_a_machine_is_read_back(name: str, has_uevent: bool, tmp_path: Path) -> None:
    machine = machines.load(name)
    machines.build(machine, tmp_path)
    if not has_uevent:
        for path in tmp_path.glob("sys/devices/**/uevent"):
            path.unlink()

    devices = read_devices(HostRoot(str(tmp_path)))

    functions = sorted(machine["pci"], key=lambda function: machines.sort_key(function["address"]))
    assert [device.address for device in devices] == [function["address"] for function in functions]
    for device, function in zip(devices, functions, strict=True):
        assert device.class_code == function["class"].ljust(6, "0")
        assert device.id == f"{function['vendor']}:{function['device']}"
        subsystem = function.get("subsystem")
        wanted = subsystem.split(":") if subsystem else [None, None]
        assert [device.subsystem_vendor_id, device.subsystem_device_id] == wanted
        assert device.revision == function.get("revision", "00")
        assert device.driver == function.get("driver")
        assert device.iommu_group == function.get("group")
        assert device.numa_node == function.get("numa_node")
        assert device.parent == function.get("parent")
        assert device.boot_vga == (bool(function["boot_vga"]) if "boot_vga" in function else None)
        assert [(bar["index"], bar["size"], bar["bits"]) for bar in device.bars] == [
            (bar[0], bar[3], bar[4]) for bar in function.get("bars", [])
        ]


def test_access_control_services_of_a_real_port(tmp_path: Path) -> None:
    machines.build("epyc_rome", tmp_path)

    ports = {device.address: device.acs for device in read_devices(HostRoot(str(tmp_path)))}

    assert ports["0000:00:07.1"] == {
        "capability": ["source_validation", "translation_blocking"],
        "control": ["source_validation"],
    }
    assert ports["0000:00:03.5"] is None  # Its configuration space was not captured.


def test_driver_override_and_virtual_functions(tmp_path: Path) -> None:
    physical = {**GPU, "driver_override": "vfio-pci", "files": {"sriov_totalvfs": "16\n", "sriov_numvfs": "1\n"}}
    virtual = {**GPU, "address": "0000:65:00.4"}
    machines.build({"pci": [physical, virtual]}, tmp_path)
    (tmp_path / "sys/bus/pci/devices/0000:65:00.4/physfn").symlink_to("../0000:65:00.0")

    first, second = read_devices(HostRoot(str(tmp_path)))

    assert first.driver_override == "vfio-pci"
    assert first.sriov == {"total_vfs": 16, "num_vfs": 1, "physical_function": None}
    assert second.driver_override is None
    assert second.sriov == {"total_vfs": 0, "num_vfs": 0, "physical_function": "0000:65:00.0"}


def test_a_register_that_got_no_room(tmp_path: Path) -> None:
    text = "0x0000000000000000 0x0000000fffffffff 0x000000002014220c\nnonsense\n"

    (device,) = read(tmp_path, {**GPU, "files": {"resource": text}})

    assert [(bar["size"], bar["assigned"]) for bar in device.bars] == [(64 << 30, False)]


def test_unreadable_attributes_are_unknown(tmp_path: Path) -> None:
    files = {"uevent": "", "vendor": "", "device": "zz", "class": "", "revision": "", "numa_node": "?"}

    (device,) = read(tmp_path, {**GPU, "files": files})

    assert (device.vendor_id, device.device_id, device.class_code, device.revision, device.numa_node) == (None,) * 5


def test_power_and_ways_to_reset(tmp_path: Path) -> None:
    """The kernel hides the attribute for what it cannot reset; bridges and system devices are not asked."""
    files = {"power_state": "D3hot\n", "reset_method": "flr bus\n"}
    other, port = {**GPU, "address": "0000:66:00.0"}, {**GPU, "address": "0000:64:00.0", "class": "060400"}
    memory = {**GPU, "address": "0000:00:00.0", "class": "050000", "files": files}

    devices = {device.address: device for device in read(tmp_path, {**GPU, "files": files}, other, port, memory)}

    assert (devices[GPU["address"]].power_state, devices[GPU["address"]].reset_methods) == ("D3hot", ("flr", "bus"))
    assert devices["0000:66:00.0"].reset_methods == ()
    assert devices["0000:64:00.0"].reset_methods is None is devices["0000:00:00.0"].reset_methods


def test_a_kernel_that_does_not_say_how_it_resets(tmp_path: Path) -> None:
    (device,) = read(tmp_path, GPU)

    assert device.reset_methods is None


@pytest.mark.parametrize(
    ("files", "is_read"),
    [
        ({"power_state": "D0\n"}, True),
        ({"power_state": "D3hot\n"}, True),
        ({"power_state": "unknown\n"}, True),
        ({"power_state": "D3cold\n"}, False),
        ({"power_state": "D3cold\n", "power/runtime_status": "active\n"}, False),
        ({"power/runtime_status": "suspended\n"}, False),
        ({"power/runtime_status": "active\n"}, True),
        ({}, True),
    ],
)
def test_a_device_without_power_is_left_asleep(
    files: dict[str, str], is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.build(
        {"pci": [{**GPU, "config": config_space.port("endpoint", header_type=0x00), "files": files}]}, tmp_path
    )
    opened = []

    def watched(path: str, *rest: Any) -> int:
        opened.append(os.path.basename(path))
        return real(path, *rest)

    real = os.open
    monkeypatch.setattr(os, "open", watched)

    (device,) = read_devices(HostRoot(str(tmp_path)))

    assert ("config" in opened) is is_read
    assert device.express_type == ("endpoint" if is_read else None)


def test_only_function_zero_says_whether_a_device_has_several(tmp_path: Path) -> None:
    """ICH10 has header type 00 on its later USB functions; the kernel takes them for what they are."""
    kinds = [config_space.port("endpoint", (0x00, 0x00), header_type=kind) for kind in (0x00, 0x00, 0x80)]
    functions = [{**GPU, "address": f"0000:65:00.{number}", "config": kind} for number, kind in enumerate(kinds)]
    machines.build({"pci": functions}, tmp_path)
    (tmp_path / "sys/bus/pci/devices/0000:65:00.2/physfn").symlink_to("../0000:65:00.0")

    assert [device.multifunction for device in read_devices(HostRoot(str(tmp_path)))] == [False, True, False]


def test_a_machine_without_pci(tmp_path: Path) -> None:
    empty = {"devices": [], "iommu_groups": {}, "group_merges": [], "unparsed": []}
    assert read_facts(HostRoot(str(tmp_path))) == empty


def test_facts_survive_the_transfer(tmp_path: Path) -> None:
    machines.build("hgx_h200", tmp_path)

    facts = read_facts(HostRoot(str(tmp_path)))

    assert [device.as_dict() for device in devices_from_facts(facts)] == facts["devices"]
    assert facts["iommu_groups"]["114"] == ["0000:05:00.0", "0000:06:00.0", "0000:07:00.0"]
    assert list(facts["iommu_groups"]) == sorted(facts["iommu_groups"], key=int)
    assert sum(device.is_nvidia_gpu for device in devices_from_facts(facts)) == 8
    assert iommu_groups([]) == {}


def test_each_function_costs_few_file_accesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget of 0.1 s for 512 functions holds because of this number; a time would be a test of the machine."""
    machines.build("thinkpad_p53", tmp_path)
    paths: list[str] = []

    def watch(function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(path: str, *rest: Any, **more: Any) -> Any:
            paths.append(path)
            return function(path, *rest, **more)

        return watched

    monkeypatch.setattr(os, "open", watch(os.open))
    monkeypatch.setattr(os, "readlink", watch(os.readlink))

    devices = read_devices(HostRoot(str(tmp_path)))

    assert len(devices) == 26
    assert len(devices) * 6 < len(paths) <= len(devices) * 14


def test_configuration_space_costs_few_accesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each four bytes are an access to the device, so capabilities that nobody asks for are stepped over by their headers."""
    machines.build("x58_p6t6", tmp_path)
    sizes: list[int] = []

    def watched(handle: int, size: int, offset: int) -> bytes:
        sizes.append((offset % 4 + size + 3) // 4)
        return real(handle, size, offset)

    real = os.pread
    monkeypatch.setattr(os, "pread", watched)

    devices = read_devices(HostRoot(str(tmp_path)))

    assert {device.express_type for device in devices} >= {
        "root_port",
        "upstream_port",
        "downstream_port",
        "conventional",
    }
    assert 0 < sum(sizes) <= len(devices) * 16
