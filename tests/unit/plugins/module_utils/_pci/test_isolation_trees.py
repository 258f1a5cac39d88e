# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What merges a group, against the kernel's way to make groups on any tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._pci import isolation
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from tests.unit.plugins.module_utils._pci.test_isolation import ALL, NONE, OFF, ON, function, grouped

# A tree is made of choices: for each port whether and how it isolates, and how many functions there are below it.
SERVICES = st.sampled_from([ON, ON, OFF, NONE, {"capability": list(ALL), "control": ["source_validation"]}])


@st.composite
def trees(draw: Any) -> list[PciDevice]:
    devices: list[PciDevice] = []
    bus = 0

    def endpoints(parent: str) -> None:
        nonlocal bus
        bus += 1
        count = draw(st.integers(1, 3))
        for number in range(count):
            devices.append(
                function(f"0000:{bus:02x}:00.{number}", "endpoint", parent, draw(SERVICES), multifunction=count > 1)
            )

    for slot in range(draw(st.integers(1, 3))):
        roots = draw(st.integers(1, 2))
        for number in range(roots):
            root = f"0000:00:{slot:02x}.{number}"
            devices.append(function(root, "root_port", None, draw(SERVICES), multifunction=roots > 1))
            shape = draw(st.sampled_from(["card", "switch", "bridge"]))
            if shape == "card":
                endpoints(root)
                continue
            bus += 1
            upper = f"0000:{bus:02x}:00.0"
            if shape == "bridge":
                devices.append(function(upper, "pcie_to_pci_bridge", root, NONE))
                bus += 1
                devices += [
                    function(f"0000:{bus:02x}:{one:02x}.0", "conventional", upper, class_code="020000")
                    for one in range(2)
                ]
                continue
            beside = draw(st.booleans())
            devices.append(function(upper, "upstream_port", root, draw(SERVICES), multifunction=beside))
            if beside:
                devices.append(function(f"0000:{bus:02x}:00.1", "endpoint", root, draw(SERVICES), multifunction=True))
            bus += 1
            inner = bus
            for one in range(draw(st.integers(1, 2))):
                down = f"0000:{inner:02x}:{one:02x}.0"
                devices.append(function(down, "downstream_port", upper, draw(SERVICES)))
                endpoints(down)
    return devices


@given(trees())
def test_on_any_tree_what_is_named_is_what_merges(devices: list[PciDevice]) -> None:
    """Every two functions of a group are brought together by what is named, and nothing that isolates is named."""
    with_groups = grouped(*devices)
    for group, found in isolation.merges(with_groups).items():
        members = [device.address for device in with_groups if device.iommu_group == group]
        assert _connected(members, found) == set(members)
        for merge in found:
            if merge.cause != isolation.ONE_SLOT:
                assert isolation.lack(next(device for device in devices if device.address == merge.address))


@given(trees())
def test_on_any_tree_doing_what_is_named_separates_the_group(devices: list[PciDevice]) -> None:
    """With the services on for all that is named, only what shares a requester ID stays together."""
    found = isolation.merges(grouped(*devices))
    named = {address for merges in found.values() for merge in merges for address in _to_switch_on(merge)}
    repaired = [device.having(acs=ON) if device.address in named else device for device in devices]

    left = isolation.merges(grouped(*repaired))

    assert {merge.cause for merges in left.values() for merge in merges} <= {isolation.SHARED_ID}


@given(trees(), st.data())
def test_on_any_tree_leaving_one_out_leaves_a_group(devices: list[PciDevice], data: Any) -> None:
    """So nothing is named that does no harm."""
    found = isolation.merges(grouped(*devices))
    ports = sorted(
        merge.address
        for merges in found.values()
        for merge in merges
        if merge.cause in (isolation.SWITCHED_OFF, isolation.NO_CAPABILITY)
    )
    if not ports:
        return
    spared = data.draw(st.sampled_from(ports))
    named = {address for merges in found.values() for merge in merges for address in _to_switch_on(merge)} - {spared}
    repaired = [device.having(acs=ON) if device.address in named else device for device in devices]

    left = isolation.merges(grouped(*repaired))

    assert spared in {merge.address for merges in left.values() for merge in merges}


def _to_switch_on(merge: isolation.Merge) -> list[str]:
    """Of a card all functions, of anything else the port itself."""
    if merge.cause != isolation.ONE_SLOT:
        return [merge.address]
    slot = merge.address.rpartition(".")[0]
    return [address for address in merge.members if address.startswith(f"{slot}.")]


def _connected(members: list[str], found: Iterable[isolation.Merge]) -> set[str]:
    reached = {members[0]}
    grew = True
    while grew:
        grew = False
        for merge in found:
            if reached & set(merge.members) and not set(merge.members) <= reached:
                reached |= set(merge.members)
                grew = True
    return reached
