# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong while site.yml runs, where, and what ends it. Nobody does anything on a host or in the API before the rerun."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from tests.integration.guest_watch import POWER_PORT

MACHINE = "a10"
_LAB = f"{sys.executable} -m tests.lab"
# It ends by itself, because the guest cannot be asked for anything while it lasts.
_NO_SSH = "systemctl stop ssh.socket ssh.service; pkill -x sshd; sleep 60; systemctl start ssh"
_NO_ROOM = "dd if=/dev/zero of=/filler bs=1M; sync; echo >>/filler-is-there"
_NO_POWER = f"dd if=/dev/zero of=/dev/port bs=1 seek={POWER_PORT} count=1"


def _in_guest(script: str) -> str:
    return f"{_LAB} ssh {MACHINE} \"systemd-run --quiet --collect sh -c '{script}'\""


# By a part of the name of the task at which it hurts; the same order as in a run.
_OTHERS = {
    "Host IOMMU | Write module configuration": ("disk full", f'{_LAB} ssh {MACHINE} "{_NO_ROOM}" || true'),
    "Host IOMMU | Set kernel arguments": ("SSH gone for a minute", _in_guest(_NO_SSH)),
    "Node maintenance | Cordon and evict": (
        "API server gone",
        f"{sys.executable} -m tests.integration.faults.stop kube-apiserver",
    ),
    "Node maintenance | Look for pods that have GPUs": ("power cut", f"{_in_guest('sleep 1; ' + _NO_POWER)}; sleep 5"),
}


@dataclass(frozen=True)
class Fault:
    """C(command) happens at the place instead of a kill; C(late) is how long after the beginning of the task the run is killed."""

    name: str
    place: str
    command: str = ""
    late: float = 0.0

    def environment(self) -> dict[str, str]:
        return {"KATAGPU_FAULT_AT": self.place, "KATAGPU_FAULT": self.command, "KATAGPU_FAULT_LATE": f"{self.late:g}"}


def faults(places: list[str], kills: int) -> list[Fault]:
    """In the order of the run: kills evenly over it, each second one in the middle of a task, and all others."""
    kills = min(kills, len(places))
    chosen = [places[round((index + 0.5) * len(places) / kills - 0.5)] for index in range(kills)]
    found = [
        Fault("killed in the middle" if index % 2 else "killed", place, late=1.0 if index % 2 else 0.0)
        for index, place in enumerate(chosen)
    ]
    for part, (name, command) in _OTHERS.items():
        place = next((place for place in places if part in place), None)
        if place is not None:
            found.append(Fault(name, place, command))
    return sorted(found, key=lambda fault: places.index(fault.place))
