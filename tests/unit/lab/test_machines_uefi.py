# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that starts by UEFI: its recipe, its disk's table and file system, and its firmware, without starting QEMU."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.lab.machines import image, recipe, uefi, uefi_recipe

ROOT, MACHINE = "11111111-2222-3333-4444-555555555555", "a5c6c2a9f6d34a0bb6f9a2f3c1d2e3f4"


def test_it_has_the_other_machines_packages_with_another_boot_loader() -> None:
    assert set(recipe.PACKAGES) ^ set(uefi_recipe.PACKAGES) == {"grub-pc", "systemd-boot"}


def test_nothing_of_grub_is_left_and_nothing_else_is_missing() -> None:
    assert set(recipe.FILES) - set(uefi_recipe.FILES) == {
        "etc/default/grub",
        "etc/systemd/system/katalab-finish.service",
        "usr/local/lib/katalab/finish",
    }
    assert "grub" not in " ".join(uefi_recipe.FILES)
    assert not any("katalab-finish" in path for path in uefi_recipe.LINKS)


def test_it_starts_as_a_host_that_is_not_ready() -> None:
    _mode, text = uefi_recipe.early_files(ROOT, MACHINE)["etc/kernel/cmdline"]
    assert text == f"root=UUID={ROOT} ro quiet intel_iommu=off console=ttyS0\n"


def test_the_digest_names_the_recipe_and_not_one_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    before = uefi_recipe.digest()
    assert before not in (recipe.digest(), "") and uefi_recipe.digest() == before
    monkeypatch.setattr(uefi_recipe, "INSTALL_SCRIPT", "true\n")
    other = uefi_recipe.digest()
    assert other != before
    # What all machines share is in it too.
    monkeypatch.setattr(recipe, "EXCLUDED_PATHS", ())
    assert uefi_recipe.digest() != other


def test_missing_packages_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "which", lambda command: None if command == "mcopy" else "/bin/true")
    monkeypatch.setattr(uefi, "FIRMWARE", Path("/nonexistent"))
    assert uefi.prerequisites() == "missing Debian packages: mtools ovmf. Fix: apt-get install mtools ovmf"


def test_each_machine_has_its_own_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "VARS.fd"
    template.write_text("empty")
    monkeypatch.setattr(uefi, "VARIABLES", template)
    folder = tmp_path / "a,b"
    folder.mkdir()
    for _start in range(2):
        words = uefi.firmware_arguments(folder)
        assert words[1].startswith("if=pflash,unit=0,") and "readonly=on" in words[1]
        assert words[3] == f"if=pflash,unit=1,format=raw,file={tmp_path}/a,,b/{uefi.VARIABLES_NAME}"
        # What the firmware has stored outlives a start.
        assert (folder / uefi.VARIABLES_NAME).read_text() in ("empty", "stored")
        (folder / uefi.VARIABLES_NAME).write_text("stored")
    assert (folder / uefi.VARIABLES_NAME).read_text() == "stored"
    assert template.read_text() == "empty"


@pytest.mark.skipif(
    uefi.prerequisites() is not None, reason="tools that make an EFI system partition are not installed"
)
def test_the_disk_has_an_efi_system_partition_with_long_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, log, content = tmp_path / "disk.raw", tmp_path / "log", tmp_path / "esp"
    name = f"{MACHINE}-6.12.117+deb13-amd64.conf"
    (content / "loader" / "entries").mkdir(parents=True)
    (content / "loader" / "entries" / name).write_text("title x\n")
    uefi._partition(disk, log)
    uefi._make_esp(content, disk, "ABCD1234", log)
    table = subprocess.run(
        [image.which("sfdisk") or "sfdisk", "--dump", disk], check=True, capture_output=True, text=True
    ).stdout
    types = [line.partition("type=")[2].split(",")[0] for line in table.splitlines() if "type=" in line]
    assert types == ["C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"]
    read = shlex.split(f"mtype -i {disk}@@1M ::/loader/entries/{name}")
    assert subprocess.run(read, check=True, capture_output=True, text=True).stdout == "title x\n"
