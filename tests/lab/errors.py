# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of the lab: a line for the person at the keyboard, never a traceback."""

from __future__ import annotations


class LabError(Exception):
    """Something the person can act on; str() is the whole message."""
