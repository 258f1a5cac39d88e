# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel makes of the arguments that concern the IOMMU: which word is the last, and which is never taken back."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens

PASSTHROUGH = "passthrough"
TRANSLATED = "translated"

_YES, _NO = ("1", "y", "Y", "yes", "on", "t", "T"), ("0", "n", "N", "no", "off", "f", "F")


def items(item: tokens.Token) -> List[str]:
    return (item.value or "").split(",")


def values(line: tokens.CommandLine, key: str) -> List[str]:
    return [value for item in line.kernel_tokens if item.key == key for value in items(item)]


def last_word(line: tokens.CommandLine, key: str, words: Sequence[str]) -> Optional[str]:
    found = [value for value in values(line, key) if value in words]
    return found[-1] if found else None


def switches_off(line: tokens.CommandLine) -> Tuple[List[str], List[str]]:
    """C(iommu=off) is never taken back by a later value, so the token must go; its other values are kept in a new one."""
    found = [item for item in line.kernel_tokens if item.key == "iommu" and "off" in items(item)]
    rest = [",".join(value for value in items(item) if value != "off") for item in found]
    return [item.text for item in found], [f"iommu={value}" for value in rest if value]


def remapping_off(line: tokens.CommandLine) -> Optional[str]:
    """The token that has the last word against interrupt remapping; C(nointremap) is the older way to write it."""
    last = None
    for item in line.kernel_tokens:
        if item.key == "nointremap" and item.value is None:
            last = item.text
        elif item.key == "intremap":
            words = [word for word in items(item) if word in ("on", "off")]
            if words:
                last = item.text if words[-1] == "off" else None
    return last


def without_apic(line: tokens.CommandLine) -> List[str]:
    """Interrupts are remapped at the I/O APIC, which these keep the kernel from using."""
    return [
        item.text
        for item in line.kernel_tokens
        if item.value is None and item.key in ("noapic", "nolapic", "disableapic")
    ]


def default_domain(line: tokens.CommandLine) -> Optional[str]:
    """What devices get that no driver asks otherwise for; both spellings count in their order."""
    last = None
    for item in line.kernel_tokens:
        if item.key == "iommu":
            for word in items(item):
                last = {"pt": PASSTHROUGH, "nopt": TRANSLATED}.get(word, last)
        elif item.key == "iommu.passthrough":
            last = PASSTHROUGH if item.value in _YES else TRANSLATED if item.value in _NO else last
    return last


def weaken_isolation(line: tokens.CommandLine) -> List[str]:
    """Arguments that make groups look better isolated than they are."""
    found = [item.text for item in line.kernel_tokens if item.key == "pcie_acs_override"]
    return found + [
        item.text
        for item in line.kernel_tokens
        if item.key == "pci" and any(part in (item.value or "") for part in ("disable_acs_redir=", "config_acs="))
    ]
