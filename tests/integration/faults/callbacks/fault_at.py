# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends the run, or has something else happen, when a task begins. For tests/integration/faults only.

KATAGPU_FAULT_LOG takes the name of each task that begins. KATAGPU_FAULT_AT is one of them with the number of its occurrence
("2 Role | Task"), and KATAGPU_FAULT what is run there by a shell; without it the run is killed with all that it has started,
KATAGPU_FAULT_LATE seconds later.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: fault_at
type: aggregate
short_description: A fault at the beginning of a task
description: See the module.
author: katagpu contributors (@katagpu)
"""


def kill() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "fault_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: Counter[str] = Counter()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        name = task.get_name()
        self.seen[name] += 1
        place = f"{self.seen[name]} {name}"
        if log := os.environ.get("KATAGPU_FAULT_LOG"):
            with open(log, "a", encoding="utf-8") as stream:
                stream.write(f"{place}\n")
        if place != os.environ.get("KATAGPU_FAULT_AT"):
            return
        command = os.environ.get("KATAGPU_FAULT")
        late = float(os.environ.get("KATAGPU_FAULT_LATE", "0"))
        if command:
            subprocess.run(command, shell=True, check=True)
        elif late:
            threading.Timer(late, kill).start()
        else:
            kill()

    v2_playbook_on_handler_task_start = v2_playbook_on_task_start
