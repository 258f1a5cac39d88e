# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is judged of hosts that are to run confidential virtual machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from tests.unit.assess_host import RELEASE as LEGACY
from tests.unit.assess_host import ids, machine, read
from tests.unit.confidential_hosts import (
    A10,
    EMERALD,
    H100,
    HIBERNATES,
    NVSWITCH,
    OLDER,
    ROME,
    SAPPHIRE,
    SNP,
    TDX,
    ask,
    epyc,
    finding,
    states,
    xeon,
)

OPEN, COMES, UNKNOWN = "open", "will_be_fixed_by", "unknown_until"


# Machines that can


@pytest.mark.parametrize(("described", "desired"), [(epyc(), SNP), (xeon(), TDX)], ids=["genoa", "emerald_rapids"])
def test_a_host_that_is_set_up_has_nothing_to_do(
    tmp_path: Path, described: dict[str, Any], desired: dict[str, Any]
) -> None:
    answer = ask(described, tmp_path, desired, verify=True)
    assert states(answer) == {} and not answer["summary"]["blocked"] and not answer["summary"]["reboot_needed"]
    assert answer["plan"]["host_iommu"] == {}
    assert answer["record"]["confidential"] == desired["confidential"]
    checks = {item["id"]: item for item in answer["checks"]}
    assert checks["confidential"]["result"] == "passed"
    assert finding(answer, "cc_support")["severity"] == "warn", "NVIDIA has not validated it on this release"
    assert ids(answer, severity="warn").count("cc_platform") == 0


def test_a_release_that_was_validated_says_so_without_a_warning(tmp_path: Path) -> None:
    answer = ask(epyc(), tmp_path, SNP, release=OLDER)
    assert finding(answer, "cc_support")["severity"] == "info" and "v26.3.1" in finding(answer, "cc_support")["fact"]


@pytest.mark.parametrize("desired", [{}, {"confidential": "none"}, {"confidential": None}])
def test_a_plain_host_is_not_looked_at(tmp_path: Path, desired: dict[str, Any]) -> None:
    described = epyc(A10, snp="N", flag=False, arguments="quiet iommu=pt")
    described["files"]["/etc/modules-load.d/katagpu.conf"] = (
        "# Managed by katagpu.cluster.\nvfio-pci\nvfio_iommu_type1\nvhost_vsock\nvhost_net\n"
    )
    answer = ask(described, tmp_path, desired, verify=True)
    assert not [item for item in answer["findings"] if item["id"].startswith("cc_")]
    assert answer["plan"]["host_iommu"] == {} and not answer["summary"]["blocked"]
    assert "confidential" not in {item["id"] for item in answer["checks"]}


# SEV-SNP


def test_snp_off_in_the_firmware_is_told_from_snp_off_in_the_kernel(tmp_path: Path) -> None:
    answer = ask(epyc(snp="N", flag=False), tmp_path, SNP, verify=True)
    assert states(answer) == {"cc_firmware": OPEN} and answer["summary"]["blocked"]
    found = finding(answer, "cc_firmware")
    assert "does not show the flag sev_snp" in found["fact"] and "SNP Memory (RMP Table) Coverage" in found["fix"]
    assert answer["plan"]["host_iommu"] == {}
    assert {item["id"]: item["result"] for item in answer["checks"]}["confidential"] == "failed"


@pytest.mark.parametrize("argument", ["iommu=pt", "iommu.passthrough=1", "amd_iommu=pgtbl_v2", "kvm_amd.sev_snp=0"])
def test_an_argument_that_breaks_snp_is_taken_away(tmp_path: Path, argument: str) -> None:
    answer = ask(epyc(snp="N", arguments=f"quiet {argument}"), tmp_path, SNP)
    assert set(states(answer).values()) == {COMES} and not answer["summary"]["blocked"]
    assert argument in answer["plan"]["host_iommu"]["kernel_cmdline"]["absent"]
    assert answer["summary"]["reboot_needed"] and answer["plan"]["host_iommu"]["reboot"]


def test_the_last_word_about_passthrough_counts(tmp_path: Path) -> None:
    answer = ask(epyc(snp="N", arguments="quiet iommu=pt iommu=nopt"), tmp_path, SNP)
    assert "cc_iommu" not in states(answer)


