# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that start by UEFI: a base disk with an EFI system partition, made without a boot, and OVMF in place of SeaBIOS."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import uuid
from pathlib import Path

from tests.lab import paths
from tests.lab.errors import LabError
from tests.lab.machines import image, uefi_recipe

COMMANDS = {"sfdisk": "fdisk", "mkfs.vfat": "dosfstools", "mcopy": "mtools"}
# Without Secure Boot, which would need the system management mode that the lab's machines have off.
FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
VARIABLES_NAME = "firmware-variables.fd"
_SECTOR = 512
_MIB = 1 << 20


def prerequisites() -> str | None:
    """One clear line about what is missing beyond what all machines need, or None."""
    missing = {package for command, package in COMMANDS.items() if image.which(command) is None}
    if not (FIRMWARE.exists() and VARIABLES.exists()):
        missing.add("ovmf")
    if not missing:
        return None
    names = " ".join(sorted(missing))
    return f"missing Debian packages: {names}. Fix: apt-get install {names}"


def image_path() -> Path:
    """Where the finished base disk is, or will be."""
    return paths.IMAGES / uefi_recipe.digest() / "base.qcow2"


def build(progress: image.Progress) -> Path:
    """The base disk; built when the cache does not have it."""
    problem = prerequisites()
    if problem:
        raise LabError(problem)
    return image.cached(image_path(), progress, _make)


def firmware_arguments(folder: Path) -> list[str]:
    """QEMU's arguments. The machine keeps the firmware's variables in its folder, as a board keeps them in its flash."""
    variables = folder / VARIABLES_NAME
    if not variables.exists():
        shutil.copy(VARIABLES, variables)
    escaped = str(variables).replace(",", ",,")
    return [
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}",
        "-drive", f"if=pflash,unit=1,format=raw,file={escaped}",
    ]  # fmt: skip


def _make(work: Path, log: Path, say: image.Progress) -> Path:
    root_uuid, volume = str(uuid.uuid4()), secrets.token_hex(4).upper()
    # One machine is made from this disk, so its machine-id can be that of the entries.
    early = uefi_recipe.early_files(root_uuid, uuid.uuid4().hex)
    script = work / "install"
    script.write_text(uefi_recipe.INSTALL_SCRIPT, encoding="utf-8")
    # The mount is gone with the namespace, before the folder is copied.
    hook = f'unshare --mount chroot "$1" sh -c "$(cat {script})"'
    tree = image.bootstrap(work, log, uefi_recipe.PACKAGES, early, [hook])
    say("packages and boot loader installed")
    image.customize(tree, uefi_recipe.FILES | _fstab(root_uuid, volume), uefi_recipe.LINKS)
    (tree / "etc/machine-id").write_text(early["etc/machine-id"][1], encoding="utf-8")
    shutil.copy(max((tree / "boot").glob("vmlinuz-*")), work / "vmlinuz")
    esp = work / "esp"
    shutil.move(tree / uefi_recipe.ESP_CONTENT, esp)
    disk = work / "disk.raw"
    _partition(disk, log)
    _make_esp(esp, disk, volume, log)
    first = (1 + uefi_recipe.ESP_MIB) * _MIB
    image.make_root(tree, disk, first, (uefi_recipe.DISK_MIB - 1) * _MIB - first, root_uuid, log)
    say("disk made")
    return disk


def _fstab(root_uuid: str, volume: str) -> dict[str, tuple[int, str]]:
    lines = [
        f"UUID={root_uuid} / ext4 errors=remount-ro 0 0",
        f"UUID={volume[:4]}-{volume[4:]} /{uefi_recipe.ESP} vfat umask=0077 0 0",
    ]
    return {"etc/fstab": (0o644, "\n".join(lines) + "\n")}


def _partition(disk: Path, log: Path) -> None:
    with open(disk, "wb") as output:
        output.truncate(uefi_recipe.DISK_MIB * _MIB)
    first = 1 + uefi_recipe.ESP_MIB
    table = [
        "label: gpt",
        f"start=1MiB, size={uefi_recipe.ESP_MIB}MiB, type=uefi",
        # The end of the disk has the second copy of the table.
        f"start={first}MiB, size={uefi_recipe.DISK_MIB - first - 1}MiB, type=linux",
    ]
    argv = [image.which("sfdisk") or "sfdisk", "--quiet", str(disk)]
    with open(log, "ab") as output:
        done = subprocess.run(argv, input="\n".join(table).encode(), stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        raise LabError(f"sfdisk failed with status {done.returncode} (log: {log})")


def _make_esp(content: Path, disk: Path, volume: str, log: Path) -> None:
    blocks = uefi_recipe.ESP_MIB * 1024
    argv: list[str | Path] = [image.which("mkfs.vfat") or "mkfs.vfat", "-F", "32", "-i", volume, "-n", "ESP"]
    image.run([*argv, f"--offset={_MIB // _SECTOR}", disk, str(blocks)], log, "mkfs.vfat")
    image.run(["mcopy", "-s", "-i", f"{disk}@@1M", *sorted(content.iterdir()), "::"], log, "mcopy")
