# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable as C(ansible_collections.katagpu.cluster), wherever it was cloned to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

REPOSITORY = Path(__file__).resolve().parent.parent
COLLECTIONS = REPOSITORY / ".build" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "katagpu" / "cluster"

if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(REPOSITORY, target_is_directory=True)
for entry in (str(COLLECTIONS), str(REPOSITORY)):
    if entry not in sys.path:
        sys.path.insert(0, entry)

# The same examples everywhere, so that a commit that passed here passes there; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
# A mutant is dead with the first example that fails, which need not be a small one.
# The tests of one mutant run in the process that has run them all before, with other objects for their classes.
settings.register_profile(
    "mutants",
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
