# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import grub_cfg


@pytest.mark.parametrize(
    ("text", "recovery", "managed"),
    [
        ("menuentry 'Debian' {\n\tlinux /vmlinuz-6 root=/dev/sda1 ro quiet\n}\n", False, True),
        ('menuentry "Debian" --id x {\n\tlinuxefi /vmlinuz-6 root=/dev/sda1 ro quiet\n}\n', False, True),
        ("menuentry 'x' {\n linux /vmlinuz-6 root=/dev/sda1 ro single\n}\n", True, False),
        ("menuentry 'x' {\n linux /vmlinuz-6 root=/dev/sda1 ro recovery nomodeset\n}\n", True, False),
        ("menuentry 'x' $menuentry_id_option 'gnulinux-6-recovery-a' {\n linux /vmlinuz-6 ro\n}\n", True, False),
        ("menuentry 'x' $menuentry_id_option 'osprober-gnulinux-a' {\n linux /vmlinuz-6 ro\n}\n", False, False),
        ("menuentry 'Memory test' {\n linux /boot/memtest86+x64.bin\n}\n", False, False),
        (
            "### BEGIN /etc/grub.d/10_linux_zfs ###\n linux /vmlinuz ro\n### END /etc/grub.d/10_linux_zfs ###\n",
            False,
            True,
        ),
        ("### BEGIN /etc/grub.d/40_custom ###\n linux /vmlinuz ro\n### END /etc/grub.d/40_custom ###\n", False, False),
    ],
)
def test_entry_kinds(text: str, recovery: bool, managed: bool) -> None:
    (entry,) = grub_cfg.entries(text)
    assert (entry.recovery, entry.managed) == (recovery, managed)


def test_an_entry_keeps_its_arguments_as_they_are() -> None:
    text = "menuentry 'A B' --class x {\n\tlinux\t/vmlinuz-6 root=/dev/sda1 ro  \"foo=a b\" $vt_handoff \n\tinitrd /initrd\n}\n"
    (entry,) = grub_cfg.entries(text)
    assert (entry.title, entry.kernel, entry.arguments) == (
        "A B",
        "/vmlinuz-6",
        'root=/dev/sda1 ro  "foo=a b" $vt_handoff',
    )
