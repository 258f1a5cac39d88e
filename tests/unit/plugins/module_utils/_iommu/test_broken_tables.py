# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and registers that do not say what they should."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._iommu import acpi, remapping


def table(signature: bytes, body: bytes, header: bytes = bytes(12), length: int | None = None) -> bytes:
    size = 36 + len(header) + len(body) if length is None else length
    return signature + struct.pack("<I", size) + bytes(28) + header + body


UNIT = struct.pack("<HH", 0, 16) + bytes(12)
OTHER = struct.pack("<HH", 1, 8) + bytes(4)


def test_units_are_counted_among_other_structures() -> None:
    flags = b"\x26\x03" + bytes(10)
    assert acpi.dmar(table(b"DMAR", UNIT + OTHER + UNIT, flags)) == {
        "units": 2,
        "interrupt_remapping": True,
        "x2apic_opt_out": True,
    }
    assert acpi.dmar(table(b"DMAR", OTHER)) == {"units": 0, "interrupt_remapping": False, "x2apic_opt_out": False}
    block = struct.pack("<BBH", 0x40, 0, 24) + bytes(20)
    assert acpi.ivrs(table(b"IVRS", block + struct.pack("<BBH", 0x20, 0, 4))) == {"units": 1}


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        table(b"DMAR", UNIT)[:47],
        table(b"IVRS", UNIT),
        table(b"DMAR", UNIT, length=4096),
        table(b"DMAR", UNIT + b"\0\0"),
        table(b"DMAR", struct.pack("<HH", 0, 3)),
    ],
)
def test_a_broken_table_tells_nothing(data: bytes | None) -> None:
    assert acpi.dmar(data) is None


def iort(count: int, *nodes: tuple[int, int]) -> bytes:
    body = b"".join(struct.pack("<BH", kind, length) + bytes(max(0, length - 3)) for kind, length in nodes)
    return table(b"IORT", body, struct.pack("<II", count, 48) + bytes(4))


def test_smmu_nodes_are_counted() -> None:
    assert acpi.smmu_nodes(iort(3, (3, 8), (0, 8), (4, 8))) == 2
    assert acpi.smmu_nodes(iort(0)) == 0


@pytest.mark.parametrize("data", [None, iort(1)[:43], iort(2, (3, 8)), iort(1, (3, 2)), iort(1, (3, 8))[1:]])
def test_a_broken_smmu_table_tells_nothing(data: bytes | None) -> None:
    assert acpi.smmu_nodes(data) is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, None),
        ({"units": [{"ecap": None}]}, None),
        ({"units": [{"ecap": "no number"}]}, None),
        ({"units": [{"ecap": "f0"}]}, False),
        ({"units": [{"ecap": "8"}]}, True),
        ({"units": [{"ecap": "8"}, {"ecap": "f050d2"}]}, False),
        ({"units": [{"ecap": "8"}], "dmar": {"interrupt_remapping": False}}, False),
        ({"dmar": {"interrupt_remapping": True}}, True),
    ],
)
def test_what_units_and_firmware_say_about_interrupts(facts: dict[str, Any], expected: bool | None) -> None:
    assert remapping.capable(facts) is expected
