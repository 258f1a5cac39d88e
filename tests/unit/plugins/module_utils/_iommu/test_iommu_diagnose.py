# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu import acpi, arguments, diagnose, facts
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import machines

HOSTS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[3] / "fixtures" / "iommu" / "hosts.yml").read_text(encoding="utf-8")
)
RELEASE = "6.12.0-test"


def iort_table(smmus: int) -> bytes:
    """A root complex, an interrupt controller and SMMUv3 nodes."""
    nodes = [struct.pack("<BH", kind, 24) + bytes(21) for kind in (2, 0, *[4] * smmus)]
    return b"IORT" + bytes(32) + struct.pack("<III", len(nodes), 48, 0) + b"".join(nodes)


def dmar_table(units: int, flags: int) -> bytes:
    """A reserved memory region between remapping units."""
    body = (
        b"".join(struct.pack("<HH", 0, 16) + bytes(12) for _unit in range(units))
        + struct.pack("<HH", 1, 24)
        + bytes(20)
    )
    return b"DMAR" + struct.pack("<I", 48 + len(body)) + bytes(28) + bytes((45, flags)) + bytes(10) + body


def ivrs_table(units: int) -> bytes:
    """A memory definition before the hardware definitions."""
    body = struct.pack("<BxH", 0x20, 32) + bytes(28)
    body += b"".join(struct.pack("<BxH", kind, 24) + bytes(20) for kind in [0x10, 0x11, 0x40, 0x11][:units])
    return b"IVRS" + struct.pack("<I", 48 + len(body)) + bytes(40) + body


def build(host: dict[str, Any], root: Path) -> HostRoot:
    files = {"/proc/cmdline": f"{host['cmdline']}\n", "/proc/sys/kernel/osrelease": f"{RELEASE}\n"}
    if host["cpu"] == "arm":
        files["/proc/cpuinfo"] = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n"
    else:
        files["/proc/cpuinfo"] = (
            f"processor\t: 0\nvendor_id\t: {host['cpu']}\nflags\t\t: fpu {host.get('flags', '')} sse\n\nprocessor\t: 1\n"
        )
    if "interrupts" in host:
        files["/proc/interrupts"] = (
            f"           CPU0\n  8:  0   {host['interrupts']}-0000:00:02.0 0-edge  eth0\n 24: 0 DMAR-MSI 0-edge dmar0\n"
        )
    if "config" in host:
        files[f"/boot/config-{RELEASE}"] = "".join(
            f"{name}=y\n" if value == "y" else f"# {name} is not set\n" for name, value in host["config"].items()
        )
    for name, value in zip(("sys_vendor", "product_name"), host.get("dmi", ())):
        files[f"/sys/class/dmi/id/{name}"] = f"{value}\n"
    for name in host.get("tables", ()):
        files[f"/sys/firmware/acpi/tables/{name}"] = ""
    for unit, registers in host.get("units", {}).items():
        folder = "intel-iommu" if unit.startswith("dmar") else "amd-iommu"
        files.update({f"/sys/class/iommu/{unit}/{folder}/{name}": f"{value}\n" for name, value in registers.items()})
    for group in range(host.get("groups", 0)):
        base = f"/sys/kernel/iommu_groups/{group}"
        files[f"{base}/devices/0000:00:{group:02x}.0"] = ""
        files[f"{base}/reserved_regions"] = "0x00000000fee00000 0x00000000feefffff msi\n"
        files[f"{base}/type"] = f"{host.get('group_type', 'DMA-FQ')}\n"
        if "group_name" in host:
            files[f"{base}/name"] = f"{host['group_name']}\n"
    for key, path in (
        ("unsafe", "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"),
        ("crash", "/sys/kernel/kexec_crash_size"),
        ("lockdown", "/sys/kernel/security/lockdown"),
    ):
        if key in host:
            files[path] = f"{host[key]}\n"
    if host.get("xen"):
        files["/sys/hypervisor/type"] = "xen\n"
    dirs = [] if host.get("no_acpi") else ["/sys/firmware/acpi/tables"]
    dirs += [facts.DEVICE_TREE] if host.get("device_tree") else []
    machines.build({"files": files, "dirs": dirs}, root)
    tables = root / "sys/firmware/acpi/tables"
    if "dmar" in host:
        (tables / "DMAR").write_bytes(dmar_table(**host["dmar"]))
    if "ivrs" in host:
        (tables / "IVRS").write_bytes(ivrs_table(**host["ivrs"]))
    if "secure_boot" in host:
        path = root / facts.SECURE_BOOT.lstrip("/")
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes((6, 0, 0, 0, host["secure_boot"])))
    if "packed_config" in host:
        text = "".join(f"{name}={value}\n" for name, value in host["packed_config"].items())
        (root / "proc/config.gz").write_bytes(gzip.compress(text.encode()))
    if "smmu" in host:
        (root / "sys/firmware/acpi/tables/IORT").write_bytes(iort_table(host["smmu"]))
    return HostRoot(str(root))


