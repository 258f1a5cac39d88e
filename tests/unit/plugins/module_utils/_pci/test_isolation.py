# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What merges a group: on real machines, and on each rule alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._pci import isolation
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.facts import read_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import machines
from tests.unit.kernel_groups import groups_of

ALL = ("source_validation", "translation_blocking", *isolation.REQUIRED[1:])
ON = {"capability": list(ALL), "control": list(isolation.REQUIRED)}
OFF: dict[str, list[str]] = {"capability": list(ALL), "control": []}
NONE: dict[str, list[str]] = {"capability": [], "control": []}


def function(address: str, kind: str | None, parent: str | None = None, acs: Any = None, **more: Any) -> PciDevice:
    bridge = kind is not None and (kind.endswith(("_port", "_bridge")) or kind == "conventional")
    values: dict[str, Any] = {
        "class_code": "060400" if bridge else "030200",
        "vendor_id": "10de",
        "multifunction": False,
    }
    return PciDevice(address=address, express_type=kind, parent=parent, acs=acs, **{**values, **more})


def grouped(*devices: PciDevice) -> list[PciDevice]:
    """With the groups that the kernel makes of them."""
    found = groups_of(devices)
    return [device.having(iommu_group=found[device.address]) for device in devices]


def explained(*devices: PciDevice) -> list[tuple[str, str, tuple[str, ...]]]:
    found = isolation.merges(grouped(*devices))
    return [(merge.address, merge.cause, merge.members) for merges in found.values() for merge in merges]


ROOT, UP, DOWN, OTHER = "0000:00:01.0", "0000:01:00.0", "0000:02:00.0", "0000:02:01.0"
GPU, SECOND, AUDIO = "0000:03:00.0", "0000:04:00.0", "0000:03:00.1"


def switch(root: Any = ON, down: Any = ON, **upper: Any) -> list[PciDevice]:
    """Two GPUs, each below a port of its own of one switch."""
    return [
        function(ROOT, "root_port", None, root),
        function(UP, "upstream_port", ROOT, NONE, **upper),
        function(DOWN, "downstream_port", UP, down),
        function(OTHER, "downstream_port", UP, down),
        function(GPU, "endpoint", DOWN),
        function(SECOND, "endpoint", OTHER),
    ]


def test_everything_isolates() -> None:
    assert explained(*switch()) == []


def test_a_root_port_that_does_not_isolate_merges_all_below_it() -> None:
    assert explained(*switch(root=OFF)) == [
        (ROOT, isolation.SWITCHED_OFF, (ROOT, UP, DOWN, OTHER, GPU, SECOND)),
    ]


def test_ports_of_a_switch_without_the_capability() -> None:
    assert explained(*switch(down=NONE)) == [
        (DOWN, isolation.NO_CAPABILITY, (DOWN, GPU)),
        (OTHER, isolation.NO_CAPABILITY, (OTHER, SECOND)),
    ]


def test_the_port_that_is_nearest_to_the_root_comes_first() -> None:
    assert [merge[:2] for merge in explained(*switch(root=OFF, down=NONE))] == [
        (ROOT, isolation.SWITCHED_OFF),
        (DOWN, isolation.NO_CAPABILITY),
        (OTHER, isolation.NO_CAPABILITY),
    ]


def test_an_upstream_port_that_is_one_of_several_functions() -> None:
    """As in chipsets, whose USB and SATA controllers are functions beside the switch."""
    usb = function("0000:01:00.1", "endpoint", ROOT, NONE, multifunction=True)
    devices = [*switch(multifunction=True), usb]

    found = explained(*devices)

    everything = (UP, usb.address, DOWN, OTHER, GPU, SECOND)
    assert found == [
        (UP, isolation.NO_CAPABILITY, (UP, DOWN, OTHER, GPU, SECOND)),
        (UP, isolation.ONE_SLOT, everything),
    ]


