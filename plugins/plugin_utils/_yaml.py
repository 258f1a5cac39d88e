# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML that somebody else wrote: whatever is wrong with it is an error of YAML."""

from __future__ import annotations

from typing import Any

import yaml

# PyYAML lets these through for scalars such as 2001-99-99 or !!int x, and for what is nested too deeply.
_RAISED = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)


def load(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except _RAISED as error:
        raise _unreadable(error) from error


def compose_all(text: str) -> list[yaml.Node]:
    try:
        return list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except _RAISED as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> yaml.YAMLError:
    if isinstance(error, RecursionError):
        return yaml.YAMLError("it is nested too deeply")
    return yaml.YAMLError(f"a value cannot be read ({error})")
