#!/usr/bin/env python3
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs named stages in order, shows how long each took, and counts the tests that ran."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
OUTPUT = REPOSITORY / ".build" / "tests"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


@dataclass(frozen=True)
class Stage:
    name: str
    command: list[str]
    junit: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    always: bool = False


def _pytest(name: str, *arguments: str) -> Stage:
    return Stage(name, [*PYTEST, f"--junit-xml={OUTPUT / (name + '.xml')}", *arguments], junit=True)


LINT = [
    Stage("ruff", ["ruff", "check", "."]),
    Stage("ruff-format", ["ruff", "format", "--check", "--quiet", "."]),
    Stage("mypy", ["tests/sanity/mypy"]),
    Stage("yamllint", ["yamllint", "--strict", "."]),
    Stage("ansible-lint", ["ansible-lint", "--offline", "-q"]),
    Stage("syntax", ["tests/sanity/syntax"]),
    Stage("changelog", ["antsibull-changelog", "lint"]),
    Stage("docs", ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "."]),
]
# A file to a process, so that what a module prepares for its tests is prepared once.
QUICK = [_pytest("unit", "-n", "auto", "--dist", "loadfile", "tests/unit"), _pytest("contract", "tests/contract")]
SANITY = [Stage("sanity", ["tests/sanity/run"])]
# A BMC on loopback: TLS, accounts, the real Redfish modules.
REDFISH = [_pytest("redfish", "-n", "auto", "tests/integration/test_bios_settings.py")]
BUILD = [_pytest("build", "tests/integration/test_build.py")]
# On a control plane of their own, without nodes that act.
REFUSALS = [_pytest("refusals", "tests/integration/test_refusals.py")]
# The same control plane: what the shipped rights are enough for, and that secrets are shown nowhere.
SECURITY = [
    _pytest("rights", "tests/integration/test_rights.py"),
    _pytest("secrets", "tests/integration/test_secrets.py"),
]
# Over the logs of all stages before.
RIGHTS_USED = [_pytest("rights-used", "tests/integration/test_rights_used.py")]
AUDIT_LOGS = REPOSITORY / ".build" / "lab" / "audit"
PROFILE_TESTS = REPOSITORY / "tests" / "integration" / "profiles"
# Each boots a machine of its own, with a control plane of its own.
PROFILES = {
    path.stem.removeprefix("test_"): _pytest(
        f"profile-{path.stem.removeprefix('test_')}", str(path.relative_to(REPOSITORY))
    )
    for path in sorted(PROFILE_TESTS.glob("test_*.py"))
}


def commit() -> str:
    """Empty where this is no repository, as in an exported tree."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def chosen(of_commit: str) -> str:
    """The profile of a commit, of those whose result is kept. Commits are evenly spread, so in time all are run."""
    kept = yaml.safe_load((PROFILE_TESTS / "results.yml").read_text(encoding="utf-8"))
    names = sorted(set(PROFILES) & set(kept))
    return names[int(of_commit or "0", 16) % len(names)]


# The lab is booted once: the molecule scenarios look at what the end-to-end run has made.
END_TO_END = [
    replace(
        _pytest("end-to-end-23.9", "-v", "tests/integration/test_end_to_end.py"),
        environment={"KATAGPU_TEST_RELEASE": "23.9"},
    ),
    replace(_pytest("end-to-end", "-v", "tests/integration/test_end_to_end.py"), environment={"KATAGPU_KEEP_LAB": "1"}),
]
MOLECULE = [Stage("molecule", ["tests/integration/molecule"])]
# Last, because it leaves other values behind than the scenarios expect.
CHANGES = [
    _pytest("changes", "-v", "tests/integration/test_operand_update.py"),
    _pytest("removal", "-v", "tests/integration/test_removal.py"),
]
# A machine of its own, from the first boot to another owner.
OWNER = [_pytest("owner", "-v", "tests/integration/test_owner.py")]
LAB_DOWN = [Stage("lab-down", [sys.executable, "-m", "tests.lab", "down"], always=True)]

BEFORE = LINT + QUICK + SANITY + REDFISH + BUILD + REFUSALS + SECURITY
AFTER = END_TO_END + MOLECULE + CHANGES + RIGHTS_USED + LAB_DOWN
SETS = {
    "lint": LINT,
    "check": LINT + QUICK,
    "sanity": SANITY,
    "molecule": MOLECULE,
    "refusals": REFUSALS,
    "security": SECURITY,
    "owner": OWNER,
    "profiles": [*PROFILES.values()],
    **{stage.name: [stage] for stage in PROFILES.values()},
    "test": [*BEFORE, PROFILES[chosen(commit())], *AFTER],
    "test-all": [*BEFORE, *PROFILES.values(), *AFTER],
}


def run(stage: Stage) -> bool:
    print(f"\n=== {stage.name}: {' '.join(stage.command[:4])} ...", flush=True)
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_INJECT_FACT_VARS": "false", **stage.environment}
    try:
        return subprocess.run(stage.command, cwd=REPOSITORY, env=environment, check=False).returncode == 0
    except FileNotFoundError as error:
        print(f"{stage.name}: {error}. Run `make setup`.")
        return False


def counts(stages: list[Stage]) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for stage in stages:
        report = OUTPUT / f"{stage.name}.xml"
        if not stage.junit or not report.exists():
            continue
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            wrong = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            left_out = int(suite.get("skipped", 0))
            passed += int(suite.get("tests", 0)) - wrong - left_out
            failed += wrong
            skipped += left_out
    return passed, failed, skipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=sorted(SETS))
    parser.add_argument("--keep-going", action="store_true", help="run the remaining stages after a failure")
    arguments = parser.parse_args()
    stages = SETS[arguments.set]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for report in OUTPUT.glob("*.xml"):
        report.unlink()
    if RIGHTS_USED[0] in stages:
        shutil.rmtree(AUDIT_LOGS, ignore_errors=True)
    results: list[tuple[str, bool, float]] = []
    stopped = False
    for stage in stages:
        if stopped and not stage.always:
            print(f"\n=== {stage.name}: not run")
            continue
        begun = time.monotonic()
        good = run(stage)
        results.append((stage.name, good, time.monotonic() - begun))
        stopped = stopped or not (good or arguments.keep_going)
    print(f"\n=== stages of `{arguments.set}`")
    for name, good, seconds in results:
        print(f"  {'ok    ' if good else 'FAILED'} {name:<20} {seconds:7.1f} s")
    print(f"  total {sum(seconds for _, _, seconds in results):.0f} s")
    passed, failed, skipped = counts(stages)
    failed_stages = [name for name, good, _ in results if not good]
    if failed_stages:
        print(f"failed stages: {', '.join(failed_stages)}")
        failed = max(failed, 1)
    if passed or failed:
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed_stages else 0


if __name__ == "__main__":
    sys.exit(main())
