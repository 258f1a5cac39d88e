# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AMD IOMMU that a kernel argument turns off, and a card with an audio function."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.profiles.machine import Machine, documented, of, stopping, up


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield from up("amd", request)


GPU, AUDIO = "0000:00:08.0", "0000:00:08.1"
# With a graphics card the operator of the default release binds its audio function too.
OWNER = ("-e", "katagpu_vfio_owner=host")


def words(machine: Machine) -> list[str]:
    return machine.guest("cat /proc/cmdline").split()


def test_the_firmware_publishes_ivrs(machine: Machine) -> None:
    tables = machine.guest("ls /sys/firmware/acpi/tables").split()
    assert "IVRS" in tables and "DMAR" not in tables
    assert "amd_iommu=off" in words(machine)
    assert machine.groups() == {}


def test_preflight_names_the_argument(machine: Machine) -> None:
    machine.found = machine.preflight(*OWNER)
    assert stopping(machine.found) == []
    (argument,) = of(machine.found, "A04")
    assert argument["state"] == "will_be_fixed_by" and "amd_iommu=off" in argument["message"]
    assert {one["device"] for one in of(machine.found, "A05")} == {GPU}


def test_a_reboot_would_help(machine: Machine) -> None:
    result = machine.module("iommu_info")
    assert (result["state"], result["reboot_would_help"]) == ("off_in_kernel", True)


def test_hosts_removes_the_argument_and_adds_none(machine: Machine) -> None:
    machine.prepared(*OWNER)
    after = words(machine)
    assert [word for word in after if word.startswith(("amd_iommu", "iommu", "intel_iommu"))] == []
    assert "amd_iommu" not in machine.guest("grep -v '^#' /etc/default/grub; cat /boot/grub/grub.cfg")
    (group,) = [members for members in machine.groups().values() if GPU in members]
    assert sorted(group) == [GPU, AUDIO]
    result = machine.module("iommu_info")
    assert (result["state"], result["reboot_would_help"]) == ("active", False)
    assert result["units"]


def test_the_gpu_and_its_audio_function_are_bound(machine: Machine) -> None:
    assert machine.drivers() == {GPU: "vfio-pci", AUDIO: "vfio-pci"}
    machine.outcome.append(
        "``hosts.yml`` (with ``katagpu_vfio_owner: host``) removes ``amd_iommu=off`` and adds no argument in its place, drains the node and"
        " reboots it once. The IOMMU is on, and the GPU and its audio function are on ``vfio-pci``."
    )


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.unchanged(*OWNER)


def test_the_documentation_says_so(machine: Machine) -> None:
    documented(machine)
