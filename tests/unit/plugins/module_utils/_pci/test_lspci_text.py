# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single lines and whole documents that the lspci reader must get right, and text that it must survive."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.lspci import parse
from tests.unit import lspci_render, machines

RENDERED = [
    lspci_render.render(machines.load(name), style)
    for name in ("epyc_rome", "thinkpad_p53", "vmd_b1400", "kata_gtx1050ti", "vm_nemu")
    for style in lspci_render.STYLES.values()
]


def one(text: str) -> PciDevice:
    devices, unparsed = parse(text)
    assert unparsed == []
    assert len(devices) == 1
    return devices[0]


def test_the_sample_of_the_kata_documentation() -> None:
    device = one(
        "      65:00.0 3D controller [0302]: NVIDIA Corporation GA102GL [A10] [10de:2236] (rev a1)\n"
        "              Subsystem: NVIDIA Corporation GA102GL [A10] [10de:1482]\n"
        "              Kernel driver in use: vfio-pci\n"
        "              Kernel modules: nvidiafb, nouveau\n"
    )

    assert device == PciDevice(
        address="0000:65:00.0",
        class_code="0302",
        class_name="3D controller",
        vendor_id="10de",
        device_id="2236",
        subsystem_vendor_id="10de",
        subsystem_device_id="1482",
        vendor_name="NVIDIA Corporation",
        device_name="GA102GL [A10]",
        revision="a1",
        driver="vfio-pci",
        modules=("nvidiafb", "nouveau"),
    )
    assert device.is_nvidia_gpu


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (
            "01:00.0 VGA compatible controller: NVIDIA Corporation Device 1380 (rev a2)",
            {"vendor_id": "10de", "vendor_name": "NVIDIA Corporation", "device_id": "1380", "device_name": None},
        ),
        (
            "00:04.0 Unassigned class [ff00]: Device 1de5:1000",
            {"class_code": "ff00", "vendor_id": "1de5", "device_id": "1000", "vendor_name": None, "device_name": None},
        ),
        (
            "00:04.0 Class ff00: 1de5:1000",
            {"class_code": "ff00", "class_name": None, "vendor_id": "1de5", "device_id": "1000"},
        ),
        (
            "00:0a.0 Network controller [0280]: Device [1234:1111]",
            {"vendor_id": "1234", "device_id": "1111", "vendor_name": None, "device_name": None},
        ),
        (
            "03:00.0 VGA compatible controller: nVidia Corporation Unknown device 0391 (rev a1)",
            {"vendor_id": "10de", "vendor_name": "nVidia Corporation", "device_id": "0391", "device_name": None},
        ),
        (
            "02:00.0 Ethernet controller: Broadcom Corporation NetXtreme BCM5720",
            {"vendor_id": "14e4", "vendor_name": "Broadcom Corporation", "device_name": "NetXtreme BCM5720"},
        ),
        (
            "02:00.0 Ethernet controller: Broadcom Limited Device 16a3",
            {"vendor_id": "14e4", "vendor_name": "Broadcom Limited", "device_id": "16a3", "device_name": None},
        ),
        (
            "05:00.0 SATA controller: Marvell Technology Group Ltd. 88SE9230",
            {"vendor_id": None, "vendor_name": "Marvell Technology Group Ltd.", "device_name": "88SE9230"},
        ),
        (
            "00:16.2 IPMI SMIC interface: Hewlett-Packard Company Some interface",
            {"class_code": "0c07", "class_name": "IPMI SMIC interface", "vendor_id": "103c"},
        ),
        (
            "65:00.0 Class 0302: 10de:2236 vfio-pci",
            {"class_code": "0302", "class_name": None, "vendor_id": "10de", "device_id": "2236", "driver": "vfio-pci"},
        ),
        (
            '65:00.0 "Class 0302" "10de" "2236" "10de" "1482" "vfio-pci"',
            {"class_code": "0302", "device_id": "2236", "subsystem_device_id": "1482", "driver": "vfio-pci"},
        ),
        (
            "0009:00:00.0/01:00.0 3D controller [0302]: NVIDIA Corporation GH200 [10de:2342] (rev a1)",
            {"address": "0009:01:00.0", "device_name": "GH200"},
        ),
        (
            "00:18.0 Host bridge: Advanced Micro Devices, Inc. [AMD] Data Fabric: Device 18h; Function 0",
            {"vendor_name": "Advanced Micro Devices, Inc. [AMD]", "device_name": "Data Fabric: Device 18h; Function 0"},
        ),
        (
            "24:00.0 FireWire (IEEE 1394) [0c00]: JMicron Technology Corp. IEEE 1394 Host Controller [197b:2380](rev 30)",
            {"class_code": "0c00", "vendor_name": "JMicron Technology Corp.", "revision": "30"},
        ),
        (
            "10000:e1:00.0 Non-Volatile memory controller [0108]: Sandisk Corp Blue [15b7:5009] (prog-if 02 [NVM Express])",
            {"address": "10000:e1:00.0", "class_code": "010802", "device_name": "Blue"},
        ),
        (
            "00:1e.0 Bridge: Acme Widgets Gadget 3000",
            {"class_code": "0680", "vendor_name": None, "device_name": "Acme Widgets Gadget 3000"},
        ),
        (
            "00:1e.0 Some future controller: Intel Corporation Thing",
            {"class_code": None, "class_name": "Some future controller", "vendor_name": "Intel Corporation"},
        ),
        (
            "00:02.0 VGA Compatible Thing [0300]: INTEL Corp. X [8086:ABCD] (rev 0D)",
            {"vendor_id": "8086", "device_id": "abcd", "revision": "0d"},
        ),
        (
            '00:1f.0 "ISA bridge" "Intel Corporation" "A \\"quoted\\" \\\\ name" -r10 -p00 "" ""',
            {"class_code": "060100", "device_name": 'A "quoted" \\ name', "subsystem_vendor_id": None},
        ),
    ],
)
def test_a_device_line(line: str, facts: dict[str, object]) -> None:
    device = one(line).as_dict()

    assert {name: device[name] for name in facts} == facts


