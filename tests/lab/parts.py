# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's other parts, imported only when they are used: a command that needs none of them stays quick."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

PARTS = {
    "control plane": "tests.lab.controlplane.server",
    "stand-ins": "tests.lab.standins",
    "nodes": "tests.lab.nodes",
    "API-only nodes": "tests.lab.api_nodes",
}


def call(part: str, function: str) -> Callable[..., Any] | None:
    """A function of a part, or None when this checkout has no such part or function."""
    name = PARTS[part]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as problem:
        # Only the part itself may be missing; a library it needs is a real error.
        if problem.name and (name == problem.name or name.startswith(f"{problem.name}.")):
            return None
        raise
    found: Callable[..., Any] | None = getattr(module, function, None)
    return found
