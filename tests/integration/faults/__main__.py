# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disturbs one provisioning again and again: after each fault a plain rerun goes on, and the end must be that of an undisturbed run."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from pathlib import Path

from tests.integration import before, lab
from tests.integration.faults.catalogue import MACHINE, Fault, faults
from tests.lab.machines import lifecycle

OUTPUT = lab.REPOSITORY / ".build" / "tests" / "faults.json"
CALLBACKS = Path(__file__).parent / "callbacks"
PLUGINS = {"ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS), "ANSIBLE_CALLBACKS_ENABLED": "fault_at"}
# Copies with a time in their name, what a run notes about itself, and how often Helm was asked.
_OF_THE_RUN = re.compile(
    r"^/var/lib/katagpu|^Secret \S+/sh\.helm\.release|last-maintenance|^Job |^(Pod|ReplicaSet) |deployment\.kubernetes\.io/revision"
)


@dataclasses.dataclass
class Outcome:
    fault: str
    place: str
    reached: bool
    code: int
    seconds: float


def say(text: str) -> None:
    print(f"faults | {text}", flush=True)


def fresh() -> None:
    lab.lab("down")
    lab.lab("up", "--machines", MACHINE)


def site(*, fault: Fault | None = None, log: Path | None = None) -> lab.PlaybookRun:
    environment = {**(PLUGINS if fault or log else {}), **({"KATAGPU_FAULT_LOG": str(log)} if log else {})}
    if fault:
        environment.update(fault.environment())
    gone = (lambda: not lifecycle.is_up(lifecycle.profile_of(MACHINE))) if fault and fault.name == "power cut" else None
    return lab.playbook("site", environment=environment, kill_when=gone)


def over() -> None:
    """The outside is as it was: the API server runs, the machine has power, its disk has room."""
    lab.lab("up", "--machines", MACHINE)
    lab.guest(MACHINE, "rm -f /filler /filler-is-there")


def disturbed(fault: Fault) -> Outcome:
    log = OUTPUT.with_suffix(".log")
    log.unlink(missing_ok=True)
    run = site(fault=fault, log=log)
    reached = fault.place in (log.read_text(encoding="utf-8").splitlines() if log.exists() else ())
    over()
    return Outcome(fault.name, fault.place, reached, run.returncode, run.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.integration.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=5, help="kills, evenly over the tasks of a run")
    options = parser.parse_args()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    try:
        log = OUTPUT.with_suffix(".places")
        log.unlink(missing_ok=True)
        fresh()
        run = site(log=log)
        assert run.returncode == 0, run.output
        places = log.read_text(encoding="utf-8").splitlines()
        wanted = before.state([MACHINE])
        say(f"an undisturbed run has {len(places)} tasks and takes {run.seconds:.0f} s")
        fresh()
        for fault in faults(places, options.kills):
            outcome = disturbed(fault)
            outcomes.append(outcome)
            word = "" if outcome.reached else ", which this run did not come to"
            say(f"{fault.name} at {fault.place}{word}: {outcome.seconds:.0f} s, code {outcome.code}")
        last = site()
        differs = differences(wanted) if last.returncode == 0 else last.output.splitlines()[-60:]
        again = site()
    finally:
        lab.lab("down")
    tried = [outcome for outcome in outcomes if outcome.reached]
    good = last.returncode == 0 and not differs and again.returncode == 0 and not any(again.changed.values())
    for line in differs:
        say(f"  {line}")
    content = {"outcomes": [dataclasses.asdict(each) for each in outcomes], "differs": differs, "code": last.returncode}
    OUTPUT.write_text(json.dumps(content, indent=1), encoding="utf-8")
    say(f"{len(tried)} tried, {len(tried) if good else 0} survived, manual steps needed: {0 if good else 'see above'}")
    return 0 if good and tried else 1


def differences(wanted: before.State) -> list[str]:
    now = before.state([MACHINE])
    found = before.differences(wanted["api"], now["api"])
    found += before.differences(wanted["hosts"][MACHINE], now["hosts"][MACHINE])
    return [line for line in found if not _OF_THE_RUN.search(line[2:])]


if __name__ == "__main__":
    sys.exit(main())
