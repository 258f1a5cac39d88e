# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether interrupts of devices go through the remapping hardware, from what sysfs and procfs show."""

from __future__ import annotations

from typing import Any, Mapping, Optional

_ECAP_INTERRUPT_REMAPPING = 1 << 3


def state(facts: Mapping[str, Any]) -> Optional[bool]:
    """What the running interrupts show comes first; the units' capability can only prove its absence."""
    if facts.get("cpu_vendor") == "arm":
        return (
            None  # Interrupts of devices are isolated by the interrupt controller (GIC ITS), with or without an SMMU.
        )
    seen: Optional[bool] = facts.get("remapped_interrupts")
    if seen:
        return True
    return False if capable(facts) is False else seen


def capable(facts: Mapping[str, Any]) -> Optional[bool]:
    """False where a unit or the firmware says that it cannot; of AMD's units neither does."""
    known = [_capable(unit.get("ecap")) for unit in facts.get("units") or []]
    known.append((facts.get("dmar") or {}).get("interrupt_remapping"))
    return None if all(value is None for value in known) else False not in known


def _capable(ecap: Optional[str]) -> Optional[bool]:
    if ecap is None:
        return None
    try:
        return bool(int(ecap, 16) & _ECAP_INTERRUPT_REMAPPING)
    except ValueError:
        return None
