# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether GPUs are fit to be handed over, and what groups are made by, in the words that a user sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import VfioDesired
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import plan
from tests.unit import config_space, machines
from tests.unit.assess_host import GPU, bmc_display, gpu, ids, judge
from tests.unit.host_stages import ready

PORT, UPPER = "0000:64:00.0", "0000:40:03.1"
SECOND = "0000:66:00.0"
ON, OFF = (0x1F, 0x1D), (0x1F, 0x00)


def bridge(address: str, kind: str = "root_port", acs: tuple[int, int] | None = ON, **more: Any) -> dict[str, Any]:
    config = config_space.port(kind, acs)
    return {
        "address": address,
        "class": "060400",
        "vendor": "1022",
        "device": "1483",
        "driver": "pcieport",
        "config": config,
        **more,
    }


def found(answer: dict[str, Any], id: str) -> dict[str, Any]:
    (item,) = [item for item in answer["findings"] if item["id"] == id]
    return dict(item)


def card(**more: Any) -> dict[str, Any]:
    return gpu(group="12", driver="vfio-pci", config=config_space.port("endpoint", header_type=0x00), **more)


def disk(**more: Any) -> dict[str, Any]:
    return {
        "address": "0000:67:00.0",
        "class": "010802",
        "vendor": "144d",
        "device": "a80a",
        "driver": "nvme",
        "group": "12",
        **more,
    }


def test_a_disk_in_the_group_names_the_port_that_merges_it(tmp_path: Path) -> None:
    """A board as in kata-containers issue 6663, whose root port has no ACS, with a disk below the same switch."""
    switch = [
        bridge(UPPER, acs=None, group="12"),
        bridge("0000:41:00.0", "upstream_port", None, group="12", parent=UPPER),
        bridge(PORT, "downstream_port", group="12", parent="0000:41:00.0"),
        bridge("0000:64:01.0", "downstream_port", group="12", parent="0000:41:00.0"),
    ]
    answer = judge(ready(*switch, card(parent=PORT), disk(parent="0000:64:01.0"), bmc_display()), tmp_path)

    finding = found(answer, "A07")
    assert ids(answer) == ["A07"]
    assert f"The root port {UPPER} merges the group: it has no Access Control Services." in finding["fact"]
    assert finding["fix"].startswith("enable ACS (on AMD boards also AER") and UPPER in finding["fix"]
    assert "members can name 0000:67:00.0" in finding["fix"]


def test_services_that_are_off_are_named(tmp_path: Path) -> None:
    port = bridge(PORT, acs=OFF, group="12")
    answer = judge(ready(port, card(parent=PORT), disk(parent=PORT), bmc_display()), tmp_path)

    finding = found(answer, "A07")
    assert "request redirect, completion redirect and upstream forwarding are off" in finding["fact"]
    assert "pci=disable_acs_redir" in finding["fix"]


@pytest.mark.parametrize(("critical", "may_be_named"), [({}, True), ({"0000:67:00.0": ["holds /"]}, False)])
def test_a_disk_that_the_host_needs_is_no_member_to_name(
    critical: dict[str, Any], may_be_named: bool, tmp_path: Path
) -> None:
    machines.build(ready(bridge(PORT, acs=OFF, group="12"), card(parent=PORT), disk(parent=PORT)), tmp_path)
    devices = read_devices(HostRoot(str(tmp_path)))

    (refusal,) = plan(devices, {"critical": critical}, VfioDesired(addresses=(GPU,), members="same_slot")).refusals

    assert refusal.id == "A07" and PORT in refusal.fix
    assert ("members can name 0000:67:00.0" in refusal.fix) is may_be_named


def test_a_pci_bridge_has_no_setting(tmp_path: Path) -> None:
    behind = bridge(PORT, "bridge", None, group="12", parent=UPPER)
    answer = judge(ready(bridge(UPPER), behind, card(parent=PORT), disk(parent=PORT), bmc_display()), tmp_path)

    finding = found(answer, "A07")
    assert "all devices behind it share its requester ID" in finding["fact"]
    assert "not behind this bridge" in finding["fix"]