def test_verbose_details() -> None:
    device = one(
        "41:00.0 VGA compatible controller: NVIDIA Corporation GA102GL [RTX A6000] (rev ff) (prog-if ff)\n"
        "\tDeviceName: Slot 5\n"
        "\t!!! Unknown header type 7f\n"
        "\tPhysical Slot: 5\n"
        "\tSubsystem: ASUSTeK Computer Inc. Device 84ca\n"
        "\tNUMA node: 1\n"
        "\tIOMMU group: 12\n"
        "\tRegion 0: Memory at <unassigned> (32-bit, non-prefetchable) [disabled]\n"
        "\tRegion 1: Memory at 38000000000 (64-bit, prefetchable) [size=64G]\n"
        "\tRegion 5: I/O ports at f000 [virtual] [size=128]\n"
        "\tExpansion ROM at f7000000 [virtual] [disabled] [size=512K]\n"
        "\tCapabilities: [60] Power Management version 3\n"
        "\t\tFlags: PMEClk- DSI- D1- D2- AuxCurrent=0mA PME(D0+,D1-,D2-,D3hot+,D3cold-)\n"
        "\t\tStatus: D0 NoSoftRst+ PME-Enable- DSel=0 DScale=0 PME-\n"
        "\tKernel driver in use: nvidia\n"
        "\tKernel modules: nvidiafb, nouveau, nvidia_drm, nvidia\n"
    )

    assert (device.class_code, device.revision, device.driver) == ("0300ff", "ff", "nvidia")
    assert (device.subsystem_vendor_id, device.subsystem_device_id) == ("1043", "84ca")
    assert (device.numa_node, device.iommu_group) == (1, "12")
    assert device.modules == ("nvidiafb", "nouveau", "nvidia_drm", "nvidia")
    assert [(bar["index"], bar["size"], bar["assigned"]) for bar in device.bars] == [
        (0, None, False),
        (1, 64 << 30, True),
        (5, 128, True),
        (6, 512 << 10, True),
    ]


