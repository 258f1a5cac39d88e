# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is different inside a guest that starts by UEFI: systemd-boot with entries of kernel-install in place of GRUB."""

from __future__ import annotations

from tests.lab.machines import recipe

# As Debian's installer lays it out: the EFI system partition at /boot/efi, kernels and entries on it.
ESP = "boot/efi"
# Where the script below leaves what belongs on it.
ESP_CONTENT = "boot/esp"
ESP_MIB = 512
DISK_MIB = recipe.DISK_MIB
PACKAGES = (*(name for name in recipe.PACKAGES if name != "grub-pc"), "systemd-boot")
# The same beginning as the other machines have, with what Debian's kernel needs to find its root.
ARGUMENTS = "root=UUID={root} ro quiet intel_iommu=off console=ttyS0"

# Runs in the finished system, without a boot: bootctl and kernel-install are the guest's own. Paths in entries begin where the
# partition is mounted, so something has to be mounted there.
INSTALL_SCRIPT = """set -e
mkdir -p /boot/efi
mount -t tmpfs -o mode=700 tmpfs /boot/efi
export SYSTEMD_RELAX_ESP_CHECKS=1
bootctl install --no-variables --esp-path=/boot/efi
for kernel in /boot/vmlinuz-*; do
    kernel-install add "${kernel#/boot/vmlinuz-}" "$kernel"
done
cp -r /boot/efi/. /boot/esp
"""

_OF_GRUB = ("etc/systemd/system/katalab-finish.service", "usr/local/lib/katalab/finish", "etc/default/grub")
FILES = {path: content for path, content in recipe.FILES.items() if path not in _OF_GRUB}
LINKS = {path: target for path, target in recipe.LINKS.items() if "katalab-finish" not in path}


def early_files(root_uuid: str, machine_id: str) -> dict[str, tuple[int, str]]:
    """What kernel-install reads, which must be there when it runs."""
    return {
        **recipe.EARLY_FILES,
        "etc/kernel/cmdline": (0o644, ARGUMENTS.format(root=root_uuid) + "\n"),
        "etc/machine-id": (0o444, f"{machine_id}\n"),
    }


def digest() -> str:
    """Names the image."""
    return recipe.digest(repr([PACKAGES, FILES, LINKS, ESP_MIB, DISK_MIB, INSTALL_SCRIPT, early_files("", "")]))
