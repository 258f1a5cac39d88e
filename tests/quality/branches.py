# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Branch coverage of the planners by the unit tests: `make coverage`."""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.quality.planners import PLUGINS, REPOSITORY, planners

OUTPUT = REPOSITORY / ".build" / "coverage"
LEAST = 95.0
# What can't be reached by plain data: a type checker's branches and the abstract.
_LEFT_OUT = ("if TYPE_CHECKING:", "raise NotImplementedError", r"pragma: no cover")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--least", type=float, default=LEAST, help="per cent of lines and branches below which this fails"
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
        f"--fail-under={arguments.least}",
    ]
    return subprocess.run([*report, "--show-missing", "--skip-covered"], cwd=REPOSITORY, check=False).returncode


def _configuration() -> str:
    included = "\n".join(f"    {PLUGINS / path}" for path in planners())
    excluded = "\n".join(f"    {pattern}" for pattern in _LEFT_OUT)
    return (
        f"[run]\nbranch = true\ndata_file = {OUTPUT / 'data'}\ninclude =\n{included}\n"
        f"[report]\nprecision = 1\nsort = Cover\nexclude_lines =\n{excluded}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
