# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures say what configuration space says: by the lines of -vv, and by its bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.isolation import merges
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.lspci import parse
from tests.unit import config_space, lspci_render, machines

MIB, GIB = 1 << 20, 1 << 30

# An A10 below a root port of an EPYC server, in the format of pciutils 3.9; the facts are those of the hardware's data sheets.
PORT_AND_GPU = """\
c0:01.1 PCI bridge [0604]: Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge [1022:1483] (prog-if 00 [Normal decode])
\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR+ FastB2B- DisINTx+
\tIOMMU group: 21
\tBus: primary=c0, secondary=c1, subordinate=c1, sec-latency=0
\tBridgeCtl: Parity- SERR+ NoISA- VGA- VGA16- MAbort- >Reset- FastB2B-
\t\tPriDiscTmr- SecDiscTmr- DiscTmrStat- DiscTmrSERREn-
\tCapabilities: [50] Power Management version 3
\t\tFlags: PMEClk- DSI- D1- D2- AuxCurrent=0mA PME(D0+,D1-,D2-,D3hot+,D3cold+)
\t\tStatus: D0 NoSoftRst- PME-Enable- DSel=0 DScale=0 PME-
\tCapabilities: [58] Express (v2) Root Port (Slot+), MSI 00
\t\tDevCap:\tMaxPayload 512 bytes, PhantFunc 0
\t\t\tExtTag+ RBE+
\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM L1, Exit Latency L1 <64us
\t\t\tClockPM- Surprise- LLActRep+ BwNot+ ASPMOptComp+
\t\tLnkSta:\tSpeed 2.5GT/s (downgraded), Width x16 (ok)
\t\t\tTrErr- Train- SlotClk+ DLActive+ BWMgmt+ ABWMgmt+
\t\tLnkCap2: Supported Link Speeds: 2.5-16GT/s, Crosslink- Retimer+ 2Retimers+ DRS-
\t\tLnkSta2: Current De-emphasis Level: -3.5dB, EqualizationComplete+ EqualizationPhase1+
\tCapabilities: [100 v1] Vendor Specific Information: ID=0001 Rev=1 Len=010 <?>
\tCapabilities: [2a0 v1] Access Control Services
\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans+
\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
\tKernel driver in use: pcieport

c1:00.0 3D controller [0302]: NVIDIA Corporation GA102GL [A10] [10de:2236] (rev a1)
\tSubsystem: NVIDIA Corporation Device [10de:1482]
\tIOMMU group: 30
\tRegion 0: Memory at f4000000 (32-bit, non-prefetchable) [size=16M]
\tRegion 1: Memory at 20040000000 (64-bit, prefetchable) [size=32G]
\tCapabilities: [60] Power Management version 3
\t\tFlags: PMEClk- DSI- D1- D2- AuxCurrent=375mA PME(D0+,D1-,D2-,D3hot+,D3cold-)
\t\tStatus: D3 NoSoftRst+ PME-Enable- DSel=0 DScale=0 PME-
\tCapabilities: [78] Express (v2) Endpoint, MSI 00
\t\tDevCap:\tMaxPayload 256 bytes, PhantFunc 0, Latency L0s unlimited, L1 <64us
\t\t\tExtTag+ AttnBtn- AttnInd- PwrInd- RBE+ FLReset+ SlotPowerLimit 75.000W
\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM L1, Exit Latency L1 <4us
\t\tLnkSta:\tSpeed 16GT/s, Width x8 (downgraded)
\tCapabilities: [100 v1] Virtual Channel
\t\tCaps:\tLPEVC=0 RefClk=100ns PATEntryBits=1
\tCapabilities: [bb0 v1] Physical Resizable BAR
\t\tBAR 0: current size: 16MB, supported: 16MB
\t\tBAR 1: current size: 32GB, supported: 64MB 128MB 256MB 512MB 1GB 2GB 4GB 8GB 16GB 32GB
\tCapabilities: [bcc v1] Single Root I/O Virtualization (SR-IOV)
\t\tIOVCap:\tMigration- 10BitTagReq+ Interrupt Message Number: 000
\t\tInitial VFs: 32, Total VFs: 32, Number of VFs: 4, Function Dependency Link: 00
\t\tRegion 0: Memory at 00000000f5000000 (32-bit, non-prefetchable)
\tCapabilities: [c14 v1] Alternative Routing-ID Interpretation (ARI)
\tCapabilities: [dd0 v1] Virtual Resizable BAR
\t\tBAR 0: current size: 1MB, supported: 256KB 512KB 1MB
"""
PORT, GPU = "0000:c0:01.1", "0000:c1:00.0"


