# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: ratios within one run, against the budgets of the design. Results as text and in .build/bench.

Without names all are run: C(pci) needs nothing, C(labels) a control plane of its own.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType

from tests.bench import labels, pci
from tests.lab import paths
from tests.lab.errors import LabError

BENCHES: dict[str, ModuleType] = {"pci": pci, "labels": labels}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"bench: there is no {', '.join(unknown)}, only {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    kept = [_run(name) for name in names or BENCHES]
    return 0 if all(kept) else 1


def _run(name: str) -> bool:
    bench = BENCHES[name]
    try:
        rows, budgets = bench.run()
    except LabError as problem:
        print(f"bench: {name}: {problem}", file=sys.stderr)
        return False
    print(bench.table(rows))
    for budget in budgets:
        print(f"  {'kept  ' if budget['kept'] else 'BROKEN'} {budget['text']}")
    result = paths.ensure(paths.STATE) / f"{name}.json"
    result.write_text(json.dumps({"rows": rows, "budgets": budgets}, indent=2) + "\n", encoding="utf-8")
    print(f"written to {result}")
    return all(budget["kept"] for budget in budgets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
