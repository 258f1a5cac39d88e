# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What bios_settings said of the host, as one phase among the others."""

from __future__ import annotations

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import Answer, HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import Finding


def assess(view: HostView) -> Answer:
    answer = Answer(
        findings=[Finding.from_dict(item) for item in view.bios.get("findings") or ()],
        reboot_reasons=[str(reason) for reason in view.bios.get("reboot_reasons") or ()],
    )
    if view.bios.get("plan"):
        answer.plan = {"attributes": dict(view.bios["plan"]), "reboot": bool(answer.reboot_reasons)}
    return answer
