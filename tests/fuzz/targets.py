# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All targets by name. Whatever is raised but for our own error is a crash."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType

from tests.fuzz import boot, controller, host

Target = Callable[[bytes], None]


def _of(module: ModuleType) -> dict[str, Target]:
    return {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


TARGETS: dict[str, Target] = {**_of(boot), **_of(host), **_of(controller)}
