# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is judged to be when its BIOS will be another after the reboot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.host import assess
from tests.unit import assess_host
from tests.unit.assess_host import gpu, machine

PLANNED = {
    "plan": {"IntelProcVtd": "Enabled"},
    "fixes": ["iommu"],
    "reboot_reasons": ["BIOS settings wait for it: IntelProcVtd"],
    "findings": [],
}


def judge(tmp_path: Path, bios: dict[str, Any], **more: Any) -> dict[str, Any]:
    facts = assess_host.read(machine(gpu(), **more), tmp_path)
    return assess(facts, {}, assess_host.RELEASE, "gpu-01", bios_answer=bios)


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {finding["id"]: finding["state"] for finding in answer["findings"]}


def test_an_iommu_that_comes_with_the_bios_is_no_block(tmp_path: Path) -> None:
    without = judge(tmp_path / "1", {}, firmware="")
    assert without["summary"]["blocked"] and states(without)["A02"] == "open"
    assert "host_firmware" in str(without["summary"]["messages"])
    coming = judge(tmp_path / "2", PLANNED, firmware="")
    assert not coming["summary"]["blocked"] and states(coming)["A02"] == "will_be_fixed_by"
    assert coming["plan"]["host_firmware"] == {"attributes": {"IntelProcVtd": "Enabled"}, "reboot": True}
    assert PLANNED["reboot_reasons"][0] in coming["summary"]["reboot_reasons"]


def test_one_reboot_brings_the_bios_and_the_kernel_argument(tmp_path: Path) -> None:
    """Without the argument the kernel of Debian would not use the IOMMU that the reboot brings."""
    coming = judge(tmp_path, PLANNED, firmware="")
    assert "intel_iommu=on" in coming["plan"]["host_iommu"]["kernel_cmdline"]["present"]
    assert states(coming)["A05"] == "unknown_until"


def test_an_iommu_of_amd_needs_no_argument(tmp_path: Path) -> None:
    coming = judge(tmp_path, PLANNED, firmware="", vendor="AuthenticAMD", flags="svm")
    arguments = coming["plan"]["host_iommu"]["kernel_cmdline"]["present"]
    assert not [argument for argument in arguments if "iommu" in argument] and not coming["summary"]["blocked"]


def test_another_feature_does_not_bring_the_iommu(tmp_path: Path) -> None:
    other = judge(tmp_path, {**PLANNED, "fixes": ["virtualization"]}, firmware="")
    assert other["summary"]["blocked"] and states(other)["A02"] == "open"
    assert "intel_iommu=on" not in str(other["plan"])


def test_virtualization_that_comes_with_the_bios_is_no_block(tmp_path: Path) -> None:
    assert states(judge(tmp_path / "1", {}, kvm=False, flags=""))["B13"] == "open"
    assert (
        states(judge(tmp_path / "2", {"fixes": ["virtualization"]}, kvm=False, flags=""))["B13"] == "will_be_fixed_by"
    )


def test_a_block_of_the_bmc_blocks_the_host(tmp_path: Path) -> None:
    finding = {"id": "bmc_unreachable", "severity": "block", "fact": "the BMC did not answer.", "node": "gpu-01"}
    answer = judge(tmp_path, {"findings": [finding]})
    assert answer["summary"]["blocked"] and states(answer)["bmc_unreachable"] == "open"


@pytest.mark.parametrize("bios", [{}, {"findings": [], "plan": {}, "fixes": [], "reboot_reasons": []}])
def test_a_bios_that_nobody_asked_or_that_has_everything_changes_nothing(tmp_path: Path, bios: dict[str, Any]) -> None:
    answer = judge(tmp_path, bios)
    assert answer["plan"]["host_firmware"] == {}
    assert not [reason for reason in answer["summary"]["reboot_reasons"] if "BIOS" in reason]
