# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: ratios within one run, against the budgets of the design. Results as text and in .build/bench."""

from __future__ import annotations

import json
import sys

from tests.bench import labels
from tests.lab import paths
from tests.lab.errors import LabError


def main() -> int:
    try:
        rows, budgets = labels.run()
    except LabError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    print(labels.table(rows))
    for budget in budgets:
        print(f"  {'kept  ' if budget['kept'] else 'BROKEN'} {budget['text']}")
    result = paths.ensure(paths.STATE) / "labels.json"
    result.write_text(json.dumps({"rows": rows, "budgets": budgets}, indent=2) + "\n", encoding="utf-8")
    print(f"written to {result}")
    return 0 if all(budget["kept"] for budget in budgets) else 1


if __name__ == "__main__":
    sys.exit(main())