@pytest.mark.parametrize("name", HOSTS)
def test_diagnosis(name: str, tmp_path: Path) -> None:
    host = HOSTS[name]
    expected = host["expected"]
    result = diagnose.diagnose(facts.read_facts(build(host, tmp_path)))
    assert {
        "state": result["state"],
        "causes": result["causes"],
        "wanted": result["wanted_arguments"],
        "contradicting": result["contradicting_arguments"],
        "reboot": result["reboot_would_help"],
    } == {key: expected[key] for key in ("state", "causes", "wanted", "contradicting", "reboot")}
    for key, value in (
        ("remapping", "interrupt_remapping"),
        ("group_count", "group_count"),
        ("tables", "firmware_tables"),
        ("blamed", "blamed_arguments"),
        ("domain", "default_domain"),
    ):
        if key in expected:
            assert result[value] == expected[key]
    if "notes" in expected:
        assert [note["id"] for note in result["notes"]] == expected["notes"]
        assert all(all(note.values()) for note in result["notes"])
    assert expected.get("note", "") in " ".join(note["fact"] for note in result["notes"])
    assert result["virtualization"] == expected.get("virtualization", result["virtualization"])
    assert expected.get("remedy", "") in " ".join(result["remedies"])
    assert len(result["causes"]) == len(result["reasons"])
    assert bool(result["remedies"]) == (result["state"] != "active" or "A12" in result["causes"])


@pytest.mark.parametrize("name", [name for name, host in HOSTS.items() if host["expected"]["reboot"]])
def test_the_arguments_that_are_named_lead_to_nothing_more_to_change(name: str, tmp_path: Path) -> None:
    read = facts.read_facts(build(HOSTS[name], tmp_path))
    first = diagnose.diagnose(read)
    words = [word for word in read["kernel_arguments"].split() if word not in first["contradicting_arguments"]]
    after = diagnose.diagnose({**read, "kernel_arguments": " ".join([*words, *first["wanted_arguments"]])})
    assert not after["reboot_would_help"] or after["causes"] == ["A12"] == first["causes"]


@pytest.mark.parametrize(
    ("line", "domain"),
    [
        ("", None),
        ("iommu=pt", "passthrough"),
        ("iommu=nopt,force", "translated"),
        ("iommu=force,pt", "passthrough"),
        ("iommu=pt iommu=force", "passthrough"),
        ("iommu.passthrough=1", "passthrough"),
        ("iommu.passthrough=off", "translated"),
        ("iommu.passthrough=1 iommu.passthrough=maybe", "passthrough"),
        ("iommu.passthrough=0 iommu=pt", "passthrough"),
        ("iommu=pt iommu.passthrough=N", "translated"),
        ("-- iommu=pt", None),
    ],
)
def test_the_domain_that_the_line_asks_for(line: str, domain: str | None) -> None:
    assert arguments.default_domain(tokens.parse(line)) == domain


def test_facts_are_raw_and_complete(tmp_path: Path) -> None:
    read = facts.read_facts(build(HOSTS["intel_active"], tmp_path))
    assert read["groups"]["0"] == {
        "devices": ["0000:00:00.0"],
        "name": "",
        "type": "DMA-FQ",
        "reserved_regions": [["0x00000000fee00000", "0x00000000feefffff", "msi"]],
    }
    assert read["units"] == [{"name": "dmar0", "cap": "d2008c40660462", "ecap": "f050da"}]
    assert (read["cpu_flags"], read["architecture"]) == (["vmx"], "x86_64")


def test_facts_of_an_empty_folder_are_empty(tmp_path: Path) -> None:
    assert diagnose.diagnose(facts.read_facts(HostRoot(str(tmp_path))))["state"] == "unsupported"