def test_a_kernel_that_passes_through_by_default_is_told_not_to(tmp_path: Path) -> None:
    text = "CONFIG_IOMMU_DEFAULT_PASSTHROUGH=y\nCONFIG_IOMMUFD=m\nCONFIG_VFIO_DEVICE_CDEV=y\n"
    config = {"/boot/config-6.17.0-5-generic": text}
    answer = ask(epyc(snp="N", files=config), tmp_path / "a", SNP)
    assert states(answer)["cc_iommu"] == COMES
    assert "iommu=nopt" in answer["plan"]["host_iommu"]["kernel_cmdline"]["present"]
    done = ask(epyc(arguments="quiet iommu=nopt", files=config), tmp_path / "b", SNP)
    assert states(done) == {} and done["plan"]["host_iommu"] == {}


def test_a_kernel_without_the_parameter_is_too_old(tmp_path: Path) -> None:
    """Linux 6.8 as in Ubuntu 24.04: no host support for SEV-SNP, and so no parameter and no flag."""
    answer = ask(epyc(snp=None, flag=False, kernel="6.8.0-60-generic"), tmp_path, SNP)
    assert states(answer) == {"cc_kernel": OPEN}
    assert "6.8.0-60-generic has no parameter sev_snp" in finding(answer, "cc_kernel")["fact"]
    assert "6.17 or newer" in finding(answer, "cc_kernel")["fix"]
    assert "the kernel 6.8.0-60-generic" in finding(answer, "cc_platform")["fact"]


def test_a_module_that_is_not_loaded(tmp_path: Path) -> None:
    answer = ask(epyc(parameters=None), tmp_path, SNP)
    assert states(answer) == {"cc_kernel": OPEN} and "kvm_amd is not loaded" in finding(answer, "cc_kernel")["fact"]


