# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts the power of a machine again and again while it is prepared, and counts what is survived."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from tests.integration import lab
from tests.integration.power_cuts.cuts import Cut, tried, undisturbed

OUTPUT = lab.REPOSITORY / ".build" / "tests" / "power_cuts.json"
# With the argument, the blacklist holds in any initramfs and none is made anew.
WAYS: dict[str, dict[str, Any]] = {
    "arguments": {},
    "initramfs": {"host_iommu_blacklist_argument": False},
}


def spread(events: int, cuts: int) -> list[int]:
    """Numbers of changes, evenly over the run, with the first and the last."""
    if cuts >= events:
        return list(range(1, events + 1))
    if cuts == 1:
        return [events // 2 + 1]
    return sorted({1 + round(index * (events - 1) / (cuts - 1)) for index in range(cuts)})


def say(text: str) -> None:
    print(f"power cuts | {text}", flush=True)


def told(cut: Cut) -> str:
    verdict = "survived" if cut.survived else "NOT survived"
    return f"{verdict}: after change {cut.number} ({cut.event}), {cut.seconds:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.integration.power_cuts", description=__doc__)
    parser.add_argument("--way", choices=sorted(WAYS), action="append", help="which run is cut; all without it")
    parser.add_argument("--cuts", type=int, default=8, help="how many for each way")
    parser.add_argument("--at", type=int, nargs="*", help="at exactly these changes")
    options = parser.parse_args()
    cuts: dict[str, list[Cut]] = {}
    try:
        for way in options.way or sorted(WAYS):
            events, wanted = undisturbed(WAYS[way])
            say(f"{way}: an undisturbed run makes {len(events)} changes")
            for number, event in enumerate(events, 1):
                say(f"  {number} {event}")
            for number in options.at or spread(len(events), options.cuts):
                cut = tried(number, WAYS[way], wanted)
                if cut is None:
                    say(f"the run ended before change {number}")
                    continue
                say(told(cut))
                for line in cut.differs:
                    say(f"  {line}")
                cuts.setdefault(way, []).append(cut)
    finally:
        lab.lab("down")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    content = {way: [dataclasses.asdict(cut) for cut in found] for way, found in cuts.items()}
    OUTPUT.write_text(json.dumps(content, indent=1), encoding="utf-8")
    found = [cut for each in cuts.values() for cut in each]
    survived = [cut for cut in found if cut.survived]
    say(f"{len(found)} tried, {len(survived)} survived")
    return 0 if found and len(survived) == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
