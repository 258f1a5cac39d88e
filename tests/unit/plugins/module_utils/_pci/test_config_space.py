# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capabilities of real machines from their configuration space, and spaces that are cut, damaged or absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.config_space import decode, read_file
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import config_space, machines

NONE: dict[str, list[str]] = {"capability": [], "control": []}
REQUIRED = ["source_validation", "request_redirect", "completion_redirect", "upstream_forwarding"]


def of(content: bytes, multifunction: bool | None = None) -> dict[str, Any]:
    return decode(lambda size, offset: content[offset : offset + size], multifunction)


def machine(name: str, tmp_path: Path) -> dict[str, PciDevice]:
    machines.build(name, tmp_path)
    return {device.address: device for device in read_devices(HostRoot(str(tmp_path)))}


def test_ports_of_a_real_machine(tmp_path: Path) -> None:
    devices = machine("x58_p6t6", tmp_path)

    kinds = {address: device.express_type for address, device in devices.items() if device.is_bridge}
    assert kinds == {
        "0000:00:01.0": "root_port",
        "0000:00:03.0": "root_port",
        "0000:00:07.0": "root_port",
        "0000:00:1c.0": "root_port",
        "0000:00:1c.1": "root_port",
        "0000:00:1c.2": "root_port",
        "0000:00:1e.0": "conventional",
        "0000:02:00.0": "upstream_port",
        "0000:03:00.0": "downstream_port",
        "0000:03:02.0": "downstream_port",
    }
    # The I/O hub could isolate and does not; the switch and the ports of the south bridge cannot.
    assert devices["0000:00:03.0"].acs == {
        "capability": ["source_validation", "translation_blocking", *REQUIRED[1:]],
        "control": [],
    }
    assert devices["0000:03:00.0"].acs == devices["0000:00:1c.0"].acs == devices["0000:00:1e.0"].acs == NONE
    # A single function has no use for it, one of several may have it.
    assert devices["0000:04:00.0"].acs is None
    assert devices["0000:06:00.1"].acs == NONE
    assert [devices[address].multifunction for address in ("0000:04:00.0", "0000:06:00.0")] == [False, True]


def test_links_of_a_real_machine(tmp_path: Path) -> None:
    devices = machine("x58_p6t6", tmp_path)

    assert devices["0000:00:03.0"].link == {"speed": 5.0, "width": 16, "max_speed": 5.0, "max_width": 16}
    assert devices["0000:04:00.0"].link == {"speed": 5.0, "width": 8, "max_speed": 5.0, "max_width": 8}
    assert devices["0000:00:1e.0"].link is None
    # Nothing is plugged in below this port.
    assert devices["0000:00:01.0"].link == {"speed": 2.5, "width": 0, "max_speed": 5.0, "max_width": 4}