def read(text: str) -> dict[str, PciDevice]:
    devices, unparsed = parse(text)
    assert unparsed == []
    return {device.address: device for device in devices}


@pytest.mark.parametrize("distortion", sorted(lspci_render.DISTORTIONS))
def test_the_lines_of_a_privileged_capture(distortion: str) -> None:
    found = read(lspci_render.DISTORTIONS[distortion](PORT_AND_GPU))
    port, gpu = found[PORT], found[GPU]
    assert (port.express_type, gpu.express_type) == ("root_port", "endpoint")
    assert port.link == {"speed": 2.5, "width": 16, "max_speed": 16.0, "max_width": 16}
    assert gpu.link == {"speed": 16.0, "width": 8, "max_speed": 16.0, "max_width": 16}
    assert port.acs == {
        "capability": [
            "source_validation", "translation_blocking", "request_redirect", "completion_redirect", "upstream_forwarding",
            "direct_translated",
        ],
        "control": ["source_validation", "request_redirect", "completion_redirect", "upstream_forwarding"],
    }  # fmt: skip
    assert gpu.acs is None, "a single function has no use for it"
    assert (port.power_state, gpu.power_state) == ("D0", "D3hot")
    assert gpu.sriov == {"total_vfs": 32, "num_vfs": 4, "physical_function": None}
    assert [register["index"] for register in gpu.resizable_bars] == [0, 1], (
        "those of its virtual functions are not its own"
    )
    assert gpu.resizable_bars[1]["size"] == 32 * GIB
    assert gpu.resizable_bars[1]["supported_sizes"] == [64 * MIB << step for step in range(10)]
    assert [region["size"] for region in gpu.bars] == [16 * MIB, 32 * GIB]


def without(text: str, *words: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not any(word in line for word in words))


def test_a_port_without_access_control() -> None:
    """Known only where the extended capabilities were shown."""
    text = without(PORT_AND_GPU, "Access Control", "ACSCap", "ACSCtl")
    assert read(text)[PORT].acs == {"capability": [], "control": []}
    assert read(without(text, "[100 v1]"))[PORT].acs is None
    assert read(without(PORT_AND_GPU, "ACSCap", "ACSCtl"))[PORT].acs is None, "it has it, in which state is not shown"


def test_an_unprivileged_capture_says_nothing_of_capabilities() -> None:
    text = "01:00.0 PCI bridge [0604]: Intel Corporation Device [8086:1234] (prog-if 00 [Normal decode])\n\tCapabilities: <access denied>\n"
    device = read(text)["0000:01:00.0"]
    assert (device.acs, device.express_type, device.link, device.power_state) == (None, None, None, None)


CONVENTIONAL = """\
01:00.0 PCI bridge [0604]: ASPEED Technology, Inc. AST1150 PCI-to-PCI Bridge [1a03:1150] (rev 04)
\tCapabilities: [78] Power Management version 3
"""
SIBLING = """
c1:00.1 Audio device [0403]: NVIDIA Corporation Device [10de:1aef] (rev a1)
\tCapabilities: [78] Express (v2) Endpoint, MSI 00
\tCapabilities: [100 v2] Advanced Error Reporting
"""


def test_a_conventional_bridge() -> None:
    device = read(CONVENTIONAL)["0000:01:00.0"]
    assert (device.express_type, device.acs) == ("conventional", {"capability": [], "control": []})


