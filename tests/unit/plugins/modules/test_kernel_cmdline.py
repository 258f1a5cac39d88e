# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it, on a folder: check mode and real, first and second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.katagpu.cluster.plugins.modules import iommu_info, kernel_cmdline
from tests.unit.plugins.module_utils._boot import grub_host, loader_host

WANTED = ["intel_iommu=on", "modprobe.blacklist=nouveau"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return grub_host.build("ubuntu2204_cloud", tmp_path)


def run(module: Any, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    capsys.readouterr()
    with patch_module_args(options), pytest.raises(SystemExit) as exited:
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert bool(result.get("failed")) == bool(exited.value.code)
    return result


def test_check_and_real_first_and_second(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"present": WANTED, "absent": ["console=tty1"], "root": str(root), "_ansible_diff": True}
    before = grub_host.snapshot(root)
    checked = run(kernel_cmdline, capsys, **options, _ansible_check_mode=True)
    assert grub_host.snapshot(root) == before
    real = run(kernel_cmdline, capsys, **options)
    for key in ("changed", "configured", "diff", "commands", "files", "reboot_required"):
        assert checked[key] == real[key], key
    assert real["changed"] and real["reboot_required"] and real["commands"] == [["update-grub"]]
    assert real["configured"] == "console=ttyS0 intel_iommu=on modprobe.blacklist=nouveau"
    assert [entry["before_header"] for entry in real["diff"]] == [
        "/etc/default/grub.d/50-cloudimg-settings.cfg",
        "/etc/default/grub.d/99-katagpu.cfg",
        "configured kernel arguments",
    ]
    backups = list((root / "etc/default/grub.d").glob("50-cloudimg-settings.cfg.*"))
    assert len(backups) == 1 and not backups[0].name.endswith(".cfg")
    grub_host.update_grub(root)
    after = grub_host.snapshot(root)
    for check_mode in (True, False):
        second = run(kernel_cmdline, capsys, **options, _ansible_check_mode=check_mode)
        assert not second["changed"] and second["commands"] == [] and second["diff"] == []
    assert grub_host.snapshot(root) == after


@pytest.mark.parametrize("name", loader_host.WITH_ENTRIES)
def test_loader_entries_check_and_real_first_and_second(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loader_host.build(name, tmp_path)
    options = {
        "present": WANTED,
        "absent": ["quiet"],
        "root": str(tmp_path),
        "bootloader": loader_host.load(name)["bootloader"],
        "_ansible_diff": True,
    }
    before = grub_host.snapshot(tmp_path)
    checked = run(kernel_cmdline, capsys, **options, _ansible_check_mode=True)
    assert grub_host.snapshot(tmp_path) == before
    real = run(kernel_cmdline, capsys, **options)
    for key in ("changed", "configured", "diff", "commands", "files", "reboot_required", "bootloader"):
        assert checked[key] == real[key], key
    assert real["changed"] and real["reboot_required"] and real["commands"] == []
    assert [entry["before_header"] for entry in real["diff"]][-1] == "configured kernel arguments"
    after = grub_host.snapshot(tmp_path)
    for check_mode in (True, False):
        second = run(kernel_cmdline, capsys, **options, _ansible_check_mode=check_mode)
        assert not second["changed"] and second["files"] == [] and second["diff"] == []
    assert grub_host.snapshot(tmp_path) == after


def test_without_diff_mode_there_is_no_diff(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "diff" not in run(kernel_cmdline, capsys, present=WANTED, root=str(root), _ansible_check_mode=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"present": ["a b"]}, "not one token"),
        ({"present": ["quiet"], "absent": ["quiet"]}, "both in present and in absent"),
        ({"bootloader": "lilo"}, "value of bootloader must be one of"),
        ({"bootloader": "grubby"}, "this host has grub"),
        ({"present": "x", "tokens": []}, "Unsupported parameters"),
        ({"root": "/nonexistent/katagpu"}, "is not a folder"),
    ],
)
def test_bad_options_are_refused_and_change_nothing(
    root: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], message: str
) -> None:
    before = grub_host.snapshot(root)
    result = run(kernel_cmdline, capsys, **{"root": str(root), **options})
    assert result["failed"] and message in result["msg"]
    assert grub_host.snapshot(root) == before


def test_iommu_info_returns_the_diagnosis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("vendor_id\t: GenuineIntel\nflags\t\t: vmx lm\n")
    (tmp_path / "proc/cmdline").write_text("ro intel_iommu=off\n")
    (tmp_path / "sys/firmware/acpi/tables").mkdir(parents=True)
    (tmp_path / "sys/firmware/acpi/tables/DMAR").write_text("")
    result = run(iommu_info, capsys, root=str(tmp_path), _ansible_check_mode=True)
    assert (result["changed"], result["state"], result["reboot_would_help"]) == (False, "off_in_kernel", True)
    assert result["wanted_arguments"] == ["intel_iommu=on"]