def test_ports_that_are_functions_of_one_device() -> None:
    first, second = "0000:00:1c.0", "0000:00:1c.4"
    devices = [
        function(first, "root_port", None, NONE, multifunction=True),
        function(second, "root_port", None, NONE, multifunction=True),
        function(GPU, "endpoint", first),
        function(SECOND, "endpoint", second),
    ]

    found = isolation.merges(grouped(*devices))["0"]

    assert [(merge.address, merge.cause) for merge in found] == [
        (first, isolation.NO_CAPABILITY),
        (second, isolation.NO_CAPABILITY),
        (first, isolation.ONE_SLOT),
    ]
    # No port is above both, so it is the device of the ports that brings them together.
    between = isolation.between(found, GPU, SECOND)
    assert between is not None and between.cause == isolation.ONE_SLOT


@pytest.mark.parametrize("kind", ["pcie_to_pci_bridge", "conventional"])
def test_what_is_behind_a_bridge_shares_an_id(kind: str) -> None:
    devices = [
        function(ROOT, "root_port", None, ON),
        function(UP, kind, ROOT, NONE),
        function("0000:02:00.0", "conventional", UP, class_code="020000"),
        function("0000:02:01.0", "conventional", UP, class_code="020000"),
    ]

    assert explained(*devices) == [(UP, isolation.SHARED_ID, (UP, "0000:02:00.0", "0000:02:01.0"))]


def test_a_card_of_several_functions_below_a_port_that_isolates() -> None:
    devices = [
        function(ROOT, "root_port", None, ON),
        function(GPU, "legacy_endpoint", ROOT, NONE, multifunction=True),
        function(AUDIO, "endpoint", ROOT, NONE, multifunction=True),
    ]

    assert explained(*devices) == [(GPU, isolation.ONE_SLOT, (GPU, AUDIO))]


def test_functions_that_isolate_stay_apart() -> None:
    devices = [
        function(ROOT, "root_port", None, ON),
        function(GPU, "endpoint", ROOT, ON, multifunction=True),
        function(AUDIO, "endpoint", ROOT, {"capability": [], "control": []}, multifunction=True),
    ]

    assert explained(*devices) == []


def test_a_function_that_isolates_is_not_blamed_for_the_one_beside_it() -> None:
    """Both are in the group of the port, and only the port keeps them there."""
    devices = [
        function(ROOT, "root_port", None, NONE),
        function(GPU, "endpoint", ROOT, ON, multifunction=True),
        function(AUDIO, "endpoint", ROOT, NONE, multifunction=True),
    ]

    assert explained(*devices) == [(ROOT, isolation.NO_CAPABILITY, (ROOT, GPU, AUDIO))]


def test_the_slot_comes_first_between_functions_of_one_card() -> None:
    found = isolation.merges(
        grouped(
            function(ROOT, "root_port", None, NONE),
            function(GPU, "endpoint", ROOT, NONE, multifunction=True),
            function(AUDIO, "endpoint", ROOT, NONE, multifunction=True),
        )
    )["0"]

    assert [merge.cause for merge in found] == [isolation.NO_CAPABILITY, isolation.ONE_SLOT]
    pair, with_port = isolation.between(found, GPU, AUDIO), isolation.between(found, GPU, ROOT)
    assert pair is not None and pair.cause == isolation.ONE_SLOT
    assert with_port is not None and with_port.cause == isolation.NO_CAPABILITY
    assert isolation.between(found, GPU, "0000:ff:00.0") is None


def test_ports_of_a_switch_that_a_newer_kernel_merges() -> None:
    """Linux long gave each port of a switch without the capability a group of its own; distributions have begun to correct that."""
    devices = [device.having(iommu_group="9" if device.address != ROOT else "1") for device in switch(down=NONE)]

    found = isolation.merges(devices)["9"]

    assert [(merge.address, merge.members) for merge in found] == [(DOWN, (DOWN, GPU)), (OTHER, (OTHER, SECOND))]
    between = isolation.between(found, GPU, SECOND)
    assert between is not None and between.address == OTHER


