# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments that contradict one another and keep the IOMMU off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.profiles.machine import Machine, documented, of, stopping, up


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield from up("kernel_off", request)


def words(machine: Machine) -> list[str]:
    return machine.guest("cat /proc/cmdline").split()


def test_the_table_is_there_and_the_kernel_does_not_use_it(machine: Machine) -> None:
    assert "DMAR" in machine.guest("ls /sys/firmware/acpi/tables").split()
    assert machine.groups() == {}
    assert words(machine)[-3:] == ["intel_iommu=on", "iommu=off", "intel_iommu=off"]


def test_preflight_names_the_arguments(machine: Machine) -> None:
    machine.found = machine.preflight()
    assert stopping(machine.found) == []
    arguments = of(machine.found, "A04")
    assert {one["state"] for one in arguments} == {"will_be_fixed_by"}
    text = " ".join(one["message"] for one in arguments)
    assert "iommu=off" in text and "intel_iommu" in text and "/etc/default/grub" in text
    (group,) = of(machine.found, "A05")
    assert (group["state"], group["device"]) == ("unknown_until", "0000:00:08.0")


def test_a_reboot_would_help(machine: Machine) -> None:
    result = machine.module("iommu_info")
    assert result["state"] == "off_in_kernel"
    assert result["reboot_would_help"] is True


def test_hosts_removes_them(machine: Machine) -> None:
    machine.prepared()
    after = words(machine)
    assert "iommu=off" not in after
    assert [word for word in after if word.startswith("intel_iommu=")][-1:] == ["intel_iommu=on"]
    (group,) = [members for members in machine.groups().values() if "0000:00:08.0" in members]
    assert group == ["0000:00:08.0"]
    result = machine.module("iommu_info")
    assert (result["state"], result["reboot_would_help"]) == ("active", False)
    machine.outcome.append(
        "``hosts.yml`` corrects the arguments, drains the node and reboots it once. The IOMMU is on, and the GPU has a group of its own."
    )


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.unchanged()


def test_the_documentation_says_so(machine: Machine) -> None:
    documented(machine)
