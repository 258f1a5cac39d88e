# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Version ranges of a release, compared by major and minor number."""

from __future__ import annotations

import re
from collections.abc import Mapping


def minor(version: str) -> tuple[int, int] | None:
    match = re.match(r"^\D*?(\d+)\.(\d+)", version)
    return (int(match.group(1)), int(match.group(2))) if match else None


def inside(version: str, allowed: Mapping[str, str]) -> bool | None:
    """Nothing where the version cannot be read."""
    found, low, high = minor(version), minor(str(allowed["min"])), minor(str(allowed["max"]))
    if found is None or low is None or high is None:
        return None
    return low <= found <= high


def shown(allowed: Mapping[str, str]) -> str:
    return f"{allowed['min']} to {allowed['max']}"
