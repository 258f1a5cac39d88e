# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins of the lab for upstream's controllers, whose images cannot be pulled here.

They behave as tests/facts documents, bad habits included, and do nothing until the collection installed the operator
they stand for: each acts only while that operator's Deployment has an available replica.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

NAME = "standins"


def standins_up(progress: Callable[[str], None] = print) -> None:
    """Start the process of the stand-ins, if it does not run; needs the control plane."""
    from tests.lab import processes
    from tests.lab.controlplane import access, server
    from tests.lab.errors import LabError

    if processes.find(NAME) is not None:
        progress("stand-ins | already running")
        return
    token = server.token_path(access.STANDIN)
    if not token.exists():
        raise LabError(f"stand-ins: {token} is not there: bring up the control plane first")
    processes.start(NAME, [sys.executable, "-m", "tests.lab.standins.runner"])
    progress("stand-ins | CoCo operator v0.7.0 and GPU Operator 23.9 and 26.7 wait for their Deployments")


def standins_down() -> bool:
    """End it; False when it did not run."""
    from tests.lab import processes

    return processes.stop(NAME)


def standins_status() -> dict[str, Any]:
    """What `lab status` shows."""
    from tests.lab import processes

    record = processes.find(NAME)
    if record is None:
        return {"running": False}
    return {
        "running": True,
        "pid": record["pid"],
        "age_seconds": round(processes.age_seconds(record)),
        "memory_kib": processes.rss_kib(record["pid"]),
        "log": record["log"],
    }
