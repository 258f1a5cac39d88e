# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make check-upstream`: our releases, facts and stand-ins against what the user provides of the real projects."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.lab import paths
from tests.lab.controlplane import binaries
from tests.lab.errors import LabError
from tests.upstream import charts, check_coco_operator, check_gpu_operator, check_kata_deploy, given, releases, results


def _say(text: str) -> None:
    print(f"check-upstream | {text}", flush=True)


def _chart(provided: given.Given, project: str, version: str) -> charts.Chart | None:
    source = provided.path(project, version, "chart")
    return charts.prepare(source, version, paths.STATE / "charts" / f"{project}-{version}") if source else None


def check_charts(provided: given.Given) -> list[results.Result]:
    """What needs no cluster, for every version that a release installs or that is given."""
    found: list[results.Result] = []
    for version in dict.fromkeys([*releases.expected("gpu_operator"), *provided.versions("gpu_operator")]):
        chart, assets = _chart(provided, "gpu_operator", version), provided.path("gpu_operator", version, "assets")
        found += check_gpu_operator.check(version, chart, assets)
    for version in dict.fromkeys([*releases.expected("kata_deploy"), *provided.versions("kata_deploy")]):
        found += check_kata_deploy.check(version, _chart(provided, "kata_deploy", version))
    for version in dict.fromkeys([*releases.expected("coco_operator"), *provided.versions("coco_operator")]):
        found += check_coco_operator.check(version, provided.path("coco_operator", version, "kustomizations"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    parser.add_argument("given", nargs="?", default=os.environ.get(given.VARIABLE), help="YAML file with paths")
    parser.add_argument("--only", choices=("charts", "controllers"), help="one of the two parts")
    arguments = parser.parse_args()
    if not arguments.given:
        _say("SKIPPED, nothing was checked")
        print(f"\n{given.HELP}")
        return 0
    try:
        provided = given.read(Path(arguments.given).resolve())
        binaries.ensure_binaries(_say)
        found: list[results.Result] = []
        if arguments.only != "controllers":
            found += check_charts(provided)
        if arguments.only != "charts":
            from tests.upstream import check_controllers

            found += check_controllers.check(provided, _say)
    except LabError as problem:
        print(f"check-upstream: {problem}", file=sys.stderr)
        return 2
    print("\n".join(results.lines(found)))
    print(f"\n{results.summary(found)}")
    return 1 if any(one.state == results.DIFFERS for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
