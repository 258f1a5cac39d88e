# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with GRUB in a folder, and a stand-in for update-grub that lets a real shell read the real files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.unit import machines

FIXTURES = Path(__file__).parents[3] / "fixtures" / "boot"
HOSTS = sorted(path.stem for path in FIXTURES.glob("*.yml") if path.stem != "refused")
IN_PLACE = ["sles15"]
SCRIPT = """
. "$1/etc/default/grub"
for x in "$1"/etc/default/$2/*.cfg; do if [ -e "$x" ]; then . "$x"; fi; done
printf '%s\\n%s' "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT"
"""


def load(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((FIXTURES / f"{name}.yml").read_text(encoding="utf-8"))
    return data


def build(name: str, root: Path, generate: bool = True) -> Path:
    description = load(name)
    machines.build({"files": description["files"]}, root)
    (root / "etc/default/grub.d").mkdir(exist_ok=True)
    for path, text in description["files"].items():
        (root / path.lstrip("/")).write_bytes(text.encode())  # Keeps carriage returns.
    if generate:
        update_grub(root)
    return root


def is_suse(root: Path) -> bool:
    """Its grub2-mkconfig reads no drop-ins."""
    return "suse" in (root / "etc/os-release").read_text()


def shell_values(root: Path) -> tuple[str, str]:
    """GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT as a shell computes them."""
    result = subprocess.run(
        ["sh", "-c", SCRIPT, "sh", str(root), "no" if is_suse(root) else "grub.d"],
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    always, _newline, normal = result.stdout.decode().partition("\n")
    return always, normal


def update_grub(root: Path, output: str | None = None) -> None:
    """Two kernels, each with a normal and a recovery entry, in the form that 10_linux writes; and foreign entries."""
    always, normal = shell_values(root)
    lines = ["### BEGIN /etc/grub.d/10_linux ###"]
    for kernel in ("6.2.0", "6.1.0"):
        base = f"/vmlinuz-{kernel} root=/dev/vda1 ro"
        lines += [
            f"\tmenuentry 'Linux {kernel}' --class gnu $menuentry_id_option 'gnulinux-{kernel}-advanced-1' {{",
            f"\t\tlinux\t{base} {always} {normal}",
            "\t}",
            f"\tmenuentry 'Linux {kernel} (rettung)' $menuentry_id_option 'gnulinux-{kernel}-recovery-1' {{",
            f"\t\tlinux\t{base} single {always}",
            "\t}",
        ]
    lines += [
        "### END /etc/grub.d/10_linux ###",
        "### BEGIN /etc/grub.d/30_os-prober ###",
        "menuentry 'Other (on /dev/sdb1)' $menuentry_id_option 'osprober-gnulinux-1' {",
        "\tlinux /boot/vmlinuz root=/dev/sdb1 iommu=off",
        "}",
        "### END /etc/grub.d/30_os-prober ###",
    ]
    target = root / (output or ("/boot/grub2/grub.cfg" if is_suse(root) else "/boot/grub/grub.cfg")).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything that a write would change: inode, time and content of each file, and the folders."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            b"" if path.is_dir() else path.read_bytes(),
        )
        for path in sorted(root.rglob("*"))
    }