def test_what_could_not_be_read_is_named_as_probable() -> None:
    devices = [
        function(ROOT, None, None).having(class_code="060400", iommu_group="7"),
        function(GPU, None, ROOT).having(iommu_group="7"),
    ]

    (merge,) = isolation.merges(devices)["7"]

    assert (merge.address, merge.cause) == (ROOT, isolation.UNREAD)
    assert "probably" in isolation.reason(merge) and f"lspci -vvs {ROOT}" in isolation.remedy(merge)


def test_a_group_that_the_rules_do_not_explain() -> None:
    devices = [
        function(ROOT, "root_port", None, ON).having(iommu_group="7"),
        function(GPU, "endpoint", ROOT).having(iommu_group="7"),
    ]

    (merge,) = isolation.merges(devices)["7"]

    assert (merge.address, merge.cause) == (ROOT, isolation.QUIRK)


@pytest.mark.parametrize(
    ("capability", "control", "missing"),
    [
        (ALL, isolation.REQUIRED, None),
        (ALL, ALL, None),
        (ALL, (), isolation.REQUIRED),
        (ALL, ("source_validation", "translation_blocking"), isolation.REQUIRED[1:]),
        *[(ALL, tuple(name for name in ALL if name != one), (one,)) for one in isolation.REQUIRED],
        # What the capability leaves out needs no switch.
        (("source_validation", "translation_blocking"), ("source_validation",), None),
        (("source_validation", "translation_blocking"), ("translation_blocking",), ("source_validation",)),
        (("egress_control",), (), None),
    ],
)
def test_services_that_the_kernel_asks_for(
    capability: Iterable[str], control: Iterable[str], missing: tuple[str, ...] | None
) -> None:
    port = function(ROOT, "root_port", None, {"capability": list(capability), "control": list(control)})

    assert isolation.lack(port) == (None if missing is None else (isolation.SWITCHED_OFF, missing))


def test_sentences() -> None:
    merge = isolation.Merge(
        DOWN, "downstream_port", isolation.SWITCHED_OFF, ("request_redirect", "upstream_forwarding"), (DOWN, GPU)
    )
    assert isolation.reason(merge) == (
        f"The switch downstream port {DOWN} merges the group: of its Access Control Services request redirect and upstream"
        " forwarding are off."
    )
    one = merge._replace(missing=("source_validation",))
    assert isolation.reason(one).endswith("of its Access Control Services source validation is off.")
    causes = (
        isolation.SWITCHED_OFF,
        isolation.NO_CAPABILITY,
        isolation.SHARED_ID,
        isolation.ONE_SLOT,
        isolation.UNREAD,
        isolation.QUIRK,
    )
    texts = {
        cause: (isolation.reason(merge._replace(cause=cause)), isolation.remedy(merge._replace(cause=cause)))
        for cause in causes
    }
    assert len(set(texts.values())) == len(causes)
    assert all(text.endswith(".") and ".." not in text for pair in texts.values() for text in pair)
    assert "a slot of the CPU" in texts[isolation.NO_CAPABILITY][1]
    card = merge._replace(kind="", cause=isolation.ONE_SLOT)
    assert "hand these functions over together" in isolation.remedy(card)
    root = merge._replace(kind="root_port", cause=isolation.NO_CAPABILITY)
    assert "a slot below another port" in isolation.remedy(root)


def test_ports_of_one_device_are_no_functions_to_hand_over() -> None:
    """As on many a desktop processor: a GPU below one port, the disk below the other, and no ACS. Groups of the lab's machine."""
    second, disk = "0000:00:01.1", "0000:02:00.0"
    devices = [
        function(ROOT, "root_port", None, NONE, multifunction=True),
        function(second, "root_port", None, NONE, multifunction=True),
        function(GPU, "endpoint", ROOT),
        function(disk, "endpoint", second),
    ]

    merge = isolation.between(isolation.merges(grouped(*devices))["0"], GPU, disk)

    assert merge is not None and (merge.cause, merge.kind) == (isolation.ONE_SLOT, "root_port")
    assert "The functions of 0000:00:01 are ports of one device" in isolation.reason(merge)
    assert "enable ACS" in isolation.remedy(merge) and "not below 0000:00:01." in isolation.remedy(merge)
    assert "hand these" not in isolation.remedy(merge)


