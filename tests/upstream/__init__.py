# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks against the real upstream projects, whose charts, assets and binaries the user provides; opt-in, nothing of theirs is here."""

# Makes the checkout importable as the collection.
import tests.conftest  # noqa: F401