def test_gpus_that_share_a_group(tmp_path: Path) -> None:
    port = bridge(PORT, acs=OFF, group="12")
    answer = judge(
        ready(port, card(parent=PORT), card(address=SECOND, parent=PORT), bmc_display()), tmp_path / "merged"
    )

    finding = found(answer, "A08")
    assert ids(answer) == [] and ids(answer, severity="warn") == ["A08"]
    assert f"the GPUs {GPU}, {SECOND} share IOMMU group 12. The root port {PORT} merges the group" in finding["fact"]
    assert f"lspci -vvs {PORT}" in finding["evidence"]

    apart = ready(bridge(PORT), card(), {**card(address=SECOND), "group": "13"}, bmc_display())
    assert ids(judge(apart, tmp_path / "apart"), severity="warn") == []


def test_functions_of_one_card_are_no_gpus_that_share_a_group(tmp_path: Path) -> None:
    both = [card(), card(address="0000:65:00.1")]
    assert ids(judge(ready(*both, bmc_display()), tmp_path), severity="warn") == []


def test_a_port_that_could_not_be_read(tmp_path: Path) -> None:
    """The facts of a copied tree, or of a port that sleeps."""
    port = {**bridge(PORT, group="12"), "files": {"power_state": "D3cold\n"}}
    answer = judge(ready(port, card(parent=PORT), disk(parent=PORT), bmc_display()), tmp_path)

    assert f"{PORT} probably merges the group" in found(answer, "A07")["fact"]


@pytest.mark.parametrize(
    ("files", "warned"),
    [
        ({"reset_method": "flr bus\n"}, []),
        ({"reset_method": "\n"}, ["A17"]),
        ({}, []),
    ],
)
def test_ways_to_reset(files: dict[str, str], warned: list[str], tmp_path: Path) -> None:
    assert ids(judge(ready(card(files=files)), tmp_path), severity="warn") == warned


def test_a_gpu_that_the_kernel_hides_the_reset_of(tmp_path: Path) -> None:
    other = disk(group="9", files={"reset_method": "flr\n"})
    answer = judge(ready(card(), other), tmp_path)

    assert ids(answer, severity="warn") == ["A17"]
    assert "reboot the host between two users" in found(answer, "A17")["fix"]


def test_a_gpu_without_power(tmp_path: Path) -> None:
    asleep = {"power_state": "D3cold\n"}
    assert ids(judge(ready(card(files=asleep)), tmp_path / "asleep"), severity="warn") == ["A16"]
    assert ids(judge(ready(card(files={"power_state": "D3hot\n"})), tmp_path / "idle"), severity="warn") == []
    lost = gpu(group="12", driver="vfio-pci", config="ff" * 64, files=asleep)
    answer = judge(ready(lost), tmp_path / "lost")
    assert (ids(answer), ids(answer, severity="warn")) == (["A16"], [])


SIZES = "000100006004000000fc1f00010800000002000003050000"


@pytest.mark.parametrize(("extended", "hint"), [([["100", "0015", SIZES]], True), ([], False)])
def test_a_range_without_room_that_can_be_smaller(extended: list[list[str]], hint: bool, tmp_path: Path) -> None:
    config = {**config_space.port("endpoint", header_type=0x00), "extended": extended}
    ranges = [[0, "memory", 0xDE000000, 1 << 24, 32, False], [1, "memory", 0, 1 << 29, 64, True]]
    finding = found(judge(ready({**card(bars=ranges), "config": config}), tmp_path), "A13")

    assert ("(the GPU can do 64 MiB, 128 MiB, 256 MiB too)." in finding["fix"]) is hint
    assert ("Resizable BAR off" in finding["fix"]) is hint and finding["fix"].endswith(".")


@pytest.mark.parametrize(
    ("iomem", "warned"),
    [
        ("c0000000-c07fffff : BOOTFB", ["A14"]),
        ("cfffffff-d07fffff : efifb", ["A14"]),
        ("b0000000-c0000000 : simple-framebuffer.0", ["A14"]),
        ("d0000000-d07fffff : BOOTFB", []),
        ("b0000000-bfffffff : simpledrm", []),
        ("c0000000-c07fffff : vfio-pci", []),
        ("00000000-00000000 : BOOTFB", []),
    ],
)
def test_a_console_in_the_memory_of_a_gpu(iomem: str, warned: list[str], tmp_path: Path) -> None:
    ranges = [[1, "memory", 0xC0000000, 0x10000000, 64, True], [5, "io", 0x3000, 128, 32, False]]
    text = f"00001000-0009ffff : System RAM\nc0000000-dfffffff : PCI Bus 0000:64\n  c0000000-cfffffff : {GPU}\n    {iomem}\n"
    answer = judge(ready(card(bars=ranges), files={"/proc/iomem": text}), tmp_path)

    assert ids(answer, severity="warn") == warned