def test_a_file_of_somebody_else_that_switches_it_off_is_named(tmp_path: Path) -> None:
    files = {"/etc/modprobe.d/kvm.conf": "options kvm-amd nested=1 sev_es=0\n"}
    answer = ask(epyc(snp="N", files=files), tmp_path, SNP)
    assert states(answer) == {"cc_option": OPEN}
    assert "/etc/modprobe.d/kvm.conf sets sev_es=0" in finding(answer, "cc_option")["fact"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"files": {"/sys/fs/cgroup/misc.capacity": "sev 509\nsev_es 0\n"}},
            "no encryption key is set apart for SEV-ES",
        ),
        ({}, "for a reason that only the kernel's log tells"),
    ],
)
def test_what_else_keeps_snp_off(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    answer = ask(epyc(snp="N", **changes), tmp_path, SNP)
    assert states(answer) == {"cc_firmware": OPEN} and text in finding(answer, "cc_firmware")["fact"]


def test_without_an_iommu_it_is_not_known_yet(tmp_path: Path) -> None:
    off = {**H100, "group": None, "driver": None}
    answer = ask(epyc(off, snp="N", arguments="quiet amd_iommu=off"), tmp_path, SNP)
    assert states(answer) == {"cc_firmware": UNKNOWN} and answer["summary"]["reboot_needed"]


@pytest.mark.parametrize(
    ("text", "fact"), [("sev 410\nsev_es 0\n", "there is no encryption key"), ("rdma 1\n", "does not count")]
)
def test_a_host_without_keys_could_never_start_a_pod(tmp_path: Path, text: str, fact: str) -> None:
    answer = ask(epyc(files={"/sys/fs/cgroup/misc.capacity": text}), tmp_path, SNP)
    assert states(answer) == {"cc_keys": OPEN} and fact in finding(answer, "cc_keys")["fact"]
    assert "sev-snp.amd.com/esids" in finding(answer, "cc_keys")["consequence"]


def test_without_the_device_of_the_secure_processor(tmp_path: Path) -> None:
    described = epyc()
    del described["files"]["/dev/sev"]
    answer = ask(described, tmp_path, SNP)
    assert states(answer) == {"cc_device": OPEN} and finding(answer, "cc_device")["fix"] == "load the module ccp."


def test_a_processor_before_milan_has_no_snp(tmp_path: Path) -> None:
    answer = ask(epyc(cpu=ROME, snp=None, flag=False), tmp_path, SNP)
    assert states(answer) == {"cc_cpu": OPEN} and "EPYC 7452" in finding(answer, "cc_cpu")["fact"]


# TDX


def test_tdx_off_in_the_firmware(tmp_path: Path) -> None:
    answer = ask(xeon(tdx="N", flag=False), tmp_path, TDX)
    assert states(answer) == {"cc_firmware": OPEN} and answer["summary"]["blocked"]
    assert "TME-MT/TDX key split" in finding(answer, "cc_firmware")["fix"]
    assert answer["plan"]["host_iommu"] == {}


def test_a_fresh_host_gets_the_arguments_and_is_judged_after_the_reboot(tmp_path: Path) -> None:
    fresh = xeon(tdx="N", flag=False, arguments="quiet intel_iommu=on", files={"/sys/power/disk": HIBERNATES})
    answer = ask(fresh, tmp_path, TDX)
    assert states(answer) == {"cc_option": COMES, "cc_firmware": UNKNOWN} and not answer["summary"]["blocked"]
    present = answer["plan"]["host_iommu"]["kernel_cmdline"]["present"]
    assert "nohibernate" in present and "kvm_intel.tdx=1" in present
    assert answer["summary"]["reboot_reasons"] == [
        "kernel arguments that were asked for are not in the running kernel",
    ]


def test_hibernation_that_lockdown_prevents_needs_no_argument(tmp_path: Path) -> None:
    answer = ask(xeon(tdx="N", arguments="quiet intel_iommu=on"), tmp_path, TDX)
    assert states(answer) == {"cc_option": COMES}
    present = answer["plan"]["host_iommu"]["kernel_cmdline"]["present"]
    assert "kvm_intel.tdx=1" in present and "nohibernate" not in present


def test_tdx_that_somebody_else_asked_for_stays_as_it_is(tmp_path: Path) -> None:
    files = {"/etc/modprobe.d/tdx.conf": "options kvm_intel tdx=1\n"}
    answer = ask(xeon(arguments="quiet intel_iommu=on", files=files), tmp_path, TDX)
    assert states(answer) == {} and answer["plan"]["host_iommu"] == {}


def test_a_module_that_the_firmware_did_not_load(tmp_path: Path) -> None:
    answer = ask(xeon(tdx="N"), tmp_path, TDX)
    assert (
        states(answer) == {"cc_firmware": OPEN}
        and "could not start the TDX module" in finding(answer, "cc_firmware")["fact"]
    )


def test_a_kernel_without_tdx(tmp_path: Path) -> None:
    answer = ask(xeon(tdx=None, flag=False, kernel="6.12.48+deb13-amd64"), tmp_path, TDX)
    assert states(answer) == {"cc_kernel": OPEN}


def test_a_processor_that_nobody_validated_is_a_warning(tmp_path: Path) -> None:
    answer = ask(xeon(cpu=SAPPHIRE), tmp_path, TDX)
    assert states(answer) == {} and "Platinum 8480+ (family 6, model 143)" in finding(answer, "cc_platform")["fact"]
    assert "Intel Emerald Rapids and Intel Granite Rapids" in finding(answer, "cc_platform")["consequence"]


@pytest.mark.parametrize(("described", "desired"), [(epyc(), TDX), (xeon(), SNP)])
def test_the_other_vendor_s_variant_is_refused(
    tmp_path: Path, described: dict[str, Any], desired: dict[str, Any]
) -> None:
    assert states(ask(described, tmp_path, desired)) == {"cc_cpu": OPEN}


# GPUs, and wishes that contradict


def test_an_a10_has_no_confidential_mode(tmp_path: Path) -> None:
    answer = ask(
        epyc(H100, {**A10, "address": "0000:67:00.0", "group": "14"}), tmp_path, SNP, accepted={"cc_gpu": "no"}
    )
    found = finding(answer, "cc_gpu")
    assert (found["state"], found["device"]) == (OPEN, "0000:67:00.0") and "older than Hopper" in found["fact"]


@pytest.mark.parametrize(
    ("device", "known"), [("2901", True), ("2bb5", True), ("31c0", True), ("2b85", False), ("26b9", None)]
)
def test_which_gpus_are_known(tmp_path: Path, device: str, known: bool | None) -> None:
    """B200, RTX PRO 6000 Blackwell Server Edition, GB110; GeForce RTX 5090, of which nothing is known; L40S."""
    answer = ask(epyc({**H100, "device": device}), tmp_path, SNP, accepted={"cc_gpu_unknown": "it has one"})
    expected = {True: {}, False: {"cc_gpu_unknown": "accepted"}, None: {"cc_gpu": OPEN}}[known]
    assert states(answer) == expected


def test_nvswitches_beside_hopper_are_told(tmp_path: Path) -> None:
    answer = ask(epyc(H100, NVSWITCH), tmp_path / "a", SNP)
    assert "ppcie" in finding(answer, "cc_multi_gpu")["consequence"] and not answer["summary"]["blocked"]
    blackwell = ask(epyc({**H100, "device": "2901"}, NVSWITCH), tmp_path / "b", SNP)
    assert "cc_multi_gpu" not in {item["id"] for item in blackwell["findings"]}


def test_a_kernel_without_device_nodes_for_vfio(tmp_path: Path) -> None:
    config = {"/boot/config-6.17.0-5-generic": "CONFIG_IOMMUFD=m\n# CONFIG_VFIO_DEVICE_CDEV is not set\n"}
    answer = ask(epyc(files=config), tmp_path, SNP)
    assert states(answer) == {"B10": OPEN} and "CONFIG_VFIO_DEVICE_CDEV" in finding(answer, "B10")["fact"]


def test_the_module_for_device_nodes_is_loaded_on_these_hosts_only(tmp_path: Path) -> None:
    described = epyc()
    described["files"]["/etc/modules-load.d/katagpu.conf"] = "# Managed by katagpu.cluster.\nvfio-pci\n"
    (planned,) = ask(described, tmp_path, SNP)["plan"]["host_iommu"]["files"]
    assert planned["content"].endswith("vhost_net\niommufd\n")


def test_the_owner_host_is_refused(tmp_path: Path) -> None:
    answer = ask(epyc(), tmp_path, {**SNP, "vfio_owner": "host"})
    assert states(answer) == {"vfio_owner": OPEN} and "confidential mode" in finding(answer, "vfio_owner")["fact"]


@pytest.mark.parametrize(
    ("described", "desired"),
    [
        (epyc(snp="N", arguments="quiet iommu=pt"), {**SNP, "kernel_arguments_present": ["iommu=pt"]}),
        (xeon(), {**TDX, "kernel_arguments_absent": ["nohibernate"]}),
    ],
)
def test_wishes_that_contradict_are_refused(tmp_path: Path, described: dict[str, Any], desired: dict[str, Any]) -> None:
    answer = ask(described, tmp_path, desired)
    said = [item for item in answer["findings"] if item["id"] == "cc_option" and item["state"] == OPEN]
    assert [item["fix"] for item in said] == ["remove one of the two."] and answer["summary"]["blocked"]
    assert "wish" not in ids(answer) and "B22" not in ids(answer)


def test_a_release_without_the_variant_is_refused(tmp_path: Path) -> None:
    answer = ask(epyc(), tmp_path, SNP, release=LEGACY)
    assert (
        states(answer) == {"cc_release": OPEN}
        and "the release 23.9 has no such variant" in finding(answer, "cc_release")["fact"]
    )


def test_a_word_that_is_no_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KatagpuError, match="confidential must be one of none, snp, tdx"):
        ask(machine(H100), tmp_path, {"confidential": "sev"})


def test_the_facts_are_raw_and_say_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    facts = read(xeon(cpu=EMERALD), tmp_path / "a")["confidential"]
    assert facts["cpu"] == {"family": 6, "model": 207, "name": "INTEL(R) XEON(R) PLATINUM 8580"}
    assert facts["parameters"] == {"kvm_amd": {"sev": None, "sev_es": None, "sev_snp": None}, "kvm_intel": {"tdx": "Y"}}
    assert (facts["keys"], facts["hibernation"], facts["/dev/sev"]) == ({"tdx": 31}, "[disabled]", False)
    empty = read({"pci": [], "files": {}, "dirs": []}, tmp_path / "b")["confidential"]
    assert empty["keys"] is None and empty["cpu"] == {"family": None, "model": None, "name": ""}
    assert empty["modules"] == {"kvm_amd": False, "kvm_intel": False, "ccp": False}