def test_details_that_only_some_versions_and_systems_print() -> None:
    device = one(
        "000f:01:00.0 VGA compatible controller: NVIDIA Corporation GB20B [GB10] (rev a1)\n"
        "\tBIST is running\n"
        "\tInterrupts: pin B disabled, MSI(X) routed to IRQ 193-200\n"
        "\t<access denied to the rest>\n"
        "\tDriver in use: nvidia\n"
    )

    assert (device.address, device.driver) == ("000f:01:00.0", "nvidia")


def test_the_subsystem_of_a_bridge_is_in_a_capability() -> None:
    device = one(
        "00:03.5 PCI bridge [0604]: Advanced Micro Devices, Inc. [AMD] GPP Bridge [1022:1483]\n"
        "\tCapabilities: [c0] Subsystem: Gigabyte Technology Co., Ltd GPP Bridge [1458:1000]\n"
    )

    assert (device.subsystem_vendor_id, device.subsystem_device_id) == ("1458", "1000")


@pytest.mark.parametrize(
    "heading", ["IOMMU Group 7:\n\t{}", "IOMMU group 7\n{}", "IOMMU Group 7 {}", "IOMMU Group 7: {}"]
)
def test_headings_of_group_listings(heading: str) -> None:
    device = one(heading.format("01:00.0 3D controller [0302]: NVIDIA Corporation GA102GL [A10] [10de:2236] (rev a1)"))

    assert (device.iommu_group, device.device_name) == ("7", "GA102GL [A10]")


def test_several_modules_and_the_older_record_style() -> None:
    devices, unparsed = parse(
        "Device:\t00:1f.3\nClass:\tAudio device\nVendor:\tIntel Corporation\nDevice:\tCannon Lake PCH cAVS\n\n"
        "Slot:\t01:00.0\nClass:\tVGA compatible controller [0300]\nVendor:\tNVIDIA Corporation [10de]\n"
        "Device:\tDevice [2b85]\nPhySlot:\t1\nDriver:\tnvidia\nModule:\tnvidiafb\nModule:\tnouveau\nNUMANode:\t0\n"
    )

    assert unparsed == []
    assert [(device.address, device.device_name) for device in devices] == [
        ("0000:00:1f.3", "Cannon Lake PCH cAVS"),
        ("0000:01:00.0", None),
    ]
    assert (devices[1].device_id, devices[1].modules, devices[1].numa_node) == ("2b85", ("nvidiafb", "nouveau"), 0)


def test_a_device_in_two_styles_has_each_module_once() -> None:
    device = one(
        "01:00.0 0302: 10de:2236\n\tKernel modules: nvidiafb, nouveau\n\n"
        "Slot:\t01:00.0\nDevice:\t2236\nModule:\tnvidiafb\nModule:\tnouveau\nModule:\tnvidia\n"
    )

    assert device.modules == ("nvidiafb", "nouveau", "nvidia")


def test_line_ends_that_were_converted_twice() -> None:
    device = one("Slot:\t01:00.0\r\r\nClass:\t0302\r\r\nDriver:\tvfio-pci\r\r\n")

    assert (device.class_code, device.driver) == ("0302", "vfio-pci")


def test_devices_come_in_numeric_order_and_duplicates_are_merged() -> None:
    devices, unparsed = parse(
        "10000:e1:00.0 0108: 15b7:5009\nff:00.0 0600: 8086:2c70\n01:00.0 0302: 10de:2236 (rev a1)\n"
        "0000:01:00.0 3D controller: NVIDIA Corporation GA102GL [A10] (rev a2)\n\tKernel driver in use: vfio-pci\n"
    )

    assert unparsed == []
    assert [device.address for device in devices] == ["0000:01:00.0", "0000:ff:00.0", "10000:e1:00.0"]
    assert (devices[0].device_id, devices[0].device_name, devices[0].driver) == ("2236", "GA102GL [A10]", "vfio-pci")
    assert devices[0].revision == "a1"


