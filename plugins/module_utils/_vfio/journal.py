# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is about to do to a running system, on disk before it does it, so that the next run can take it back.

A boot ends the validity of its steps: drivers and overrides are of the kernel that was running.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import LiveStep

JOURNAL = "/var/lib/katagpu/journal.json"
RUNNING = "running"
LEFT = "left"
WEDGED = "wedged"
UNREADABLE = "unreadable"

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_SCHEMA = 1
_STEP = ("address", "group", "before", "override", "driver")


class Journal:
    """Every write is on the disk when it returns."""

    def __init__(self, root: HostRoot) -> None:
        self._root = root

    def write(self, steps: Sequence[LiveStep], state: str = RUNNING, wedged: Optional[str] = None) -> None:
        entry = {
            "schema": _SCHEMA,
            "boot_id": self._root.read_line(_BOOT_ID),
            "state": state,
            "wedged": wedged,
            "steps": [step.as_dict() for step in steps],
        }
        self._root.write_atomic(JOURNAL, json.dumps(entry, indent=2) + "\n", 0o600)

    def clear(self) -> None:
        self._root.remove(JOURNAL)


def read_journal(root: HostRoot) -> Optional[Dict[str, Any]]:
    """With C(this_boot); nothing where no run left one."""
    text = root.read(JOURNAL)
    if text is None:
        return None
    try:
        entry = json.loads(text)
        steps = [{name: step[name] for name in _STEP} for step in entry["steps"]]
        known = entry["schema"] == _SCHEMA and all(isinstance(step["address"], str) for step in steps)
        found = {name: entry[name] for name in ("boot_id", "state", "wedged")} if known else {}
    except (ValueError, KeyError, TypeError):
        found = {}
    if not found:
        return {"boot_id": None, "state": UNREADABLE, "wedged": None, "steps": [], "this_boot": True}
    current = root.read_line(_BOOT_ID)
    return {**found, "steps": steps, "this_boot": current is not None and found["boot_id"] == current}


class Leftover(NamedTuple):
    """Steps of a run that ended in the middle: C(halfway) has to be put back, C(reached) is on the driver it was to get."""

    halfway: Sequence[LiveStep] = ()
    reached: Sequence[LiveStep] = ()


def leftover(devices: Sequence[PciDevice], entry: Optional[Mapping[str, Any]]) -> Leftover:
    """What is neither as before nor as it was to be, and has no other driver either, is what the run left.

    Nothing is done where a write is still stuck in the kernel.
    """
    if not entry or not entry["this_boot"] or entry["state"] not in (RUNNING, LEFT):
        return Leftover()
    by_address = {device.address: device for device in devices}
    halfway: List[LiveStep] = []
    reached: List[LiveStep] = []
    for step in (LiveStep(**{name: values[name] for name in _STEP}) for values in entry["steps"]):
        device = by_address.get(step.address)
        if device is None:
            continue
        if _has_reached(step, device.driver):
            reached.append(step)
        elif device.driver is None or drivers.same(device.driver, step.before):
            halfway += [step] if (device.driver, device.driver_override) != (step.before, step.override) else []
    return Leftover(halfway, reached)


def foreseen(devices: Sequence[PciDevice], halfway: Sequence[LiveStep]) -> List[PciDevice]:
    """The devices as they are once the steps are put back."""
    before = {step.address: step for step in halfway}
    return [
        device.having(driver=before[device.address].before, driver_override=before[device.address].override)
        if device.address in before
        else device
        for device in devices
    ]


def _has_reached(step: LiveStep, driver: Optional[str]) -> bool:
    if step.driver is None:
        return driver is not None and not drivers.is_vfio(driver)
    return drivers.same(driver, step.driver)
