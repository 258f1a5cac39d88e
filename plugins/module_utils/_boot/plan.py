# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written so that the next boot has the arguments asked for; plain data in, plain data out."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import (
    bls_plan,
    bootloader,
    edit,
    grub_defaults,
    grub_plan,
    ostree_plan,
    tokens,
    wishes,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

_PLANNERS: Mapping[str, Callable[[Mapping[str, Any], wishes.Wishes], edit.Edit]] = {
    bootloader.GRUB: grub_plan.plan,
    bootloader.GRUBBY: bls_plan.plan,
    bootloader.SYSTEMD_BOOT: bls_plan.plan,
    bootloader.RPM_OSTREE: ostree_plan.plan,
}


class CmdlinePlan(NamedTuple):
    """C(writes) has the new text of a path, or nothing where the file goes away, in the order in which they are written."""

    bootloader: str
    configured_before: str
    configured_after: str
    running: str
    writes: Dict[str, Optional[str]]
    before: Dict[str, Optional[str]]
    commands: List[List[str]]
    reboot_required: bool
    entries: List[Dict[str, Any]]
    uncertain: List[str]
    touch: Dict[str, bool]

    def as_dict(self) -> Dict[str, Any]:
        return dict(self._asdict())


def plan(
    facts: Mapping[str, Any], present: Sequence[str], absent: Sequence[str], bootloader: str = "auto"
) -> CmdlinePlan:
    """Raises where the boot loader is not edited by this collection or where no edit of ours can win."""
    wanted = wishes.read(present, absent)
    missing, unwanted = wanted.problems(tokens.parse(facts["running"]))
    _check_bootloader(facts, bootloader, change_needed=bool(missing or unwanted))
    if not facts["supported"]:
        return _nothing_to_do(facts)
    edited = _PLANNERS[facts["bootloader"]](facts, wanted)
    edit.check_writable(edited.before, edited.writes)
    entries = edit.assess_entries(facts, wanted)
    stale = any(entry["missing"] or entry["unwanted"] for entry in entries)
    return CmdlinePlan(
        bootloader=facts["bootloader"],
        configured_before=edited.configured_before,
        configured_after=edited.configured_after,
        running=facts["running"],
        writes=edited.writes,
        before=edited.before,
        commands=[*edited.commands, *(edited.regenerate if edited.writes or stale else [])],
        reboot_required=bool(missing or unwanted),
        entries=entries,
        uncertain=edited.uncertain,
        touch=edited.touch,
    )


def check_generated(facts: Mapping[str, Any], present: Sequence[str], absent: Sequence[str]) -> None:
    """To be called after the change: every normal entry must be as wanted."""
    entries = edit.assess_entries(facts, wishes.read(present, absent))
    by = " ".join(facts["regenerate"][:1]) if facts["bootloader"] == bootloader.GRUB else "the change"
    if not any(entry["managed"] for entry in entries):
        raise KatagpuError(
            f"[B16][block] After {by} there is no normal boot entry for Linux, so nothing tells what the next boot will do. "
            f"Our files were written and the rest was left alone. Fix: look at what {by} prints, and do not reboot before. "
            f"Evidence: {', '.join(facts['generated']) or 'no boot entries were found'}"
        )
    wrong = [entry for entry in entries if entry["missing"] or entry["unwanted"]]
    if not wrong:
        return
    entry = wrong[0]
    raise KatagpuError(
        f"[B16][block] {entry['path']}: {len(wrong)} boot entries, first {entry['title']!r}, "
        f"{edit.lack(entry['missing'], entry['unwanted'])} after {by}. The next boot would not be as wanted. "
        f"Our files were written and the rest was left alone. Fix: look at what has the last word: {'; '.join(_suspects(facts))}. "
        f"Evidence: {entry['path']}: linux {entry['kernel']} {entry['arguments']}"
    )


def _suspects(facts: Mapping[str, Any]) -> List[str]:
    if facts["bootloader"] != bootloader.GRUB:
        return facts["read_at_boot"] or [facts["bootloader"]]
    evaluation = grub_defaults.evaluate(facts["files"])
    return evaluation.uncertain or [
        f"{name} comes from {', '.join(paths)}"
        for name, paths in evaluation.origins.items()
        if name in grub_defaults.VARIABLES
    ]


def _nothing_to_do(facts: Mapping[str, Any]) -> CmdlinePlan:
    """A host that runs as wanted is fine whoever owns its arguments; how it is configured is not known here."""
    return CmdlinePlan(facts["bootloader"], "", "", facts["running"], {}, {}, [], False, [], [facts["reason"]], {})


def _check_bootloader(facts: Mapping[str, Any], chosen: str, change_needed: bool) -> None:
    if chosen not in ("auto", facts["bootloader"]):
        raise KatagpuError(
            f"The boot loader {chosen} was asked for, and this host has {facts['bootloader']}. Nothing was changed. "
            f"{facts['reason'] or 'Fix: use auto.'}"
        )
    if not facts["supported"] and change_needed:
        raise KatagpuError(f"[B22][block] {facts['reason']} Nothing was changed. Evidence: {facts['bootloader']}")
