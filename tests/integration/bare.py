# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane without nodes and stand-ins, with the scene in which everything would be well."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.integration import lab
from tests.integration.refusals.case import baseline
from tests.lab.scene import Scene


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[None]:
    if not os.environ.get("KATAGPU_KEEP_LAB"):
        lab.lab("down")
    lab.lab("cluster-up", "--bare")
    with Scene(folder) as scene:
        baseline(scene)
        yield
    if not os.environ.get("KATAGPU_KEEP_LAB"):
        lab.lab("down")
