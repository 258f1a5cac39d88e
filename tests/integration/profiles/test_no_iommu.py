# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A firmware that publishes no IOMMU: no kernel argument and no reboot would help, so nothing is tried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.profiles.machine import Machine, documented, of, stopping, up


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield from up("no_iommu", request)


def test_the_kernel_has_no_iommu_and_no_table(machine: Machine) -> None:
    tables = machine.guest("ls /sys/firmware/acpi/tables").split()
    assert "APIC" in tables
    assert {"DMAR", "IVRS"} & set(tables) == set()
    assert machine.groups() == {}


def test_preflight_blames_the_firmware(machine: Machine) -> None:
    machine.found = machine.preflight()
    (block,) = stopping(machine.found)
    assert block["id"] == "A02"
    assert "firmware" in block["fix"] and "a kernel argument will not help" in block["fix"]
    assert of(machine.found, "A05") == []


def test_no_reboot_is_asked_for(machine: Machine) -> None:
    result = machine.module("iommu_info")
    assert result["state"] == "off_in_firmware"
    assert result["reboot_would_help"] is False
    assert result["firmware_tables"] == [] and result["group_count"] == 0


def test_hosts_refuses(machine: Machine) -> None:
    machine.refused()


def test_the_documentation_says_so(machine: Machine) -> None:
    documented(machine)