def real(name: str, tmp_path: Path) -> list[PciDevice]:
    machines.build(name, tmp_path)
    return read_devices(HostRoot(str(tmp_path)))


def enabled(devices: Iterable[PciDevice]) -> list[PciDevice]:
    """As the kernel does it when it finds an IOMMU: the services that a port has are switched on."""
    changed = []
    for device in devices:
        has = [name for name in isolation.REQUIRED if device.acs and name in device.acs["capability"]]
        changed.append(device.having(acs={**device.acs, "control": has}) if device.acs and has else device)
    return changed


def test_a_real_machine_without_and_with_its_services(tmp_path: Path) -> None:
    """An X58 board: its I/O hub can isolate, its switch and the ports of its south bridge cannot."""
    devices = real("x58_p6t6", tmp_path)
    switch_group = ("0000:00:03.0", "0000:02:00.0", "0000:03:00.0", "0000:03:02.0", "0000:04:00.0")

    before = {merge[:2]: merge[2] for merge in explained(*devices)}
    assert before[("0000:00:03.0", isolation.SWITCHED_OFF)] == switch_group
    assert before[("0000:00:07.0", isolation.SWITCHED_OFF)] == ("0000:00:07.0", "0000:06:00.0", "0000:06:00.1")

    after = {merge[:2]: merge[2] for merge in explained(*enabled(devices))}
    assert after == {
        ("0000:03:00.0", isolation.NO_CAPABILITY): ("0000:03:00.0", "0000:04:00.0"),
        ("0000:06:00.0", isolation.ONE_SLOT): ("0000:06:00.0", "0000:06:00.1"),
        ("0000:00:1c.1", isolation.NO_CAPABILITY): ("0000:00:1c.1", "0000:08:00.0"),
        ("0000:00:1c.2", isolation.NO_CAPABILITY): ("0000:00:1c.2", "0000:07:00.0"),
        ("0000:00:1c.0", isolation.ONE_SLOT): (
            *(f"0000:00:1c.{number}" for number in range(3)),
            "0000:07:00.0",
            "0000:08:00.0",
        ),
    }


@pytest.mark.parametrize("name", machines.names())
def test_groups_of_real_machines_that_have_a_port_are_explained(name: str, tmp_path: Path) -> None:
    machines.build(name, tmp_path)

    facts = read_facts(HostRoot(str(tmp_path)))

    shared = {group: members for group, members in facts["iommu_groups"].items() if len(members) > 1}
    for merge in facts["group_merges"]:
        assert set(merge["members"]) <= set(shared[merge["group"]]) and len(merge["members"]) > 1
        assert merge["address"] in merge["members"] and merge["reason"] and merge["remedy"]
    ports = {device["address"] for device in facts["devices"] if device["class_code"].startswith("0604")}
    parents = {device["parent"] for device in facts["devices"]}
    below_one_of_its_ports = {group for group, members in shared.items() if ports & parents & set(members)}
    assert below_one_of_its_ports <= {merge["group"] for merge in facts["group_merges"]}


def test_types_of_the_plain_result(tmp_path: Path) -> None:
    result: Mapping[str, Any] = isolation.merges(
        [
            function(ROOT, "root_port", None, OFF).having(iommu_group="3"),
            function(GPU, "endpoint", ROOT).having(iommu_group="3"),
        ]
    )["3"][0].as_dict()

    assert result == {
        "address": ROOT,
        "type": "root_port",
        "cause": "switched_off",
        "missing": list(isolation.REQUIRED),
        "members": [ROOT, GPU],
        "reason": result["reason"],
        "remedy": result["remedy"],
    }


def test_a_group_of_one_function_is_merged_by_nothing() -> None:
    devices = [device.having(iommu_group=str(index)) for index, device in enumerate(switch())]
    assert isolation.merges(devices) == {}
