# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of the IOMMU besides its state, and which file an argument comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.assess_host import KERNEL, gpu, ids, judge, machine
from tests.unit.host_stages import ready

CRASH = {"/sys/kernel/kexec_crash_size": "536870912\n"}


def by_id(answer: dict[str, Any], id: str) -> list[dict[str, Any]]:
    return [item for item in answer["findings"] if item["id"] == id]


def test_crash_dumps_are_to_be_tested_when_the_iommu_comes_on(tmp_path: Path) -> None:
    off = judge(machine(gpu(), files=CRASH), tmp_path / "off")
    assert off["summary"]["reboot_needed"] and not off["summary"]["blocked"]
    (finding,) = by_id(off, "A19")
    assert finding["severity"] == "warn" and "test a crash dump" in finding["fix"]

    on = judge(ready(gpu(group="12", driver="vfio-pci"), files=CRASH), tmp_path / "on")
    assert by_id(on, "A19") == []


def test_a_locked_down_kernel_stops_nothing(tmp_path: Path) -> None:
    files = {"/sys/kernel/security/lockdown": "none [integrity] confidentiality\n"}
    answer = judge(ready(gpu(group="12", driver="vfio-pci"), files=files), tmp_path)
    assert ids(answer) == [] and ids(answer, severity="info") == ["B14"]


def test_unsafe_interrupts_are_told(tmp_path: Path) -> None:
    files = {"/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts": "Y\n"}
    answer = judge(ready(gpu(group="12", driver="vfio-pci"), files=files), tmp_path)
    assert ids(answer) == [] and ids(answer, severity="warn") == ["A12"]


def test_passthrough_is_left_to_those_who_want_confidential_machines(tmp_path: Path) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"), vendor="AuthenticAMD", firmware="IVRS", flags="svm sev_snp")
    description["files"]["/sys/kernel/iommu_groups/12/type"] = "identity\n"
    assert judge(description, tmp_path)["findings"] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/default/grub.d/50-cloud.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="console=ttyS0 intel_iommu=off"\n'),
        ("/etc/default/grub.d/50-cloud.cfg", "GRUB_CMDLINE_LINUX='intel_iommu=off'\n"),
    ],
)
def test_the_file_that_an_argument_comes_from_is_named(path: str, text: str, tmp_path: Path) -> None:
    description = machine(gpu(), arguments="quiet", files={path: text})
    running = f"BOOT_IMAGE=/boot/vmlinuz-{KERNEL} root=/dev/sda1 ro quiet intel_iommu=off\n"
    description["files"]["/proc/cmdline"] = running
    (finding,) = by_id(judge(description, tmp_path), "A04")
    assert path in finding["evidence"] and "/etc/default/grub" not in finding["evidence"]


def test_a_comment_is_not_where_it_comes_from(tmp_path: Path) -> None:
    path = "/etc/default/grub.d/50-cloud.cfg"
    description = machine(gpu(), arguments="intel_iommu=off", files={path: " # intel_iommu=off\n"})
    (finding,) = by_id(judge(description, tmp_path), "A04")
    assert "/etc/default/grub" in finding["evidence"] and path not in finding["evidence"]


def test_a_similar_argument_is_not_it(tmp_path: Path) -> None:
    description = machine(gpu(), arguments="xintel_iommu=off intel_iommu=offline")
    description["files"]["/proc/cmdline"] = "root=/dev/sda1 ro intel_iommu=off\n"
    (finding,) = by_id(judge(description, tmp_path), "A04")
    assert "/etc/default/grub" not in finding["evidence"]