def test_groups_are_in_numeric_order(tmp_path: Path) -> None:
    read = facts.read_facts(build({**HOSTS["intel_active"], "groups": 12}, tmp_path))
    assert list(read["groups"]) == [str(number) for number in range(12)]


@pytest.mark.parametrize("table", [b"", b"IORT", iort_table(2)[:60], b"XXXX" + iort_table(1)[4:]])
def test_a_damaged_table_says_nothing(table: bytes) -> None:
    assert acpi.smmu_nodes(table) is None


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (dmar_table(3, 0b11), {"units": 3, "interrupt_remapping": True, "x2apic_opt_out": True}),
        (dmar_table(1, 0b01), {"units": 1, "interrupt_remapping": True, "x2apic_opt_out": False}),
        (dmar_table(0, 0b10), {"units": 0, "interrupt_remapping": False, "x2apic_opt_out": True}),
        (dmar_table(2, 1)[:-1], None),
        (dmar_table(2, 1)[:40], None),
        (b"XMAR" + dmar_table(2, 1)[4:], None),  # So Xen hides it.
        (dmar_table(1, 1)[:48] + struct.pack("<HH", 0, 0) + dmar_table(1, 1)[52:], None),
        (None, None),
        (b"", None),
    ],
)
def test_remapping_table_of_intel(table: bytes | None, wanted: dict[str, Any] | None) -> None:
    assert acpi.dmar(table) == wanted


@pytest.mark.parametrize("units", [0, 1, 2, 3, 4])
def test_virtualization_table_of_amd(units: int) -> None:
    assert acpi.ivrs(ivrs_table(units)) == {"units": units}
    assert acpi.ivrs(ivrs_table(units)[:-1]) is acpi.ivrs(None) is None


def test_layers_say_where_the_chain_breaks(tmp_path: Path) -> None:
    host = {**HOSTS["a04_both_kinds"], "dmar": {"units": 4, "flags": 1}, "config": {"CONFIG_INTEL_IOMMU": "y"}}
    layers = diagnose.diagnose(facts.read_facts(build(host, tmp_path)))["layers"]

    assert [(layer["layer"], layer["ok"], layer["fact"]) for layer in layers] == [
        ("processor", True, "intel with vmx"),
        ("machine", True, "no virtual machine by what it says"),
        ("firmware", True, "DMAR with 4 units"),
        ("kernel", True, "CONFIG_INTEL_IOMMU=y"),
        ("arguments", False, "iommu=off intel_iommu=off"),
        ("units", False, "none in use"),
        ("groups", False, "0 groups"),
        ("interrupts", None, "not known"),
        ("domain", None, "not known"),
        ("lockdown", None, "none"),
    ]


@pytest.mark.parametrize(
    ("name", "layer", "ok"),
    [
        ("a02_firmware_intel", "firmware", False),
        ("a02_table_without_units", "firmware", False),
        ("acpi_off", "firmware", False),
        ("intel_kernel_without_driver", "kernel", False),
        ("amd_off_by_argument", "arguments", False),
        ("a12_remapping_off_by_argument", "arguments", False),
        ("a12_without_apic", "arguments", False),
        ("intel_active", "arguments", True),
        ("a12_firmware_says_no", "interrupts", False),
        ("intel_active", "units", True),
        ("intel_active", "groups", True),
        ("a18_xen_keeps_the_iommu", "machine", False),
        ("a18_guest_without_viommu", "machine", None),
        ("a18_cloud_guest_amd", "processor", False),
        ("arm64_active", "processor", None),
    ],
)
def test_one_layer(name: str, layer: str, ok: bool | None, tmp_path: Path) -> None:
    layers = diagnose.diagnose(facts.read_facts(build(HOSTS[name], tmp_path)))["layers"]

    assert {entry["layer"]: entry["ok"] for entry in layers}[layer] is ok


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"CONFIG_INTEL_IOMMU=y\n" * 9, mtime=0)[:20]])
def test_a_packed_configuration_that_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    root = build(HOSTS["a01_parameter_missing_and_configuration_unknown"], tmp_path)
    (tmp_path / "proc/config.gz").write_bytes(content)

    assert facts.read_facts(root)["kernel_options"] == {}
