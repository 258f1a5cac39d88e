# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutants of the planners, and whether the unit tests see them: `make mutate`. Made and run by mutmut.

A mutant is one small change of one function. One that no test sees is listed with its difference, to be judged by a reader.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.quality.planners import PLUGINS, REPOSITORY, module_name, planners
from tests.quality.workdir import MUTATED, SOURCES, WORKDIR, prepare

OUTPUT = REPOSITORY / ".build" / "mutation"
SEED = 1
# What mutmut makes of a child's exit status.
_STATUS = {0: "survived", 1: "killed", 3: "killed", 5: "no tests", 33: "no tests", 36: "timeout", 24: "timeout"}
_STATUS.update({-24: "timeout", 152: "timeout", 255: "timeout"})
_SEEN = ("killed", "timeout")
# A literal with a blank in it is text for people.
_TEXT = re.compile(r"""^-.*["'][^"']* [^"']*["']""", re.MULTILINE)


def main() -> int:
    arguments = _arguments()
    chosen = [path for path in planners() if _is_named(path, arguments.modules)]
    if not chosen:
        print(f"mutate: no planner is named like {', '.join(arguments.modules)}", file=sys.stderr)
        return 2
    names = mutants(chosen)
    sample = names
    if arguments.sample and arguments.sample < len(names):
        sample = sorted(random.Random(arguments.seed).sample(names, arguments.sample))
    prepare(sorted({path for path in chosen for name in sample if _of(name) == module_name(path)}), arguments.tests)
    print(f"mutate: {len(sample)} of {len(names)} mutants in {len(chosen)} modules, seed {arguments.seed}", flush=True)
    begun = time.monotonic()
    code = _run(sample, arguments.children)
    # A machine that is busy with something else makes tests late, which is no sign of an endless loop.
    late = [name for name, status in _statuses(sample).items() if status == "timeout"]
    if late and not code:
        code = _run(late, 1)
    if code:
        print(f"mutate: mutmut ended with {code}, see {WORKDIR / 'mutmut.log'}", file=sys.stderr)
        return code
    return _report(sample, len(names), arguments, time.monotonic() - begun)


def _run(names: Sequence[str], children: int) -> int:
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "mutants", "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["mutmut", "run", "--max-children", str(children), *names]
    with (WORKDIR / "mutmut.log").open("a", encoding="utf-8") as log:
        return subprocess.run(command, cwd=WORKDIR, env=environment, stdout=log, stderr=log, check=False).returncode


def mutants(modules: Sequence[Path]) -> list[str]:
    """All names, which depend on nothing but the sources."""
    from mutmut.configuration import config
    from mutmut.mutation.file_mutation import mutate_file_contents

    prepare([], ["tests"])
    before = os.getcwd()
    os.chdir(WORKDIR)
    try:
        config()
        return [
            f"{module_name(path)}.{name}"
            for path in modules
            for name in mutate_file_contents(str(path), (PLUGINS / path).read_text(encoding="utf-8")).mutant_names
        ]
    finally:
        os.chdir(before)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="parts of paths such as _vfio/plan; without them all planners")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N mutants, chosen by the seed")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--tests", nargs="+", default=["tests/unit/plugins"], help="where tests are looked for")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1, help="processes at a time")
    return parser.parse_args()


def _is_named(path: Path, parts: Sequence[str]) -> bool:
    whole = f"/{path.with_suffix('').as_posix()}/"
    return not parts or any(f"/{part.strip('/').removesuffix('.py')}/" in whole for part in parts)


def _of(mutant: str) -> str:
    return mutant.rpartition(".")[0]


def _report(sample: Sequence[str], total: int, arguments: argparse.Namespace, seconds: float) -> int:
    statuses = _statuses(sample)
    differences = {name: _difference(name) for name, status in statuses.items() if status not in _SEEN}
    texts = [name for name, text in differences.items() if _TEXT.search(text)]
    counted = Counter(statuses.values())
    seen = sum(counted[status] for status in _SEEN)
    score = 100.0 * seen / len(sample)
    without_texts = 100.0 * seen / max(1, len(sample) - len(texts))
    result: dict[str, Any] = {
        "mutants": total,
        "tried": len(sample),
        "seed": arguments.seed,
        "score": round(score, 1),
        "score_without_texts": round(without_texts, 1),
        "texts": len(texts),
        "seconds": round(seconds),
        "statuses": dict(counted),
        "modules": _by_module(statuses),
    }
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "score.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    shown = [f"{'text ' if name in texts else ''}{statuses[name]}: {text}" for name, text in differences.items()]
    (OUTPUT / "survivors.diff").write_text("\n".join(shown), encoding="utf-8")
    for module, (module_seen, tried) in sorted(result["modules"].items()):
        print(f"  {module_seen:5d} of {tried:5d} seen  {module}")
    print(f"mutate: {', '.join(f'{count} {status}' for status, count in sorted(counted.items()))} in {seconds:.0f} s")
    print(f"mutate: score {score:.1f} %, {without_texts:.1f} % without the {len(texts)} changes of texts for people")
    print(f"mutate: {len(differences)} to judge in {OUTPUT / 'survivors.diff'}")
    return 0


def _statuses(names: Sequence[str]) -> dict[str, str]:
    known: dict[str, int | None] = {}
    for meta in (MUTATED / SOURCES).rglob("*.meta"):
        known.update(json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"])
    return {name: "failed" if (code := known.get(name)) is None else _STATUS.get(code, "failed") for name in names}


def _by_module(statuses: dict[str, str]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for name, status in statuses.items():
        module = _of(name).partition(".plugins.")[2]
        seen, tried = found.get(module, (0, 0))
        found[module] = (seen + (status in _SEEN), tried + 1)
    return found


def _difference(name: str) -> str:
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    path = SOURCES / Path(*_of(name).partition(".plugins.")[2].split(".")).with_suffix(".py")
    before = os.getcwd()
    os.chdir(WORKDIR)
    try:
        return f"{name}\n{get_diff_for_mutant(name, path=path)}\n"
    finally:
        os.chdir(before)


if __name__ == "__main__":
    sys.exit(main())
