# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else there is to say of the IOMMU of a host, and where its kernel arguments come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import INFO, WARN, Finding

_EVIDENCE = {
    "A12": "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
    "A18": "/sys/class/dmi/id/sys_vendor",
    "A19": "/sys/kernel/kexec_crash_size",
    "B14": "/sys/kernel/security/lockdown",
}
_WARNINGS = ("A12", "A19")


def findings(view: HostView, notes: Iterable[Mapping[str, str]]) -> list[Finding]:
    """What a confidential host needs is judged with it, and not told to others."""
    return [
        view.finding(
            note["id"],
            WARN if note["id"] in _WARNINGS else INFO,
            note["fact"],
            consequence=note["consequence"],
            fix=note["remedy"],
            evidence=(_EVIDENCE[note["id"]],),
        )
        for note in notes
        if note["id"] in _EVIDENCE
    ]


def sources(view: HostView, arguments: Sequence[str]) -> list[str]:
    """The files that give the kernel these arguments, as far as they are known."""
    words = {
        path: set(re.split(r"[\s\"']+", re.sub(r"(?m)^\s*#.*$", "", str(text))))
        for path, text in (view.part("boot").get("files") or {}).items()
    }
    return [path for path, found in words.items() if found & set(arguments)]