def test_resizable_registers_of_real_graphics_cards(tmp_path: Path) -> None:
    fiji = machine("fiji_resizable", tmp_path / "fiji")["0000:09:00.0"]
    mib = 1 << 20
    assert fiji.resizable_bars == (
        {"index": 0, "size": 256 * mib, "supported_sizes": [size * mib for size in (256, 512, 1024, 2048, 4096)]},
    )

    devices = machine("a6000_romane", tmp_path / "a6000")
    assert [(entry["index"], entry["size"] // mib) for entry in devices["0000:01:00.0"].resizable_bars] == [
        (0, 16),
        (1, 256),
        (3, 32),
    ]
    sizes = [entry["supported_sizes"] for entry in devices["0000:01:00.0"].resizable_bars]
    assert sizes == [[16 * mib], [64 * mib << step for step in range(11)], [32 * mib]]
    assert devices["0000:01:00.0"].link == {"speed": 2.5, "width": 16, "max_speed": 16.0, "max_width": 16}
    assert devices["0000:01:00.0"].express_type == "legacy_endpoint"
    assert devices["0000:01:00.1"].resizable_bars == ()


def test_the_largest_sizes_are_in_the_control_register() -> None:
    description = config_space.port("endpoint", header_type=0x00)
    description["extended"] = [["100", "0015", "000000802120" + "0300"]]  # 128 TiB, then 256 and 512 TiB; 4 GiB now.

    (entry,) = of(config_space.space(description))["resizable_bars"]

    assert entry == {"index": 1, "size": 1 << 52, "supported_sizes": [1 << 47, 1 << 48, 1 << 49]}


@pytest.mark.parametrize(
    ("registers", "capability", "control"),
    [
        ((0x5F, 0x1D), [*REQUIRED[:1], "translation_blocking", *REQUIRED[1:], "direct_translated"], REQUIRED),
        ((0x0003, 0x0001), ["source_validation", "translation_blocking"], ["source_validation"]),
        ((0x0020, 0x0020), ["egress_control"], ["egress_control"]),
        ((0x0000, 0x0000), [], []),
    ],
)
def test_access_control_services(registers: tuple[int, int], capability: list[str], control: list[str]) -> None:
    content = config_space.space(config_space.port("downstream_port", registers))

    assert of(content)["acs"] == {"capability": capability, "control": control}


@pytest.mark.parametrize("speed", [1, 2, 3, 4, 5, 6, 7])
def test_speed_codes(speed: int) -> None:
    described = config_space.port("root_port")
    described["capabilities"][1][2] = "4200" + "00" * 8 + f"{speed | 8 << 4:08x}"[6:] + "000000" + "0000" + "4300"

    link = of(config_space.space(described))["link"]

    assert link == {
        "speed": 8.0,
        "width": 4,
        "max_speed": {7: None}.get(speed, 2.5 * 2 ** (speed - 1) if speed < 3 else 2.0**speed),
        "max_width": 8,
    }


def test_the_widest_link() -> None:
    described = config_space.port("root_port")
    described["capabilities"][1][2] = "4200" + "00" * 8 + "03020000" + "0000" + "0302"

    assert of(config_space.space(described))["link"] == {"speed": 8.0, "width": 32, "max_speed": 8.0, "max_width": 32}


@pytest.mark.parametrize("offset", ["104", "148", "ff4", "ffc"])
def test_capabilities_at_any_offset(offset: str) -> None:
    """The header has four bytes, and what follows it may not fit any more."""
    described = config_space.port("root_port")
    described["extended"] = [[offset, "000d", "1f001d00"]]

    fields = of(config_space.space(described)[:4096])

    assert ("acs" in fields) is (offset != "ffc")
    assert offset == "ffc" or fields["acs"]["control"] == REQUIRED


def test_integrated_endpoints_have_no_link() -> None:
    described = config_space.port("endpoint", header_type=0x00)
    described["capabilities"][1][2] = "9200" + "00" * 8 + "11000000" + "0000" + "1100"

    fields = of(config_space.space(described))

    assert fields["express_type"] == "integrated_endpoint" and "link" not in fields


PORT = config_space.space(config_space.port("root_port", (0x1F, 0x1D)))
BARE = {"multifunction": False, "revision": "00"}
LOOP = {"header_type": "01", "capabilities": [["40", "01"], ["48", "05"]], "extended": []}
CARDBUS = bytearray(config_space.space({"header_type": "02"}))
CARDBUS[0x06], CARDBUS[0x14], CARDBUS[0x34], CARDBUS[0xA0:0xA4] = 0x10, 0xA0, 0x40, b"\x10\x00\x02\x00"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", {}),
        (bytes(8), {}),
        (b"\xff" * 4096, {}),
        (PORT[:64], BARE),
        (PORT[:256], {**BARE, "express_type": "root_port", "link": None}),
        (PORT[:0x14A], {**BARE, "express_type": "root_port", "link": None}),
        (PORT[:0x100] + b"\xff" * 3840, {**BARE, "express_type": "root_port", "link": None}),
        (bytes(4096), {**BARE, "express_type": "conventional"}),
        (config_space.space({"header_type": "01"}), {**BARE, "express_type": "conventional", "acs": NONE}),
        (
            config_space.space({"header_type": "81"}),
            {**BARE, "multifunction": True, "express_type": "conventional", "acs": NONE},
        ),
        (bytes(CARDBUS), {**BARE, "express_type": "endpoint", "link": None}),
    ],
    ids=[
        "absent",
        "short",
        "off_the_bus",
        "unprivileged",
        "conventional_part",
        "cut",
        "extended_part_silent",
        "zeros",
        "pci",
        "pci_of_several",
        "cardbus",
    ],
)
def test_damaged_or_foreign_configuration_space(content: bytes, wanted: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config"
    if content:
        path.write_bytes(content)

    assert read_file(str(path)) == of(content) == wanted


@pytest.mark.parametrize("target", ["40", "48"])
def test_lists_that_never_end(target: str) -> None:
    content = bytearray(config_space.space(LOOP))
    content[0x49] = int(target, 16)
    assert of(bytes(content))["express_type"] == "conventional"

    endless = bytearray(config_space.space(config_space.port("root_port", (0, 0))))
    endless[0x148:0x14C] = (0x0002 | 1 << 16 | 0x148 << 20).to_bytes(4, "little")
    assert of(bytes(endless))["acs"] == NONE


def test_an_unreadable_file_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_bytes(PORT)

    def fails(*_arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fails)
    before = len(os.listdir("/proc/self/fd"))

    assert read_file(str(path)) == {}
    assert len(os.listdir("/proc/self/fd")) == before


@given(st.binary(min_size=0, max_size=600), st.sampled_from([None, True, False]))
def test_any_bytes_give_fields_of_a_device(content: bytes, multifunction: bool | None) -> None:
    fields = of(content, multifunction)

    device = PciDevice(address="0000:65:00.0", **fields)
    assert PciDevice.from_dict(device.as_dict()) == device
