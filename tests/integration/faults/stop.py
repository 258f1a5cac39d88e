# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends a process of the lab's control plane by its name, as a fault."""

from __future__ import annotations

import sys

from tests.lab import processes

if __name__ == "__main__":
    sys.exit(0 if processes.stop(sys.argv[1]) else 1)
