# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._iommu import acpi, diagnose, facts
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
        files[f"{base}/type"] = "DMA-FQ\n"
        if "group_name" in host:
            files[f"{base}/name"] = f"{host['group_name']}\n"
    dirs = [] if host.get("no_acpi") else ["/sys/firmware/acpi/tables"]
    machines.build({"files": files, "dirs": dirs}, root)
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
    ):
        if key in expected:
            assert result[value] == expected[key]
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
