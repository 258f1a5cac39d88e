# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class KatagpuError(Exception):
    """An error whose text is written for the operator; the only family that entry points turn into C(fail_json)."""
