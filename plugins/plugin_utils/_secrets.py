# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that somebody else wrote, shown without what may be secret in them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "(hidden)"
# Shorter texts are words such as true or kata, and to take them out of a message would leave nothing to read.
_TELLING = 6
_ACCOUNT = re.compile(r"://[^/@\s]+@")


def texts(value: Any) -> set[str]:
    """All texts and numbers of a structure that are long enough to tell something."""
    if isinstance(value, Mapping):
        return {text for inner in value.values() for text in texts(inner)}
    if isinstance(value, (list, tuple)):
        return {text for inner in value for text in texts(inner)}
    text = str(value) if isinstance(value, (str, int, float)) else ""
    return {text} if len(text) >= _TELLING else set()


def without(shown: str, secrets: Iterable[str]) -> str:
    """Also where they are written as in JSON or as in a Secret. Accounts in addresses are never shown."""
    for text in sorted(secrets, key=len, reverse=True):
        for form in (text, json.dumps(text)[1:-1], base64.b64encode(text.encode()).decode(), " ".join(text.split())):
            shown = shown.replace(form, HIDDEN)
    return _ACCOUNT.sub(f"://{HIDDEN}@", shown)
