# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Branch coverage of the planners by the unit tests: `make coverage`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.quality.planners import PLUGINS, REPOSITORY, planners

OUTPUT = REPOSITORY / ".build" / "coverage"
LEAST = 95.0
# What can't be reached by plain data: a type checker's branches and the abstract.
_LEFT_OUT = ("if TYPE_CHECKING:", "raise NotImplementedError", r"pragma: no cover")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--least", type=float, default=LEAST, help="per cent of statements and branches that each module must have"
    )
    parser.add_argument("--report", action="store_true", help="only the report on what was measured before")
    arguments = parser.parse_args()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    configuration = OUTPUT / "coveragerc"
    configuration.write_text(_configuration(), encoding="utf-8")
    if not arguments.report:
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "auto", "--dist", "loadfile"]
        measured = subprocess.run(
            [*tests, f"--cov-config={configuration}", "--cov", "--cov-report=", "tests/unit/plugins"],
            cwd=REPOSITORY,
            check=False,
        )
        if measured.returncode:
            return measured.returncode
    report = [
        sys.executable,
        "-m",
        "coverage",
        "report",
        f"--rcfile={configuration}",
        "--show-missing",
        "--skip-covered",
    ]
    if subprocess.run(report, cwd=REPOSITORY, check=False).returncode:
        return 1
    return _judge(configuration, arguments.least)


def _judge(configuration: Path, least: float) -> int:
    """Each module by itself, so that none hides behind the others."""
    result = OUTPUT / "coverage.json"
    command = [sys.executable, "-m", "coverage", "json", f"--rcfile={configuration}", "-q", "-o", str(result)]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    data = json.loads(result.read_text(encoding="utf-8"))
    covered = {path: float(file["summary"]["percent_covered"]) for path, file in data["files"].items()}
    low = {path: share for path, share in covered.items() if share < least}
    for path, share in sorted(low.items()):
        print(f"coverage: {path} has {share:.1f} %, at least {least:.0f} % are wanted")
    total = data["totals"]
    print(
        f"coverage: {len(covered)} planners, {total['percent_covered']:.1f} % of statements and branches, "
        f"{total['covered_branches']} of {total['num_branches']} branches"
    )
    return 1 if low else 0


def _configuration() -> str:
    included = "\n".join(f"    {PLUGINS / path}" for path in planners())
    excluded = "\n".join(f"    {pattern}" for pattern in _LEFT_OUT)
    return (
        f"[run]\nbranch = true\ndata_file = {OUTPUT / 'data'}\ninclude =\n{included}\n"
        f"[report]\nprecision = 1\nsort = Cover\nexclude_lines =\n{excluded}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