def test_a_contradicting_duplicate_is_reported_with_its_details() -> None:
    devices, unparsed = parse(
        "01:00.0 0302: 10de:2236\n01:00.0 0302: 10de:20b0 (rev a1)\n\tKernel driver in use: nvidia\n"
    )

    assert [(device.device_id, device.driver) for device in devices] == [("2236", None)]
    assert unparsed == ["01:00.0 0302: 10de:20b0 (rev a1)", "\tKernel driver in use: nvidia"]


@pytest.mark.parametrize(
    "line",
    [
        "this is not lspci",
        "$ lspci -nnk -d 10de:",
        "lspci: Unable to load libkmod resources: error -2",
        "-[0000:00]-+-00.0",
        " \\-[10000:e0]-+-06.0-[e1]----00.0  Sandisk Corp WD Blue SN550 NVMe SSD",
        "00:20.0 Host bridge: Intel Corporation X",
        "00:1f.8 Host bridge: Intel Corporation X",
        "00:00.0 a line that was cut",
        "01:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2335] (rev a1) (driver: nvidia)",
        "00:01.0/00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2335] (rev a1)",
        '00:1f.0 "ISA bridge" "Intel Corporation"',
        "\tKernel driver in use: orphan",
    ],
)
def test_what_is_not_understood_is_returned(line: str) -> None:
    assert parse(line) == ([], [line])


def test_what_is_not_understood_inside_a_device_is_returned() -> None:
    devices, unparsed = parse(
        "01:00.0 0302: 10de:2236\n\tKernel driver in use: vfio-pci\n\tsome words\n--\nmore words\n\tNUMA node: 1\n"
    )

    assert unparsed == ["\tsome words", "--", "more words"]
    assert (devices[0].driver, devices[0].numa_node) == ("vfio-pci", 1)


@pytest.mark.parametrize(
    "line", ["02:00.0 a line that was cut", "00:1f.8 0108: 144d:a808", "00:01.0/00.0 0108: 144d:a808"]
)
def test_details_of_a_device_not_understood_are_not_given_to_the_device_before(line: str) -> None:
    devices, unparsed = parse(f"01:00.0 0302: 10de:2236\n{line}\n\tKernel driver in use: nvme\n")

    assert [(device.address, device.driver) for device in devices] == [("0000:01:00.0", None)]
    assert unparsed == [line, "\tKernel driver in use: nvme"]


def test_what_follows_indented_details_is_not_taken_for_a_part_of_them() -> None:
    foreign = ["\t\tnvidia_drm", "Note: this is another text", "enabled+"]
    text = "01:00.0 0302: 10de:2236\n\tCapabilities: [60] Power Management version 3\n\t\tStatus: D0\n"
    devices, unparsed = parse(text + "\tKernel modules: nvidiafb\n" + "\n".join(foreign))

    assert unparsed == foreign
    assert devices[0].modules == ("nvidiafb",)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    check_total(text)


@settings(max_examples=200)
@given(st.data())
def test_any_damage_to_a_capture_is_survived(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(RENDERED))
    for _ in range(data.draw(st.integers(0, 8))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 40))
        text = text[:start] + data.draw(st.text(alphabet='\t\n []():."x0af>-', max_size=6)) + text[start + length :]
    check_total(text)


def check_total(text: str) -> None:
    """Every line is a device's, a detail's, or returned; addresses are canonical, unique and in order."""
    devices, unparsed = parse(text)
    addresses = [device.address for device in devices]
    assert len(set(addresses)) == len(addresses)
    assert addresses == sorted(addresses, key=machines.sort_key)
    assert all(re.fullmatch(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", address) for address in addresses)
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    assert len(devices) + len(unparsed) <= len(lines)
    assert [PciDevice.from_dict(device.as_dict()) for device in devices] == devices
