# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs that share their IOMMU groups with the disk of / and with the network card of the SSH session, because ports have no ACS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.profiles.machine import Machine, differing, documented, of, stopping, up


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield from up("shared_group", request)


WITH_DISK, WITH_NETWORK, ALONE = "0000:01:00.0", "0000:03:00.0", "0000:05:00.0"
DISK, NETWORK = "0000:02:00.0", "0000:04:00.0"
# The ports above them; the last has ACS.
PORTS = ("0000:00:05.0", "0000:00:05.1", "0000:00:06.0", "0000:00:06.1", "0000:00:07.0")
NEEDED = ["completion_redirect", "request_redirect", "source_validation", "upstream_forwarding"]


def test_the_kernel_made_these_groups(machine: Machine) -> None:
    by_member = {member: sorted(members) for members in machine.groups().values() for member in members}
    assert by_member[WITH_DISK] == [*PORTS[0:2], WITH_DISK, DISK]
    assert by_member[WITH_NETWORK] == [*PORTS[2:4], WITH_NETWORK, NETWORK]
    assert by_member[ALONE] == [ALONE]
    assert DISK in machine.guest("readlink -f /sys/class/block/vda").split("/")
    assert NETWORK in machine.guest("readlink -f /sys/class/net/eth0").split("/")


def test_pci_info_names_the_ports_without_acs(machine: Machine) -> None:
    result = machine.module("pci_info")
    devices = {device["address"]: device for device in result["devices"]}
    for port in PORTS[:4]:
        assert devices[port]["acs"] == {"capability": [], "control": []}
    assert set(NEEDED) <= set(devices[PORTS[4]]["acs"]["control"])
    named = {one["address"]: one for one in result["group_merges"] if one["cause"] == "no_capability"}
    assert sorted(named) == list(PORTS[:4])
    for port, below in zip(PORTS, (WITH_DISK, DISK, WITH_NETWORK, NETWORK), strict=False):
        assert sorted(named[port]["missing"]) == NEEDED
        assert named[port]["members"] == [port, below]
        assert f"{port} merges the group: it has no Access Control Services" in named[port]["reason"]


def test_preflight_names_disk_network_card_and_port(machine: Machine) -> None:
    machine.found = machine.preflight()
    blocks = {one["device"]: one for one in stopping(machine.found)}
    assert {one["id"] for one in blocks.values()} == {"A07"}
    shares = {
        WITH_DISK: (
            DISK,
            "holds /",
            "functions of 0000:00:05 are ports of one device that no Access Control Services separate",
        ),
        WITH_NETWORK: (NETWORK, "carries this SSH session", "functions of 0000:00:06 are ports of one device"),
    }
    for device, texts in shares.items():
        assert [text for text in texts if text not in blocks[device]["message"]] == [], blocks[device]["message"]
        assert "enable ACS" in blocks[device]["fix"]
        assert "Nothing was changed." in blocks[device]["message"]
    assert ALONE not in " ".join(one["message"] for one in of(machine.found, "A07"))


def test_hosts_refuses(machine: Machine) -> None:
    machine.refused()


def test_the_module_refuses_even_where_the_member_is_named(machine: Machine) -> None:
    before = machine.looks()
    for device, member in ((WITH_DISK, DISK), (WITH_NETWORK, NETWORK)):
        result = machine.module("vfio_binding", addresses=[device], members=[member], live="idle")
        assert result["failed"] is True
        assert member in result["msg"] and "is needed by the host" in result["msg"]
        assert "Nothing was changed." in result["msg"]
    assert differing(before, machine.looks()) == []


def test_the_module_takes_the_gpu_that_is_alone(machine: Machine) -> None:
    """Without a reboot, so that what becomes of the others is seen at once."""
    result = machine.module("vfio_binding", addresses=[ALONE], live="idle", persistent=False)
    assert result["failed"] is False, result
    assert machine.drivers()[ALONE] == "vfio-pci"
    assert "vfio-pci" not in (machine.drivers("")[DISK], machine.drivers("")[NETWORK])
    machine.guest("echo alive > /var/tmp/alive && sync && cat /var/tmp/alive")
    machine.outcome.append(
        "The module ``vfio_binding`` refuses the two GPUs even where the disk or the network card is named as a member,"
        " and binds the third, whose port has ACS."
    )


def test_the_documentation_says_so(machine: Machine) -> None:
    documented(machine)
