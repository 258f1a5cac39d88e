# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs each target for its share of the seconds, in a process of its own, and prints how often.

With atheris what a target's code does with an input decides about the next ones; without it they are random changes.
What is found and the corpus are in .build/fuzz; a crash ends that target, is kept as a file, and makes this fail.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

OUTPUT = Path(__file__).resolve().parents[2] / ".build" / "fuzz"
COLLECTIONS = Path(__file__).resolve().parents[2] / ".build" / "collections"
SECONDS = 600
SLOWEST = 5.0
SEED = 1
_PRODUCT = ["ansible_collections.katagpu.cluster.plugins"]
_RUNS = re.compile(r"number_of_executed_units:\s+(\d+)")
_SLOW = re.compile(r"slowest_unit_time_sec:\s+(\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="without them all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all targets together")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--without-atheris", action="store_true", help="random changes only")
    arguments = parser.parse_args()
    sys.path.insert(0, str(COLLECTIONS))
    with_atheris = not arguments.without_atheris and importlib.util.find_spec("atheris") is not None
    if arguments.alone:
        alone = _with_atheris if with_atheris else _without
        return alone(arguments.targets[0], arguments.seconds, arguments.seed)
    from tests.fuzz.targets import TARGETS

    unknown = sorted(set(arguments.targets) - set(TARGETS))
    if unknown:
        print(f"fuzz: there is no {', '.join(unknown)}, only {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    return _all(arguments.targets or list(TARGETS), arguments, "atheris" if with_atheris else "random changes")


def _all(names: list[str], arguments: argparse.Namespace, by: str) -> int:
    share = arguments.seconds / len(names)
    print(f"fuzz: {len(names)} targets for {share:.0f} s each, by {by}, seed {arguments.seed}", flush=True)
    total, crashed, begun = 0, [], time.monotonic()
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz", name, "--alone", "--seconds", f"{share:.0f}"]
        command += ["--seed", str(arguments.seed), *(["--without-atheris"] if arguments.without_atheris else [])]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        said = done.stdout + done.stderr
        (OUTPUT / name).mkdir(parents=True, exist_ok=True)
        (OUTPUT / name / "log").write_text(said, encoding="utf-8")
        runs, slow = _RUNS.search(said), _SLOW.search(said)
        total += int(runs.group(1)) if runs else 0
        print(f"  {runs.group(1) if runs else '?':>10}  slowest {slow.group(1) if slow else '?'} s  {name}", flush=True)
        if done.returncode:
            crashed.append(name)
            print("\n".join(said.splitlines()[-25:]), flush=True)
    print(f"fuzz: {total} executions in {time.monotonic() - begun:.0f} s, {len(crashed)} crashes")
    return 1 if crashed else 0


def _with_atheris(name: str, seconds: float, seed: int) -> int:
    import atheris

    with atheris.instrument_imports(include=_PRODUCT):
        from tests.fuzz.seeds import seeds
        from tests.fuzz.targets import TARGETS
    folder = OUTPUT / name
    corpus, first = folder / "corpus", folder / "seeds"
    for each in (corpus, first):
        each.mkdir(parents=True, exist_ok=True)
    for place, data in enumerate(seeds(name)):
        (first / str(place)).write_bytes(data)
    options = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed}", "-print_final_stats=1", "-max_len=8192"]
    options += [f"-timeout={int(SLOWEST)}", "-rss_limit_mb=2048", f"-artifact_prefix={folder}/", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus), str(first)], TARGETS[name])
    atheris.Fuzz()
    return 0


def _without(name: str, seconds: float, seed: int) -> int:
    from tests.fuzz.changes import inputs
    from tests.fuzz.seeds import seeds
    from tests.fuzz.targets import TARGETS

    runs, slowest, end = 0, 0.0, time.monotonic() + seconds
    for data in inputs(seeds(name), seed):
        begun = time.monotonic()
        try:
            TARGETS[name](data)
        except Exception:
            traceback.print_exc()
            (OUTPUT / name).mkdir(parents=True, exist_ok=True)
            (OUTPUT / name / "crash-random").write_bytes(data)
            return 1
        runs, slowest = runs + 1, max(slowest, time.monotonic() - begun)
        if time.monotonic() > end:
            break
    print(f"number_of_executed_units: {runs}\nslowest_unit_time_sec: {slowest:.0f}")
    return 1 if slowest > SLOWEST else 0


if __name__ == "__main__":
    sys.exit(main())