def test_functions_of_one_device_know_of_each_other() -> None:
    found = read(PORT_AND_GPU + SIBLING)
    assert found[GPU].multifunction and found["0000:c1:00.1"].multifunction
    assert found["0000:c1:00.1"].acs == found[GPU].acs == {"capability": [], "control": []}


def dump(function: dict[str, Any], data: bytes, style: str = "nnk") -> str:
    text = lspci_render.render({"pci": [function]}, lspci_render.STYLES[style])
    lines = [
        f"{start:02x}: {' '.join(f'{value:02x}' for value in data[start : start + 16])}\n"
        for start in range(0, len(data), 16)
    ]
    return text.rstrip("\n") + "\n" + "".join(lines) + "\n"


WITH_SPACE = [
    (name, function)
    for name in machines.names()
    for function in machines.load(name)["pci"]
    if isinstance(function.get("config"), dict)
]


@pytest.mark.parametrize(
    ("name", "function"), WITH_SPACE, ids=[f"{name} {each['address']}" for name, each in WITH_SPACE]
)
@pytest.mark.parametrize("style", ["nnk", "vvnnk"])
def test_bytes_say_the_same_as_configuration_space(
    tmp_path: Any, name: str, function: dict[str, Any], style: str
) -> None:
    """The functions of real machines whose configuration space is known, through sysfs and through lspci -xxxx."""
    from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
    from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

    alone = {key: value for key, value in function.items() if key != "parent"}
    root = HostRoot(str(machines.build({"pci": [alone]}, tmp_path)))
    (wanted,) = read_devices(root)
    data = config_space.space({"revision": function.get("revision", "00"), **function["config"]})
    (found,) = read(dump(function, data, style)).values()
    for field in ("express_type", "link", "acs", "resizable_bars"):
        assert getattr(found, field) == getattr(wanted, field), field


def gpu_space() -> bytes:
    """An A10 with 16 virtual functions of 32, in D3hot."""
    extended = struct.pack("<IHHHHH", 0, 1, 0, 32, 32, 16)
    return config_space.space(
        {
            "capabilities": [["60", "01", "0300" + "0b00"], ["78", "10", "0200" + "00" * 16]],
            "extended": [["100", "0001", ""], ["bcc", "0010", extended.hex()]],
        }
    )


@pytest.mark.parametrize(
    ("length", "sriov", "power"),
    [
        (4096, {"total_vfs": 32, "num_vfs": 16, "physical_function": None}, "D3hot"),
        (256, None, "D3hot"),  # -xxx
        (64, None, None),  # -x, or without privileges
    ],
)
def test_bytes_as_far_as_they_go(length: int, sriov: dict[str, Any] | None, power: str | None) -> None:
    function = {"address": GPU, "class": "0302", "class_name": "3D controller", "vendor": "10de", "device": "2236"}
    function.update(vendor_name="NVIDIA Corporation", device_name="GA102GL [A10]")
    (device,) = read(dump(function, gpu_space()[:length])).values()
    assert (device.sriov, device.power_state) == (sriov, power)


def test_a_capture_explains_what_merges_a_group() -> None:
    """What this is for: the port is named in a capture as on the host."""
    text = PORT_AND_GPU.replace("IOMMU group: 30", "IOMMU group: 21").replace(
        "SrcValid+ TransBlk- ReqRedir+", "SrcValid- TransBlk- ReqRedir+"
    )
    devices = read(text)
    assert devices[GPU].parent == PORT
    (merge,) = merges(list(devices.values()))["21"]
    assert (merge.address, merge.cause, list(merge.missing)) == (PORT, "switched_off", ["source_validation"])


def test_a_bus_that_two_bridges_claim_has_no_parent() -> None:
    twice = PORT_AND_GPU + "\n" + PORT_AND_GPU[: PORT_AND_GPU.index("c1:00.0")].replace("c0:01.1", "c0:01.2")
    assert read(twice)[GPU].parent is None
