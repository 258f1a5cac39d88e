# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written so that the next boot has the arguments asked for; plain data in, plain data out."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import (
    bootloader,
    drop_in,
    grub_defaults,
    tokens,
    wishes,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

REGENERATE = ("update-grub",)
_READ_LIMIT = 256 * 1024


class CmdlinePlan(NamedTuple):
    """C(writes) has the new text of a path, or nothing where the file goes away."""

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

    def as_dict(self) -> Dict[str, Any]:
        return dict(self._asdict())


def plan(
    facts: Mapping[str, Any], present: Sequence[str], absent: Sequence[str], bootloader: str = "auto"
) -> CmdlinePlan:
    """Raises where the boot loader is not edited by this collection or where no edit of ours can win."""
    wanted = wishes.read(present, absent)
    running = tokens.parse(facts["running"])
    missing, unwanted = wanted.problems(running)
    _check_bootloader(facts, bootloader, change_needed=bool(missing or unwanted))
    if not facts["supported"]:
        return _nothing_to_do(facts)
    files: Dict[str, str] = dict(facts["files"])
    before = grub_defaults.evaluate(files)
    edited, uncertain = _edit(files, wanted, facts)
    writes: Dict[str, Optional[str]] = {
        path: edited.get(path) for path in sorted({*files, *edited}) if files.get(path) != edited.get(path)
    }
    _check_writable(files, writes)
    entries = assess_entries(facts, wanted)
    stale = any(entry["missing"] or entry["unwanted"] for entry in entries)
    return CmdlinePlan(
        bootloader=facts["bootloader"],
        configured_before=_words(before),
        configured_after=_words(grub_defaults.evaluate(_ordered(edited))),
        running=facts["running"],
        writes=writes,
        before={path: files.get(path) for path in writes},
        commands=[list(REGENERATE)] if writes or stale else [],
        reboot_required=bool(missing or unwanted),
        entries=entries,
        uncertain=uncertain,
    )


def _words(evaluation: grub_defaults.Evaluation) -> str:
    return " ".join(token.text for token in evaluation.line.tokens)


def assess_entries(facts: Mapping[str, Any], wanted: wishes.Wishes) -> List[Dict[str, Any]]:
    """Every generated kernel line, and what a normal one lacks or should not carry."""
    found = []
    for path, lines in facts["generated"].items():
        for line in lines:
            missing: List[str] = []
            unwanted: List[str] = []
            if line["managed"]:
                missing, unwanted = wanted.problems(tokens.parse(line["arguments"]))
            found.append({"path": path, **line, "missing": missing, "unwanted": unwanted})
    return found


def check_generated(facts: Mapping[str, Any], present: Sequence[str], absent: Sequence[str]) -> None:
    """To be called after the boot loader's configuration was generated: every normal entry must be as wanted."""
    entries = assess_entries(facts, wishes.read(present, absent))
    if not any(entry["managed"] for entry in entries):
        raise KatagpuError(
            "[B16][block] update-grub made no normal boot entry for Linux, so nothing tells what the next boot will do. "
            "Our files were written and the rest was left alone. Fix: look at what update-grub prints, and do not reboot before. "
            f"Evidence: {', '.join(facts['generated']) or '/boot/grub/grub.cfg is missing'}"
        )
    wrong = [entry for entry in entries if entry["missing"] or entry["unwanted"]]
    if not wrong:
        return
    entry = wrong[0]
    evaluation = grub_defaults.evaluate(facts["files"])
    suspects = evaluation.uncertain or [
        f"{name} comes from {', '.join(paths)}"
        for name, paths in evaluation.origins.items()
        if name in grub_defaults.VARIABLES
    ]
    raise KatagpuError(
        f"[B16][block] {entry['path']}: {len(wrong)} boot entries, first {entry['title']!r}, "
        f"{_lack(entry['missing'], entry['unwanted'])} after update-grub. The next boot would not be as wanted. "
        f"Our files were written and the rest was left alone. Fix: look at what has the last word: {'; '.join(suspects)}. "
        f"Evidence: {entry['path']}: linux {entry['kernel']} {entry['arguments']}"
    )


def _nothing_to_do(facts: Mapping[str, Any]) -> CmdlinePlan:
    """A host that runs as wanted is fine whoever owns its arguments; how it is configured is not known here."""
    return CmdlinePlan(facts["bootloader"], "", "", facts["running"], {}, {}, [], False, [], [facts["reason"]])


def _check_bootloader(facts: Mapping[str, Any], chosen: str, change_needed: bool) -> None:
    if chosen not in ("auto", bootloader.GRUB):
        raise KatagpuError(
            f"The boot loader {chosen} is not edited by this release of the collection; this host has {facts['bootloader']}. "
            "Nothing was changed. Fix: use auto or grub."
        )
    if chosen == bootloader.GRUB and facts["bootloader"] != bootloader.GRUB:
        raise KatagpuError(
            f"The boot loader grub was asked for, and this host has {facts['bootloader']}. Nothing was changed. {facts['reason']}"
        )
    if not facts["supported"] and change_needed:
        raise KatagpuError(f"[B22][block] {facts['reason']} Nothing was changed. Evidence: {facts['bootloader']}")


def _ordered(files: Mapping[str, str]) -> Dict[str, str]:
    """grub-mkconfig reads /etc/default/grub first and then the drop-ins by name."""
    return {path: files[path] for path in sorted(files, key=lambda path: (path.count("/"), path))}


def _edit(
    files: Mapping[str, str], wanted: wishes.Wishes, facts: Mapping[str, Any]
) -> Tuple[Dict[str, str], List[str]]:
    ours = drop_in.read(files.get(drop_in.PATH))
    foreign = {path: text for path, text in files.items() if path != drop_in.PATH}
    cleaned = grub_defaults.evaluate(_ordered(foreign), wanted.drops)
    kept = [token for token in ours if not wanted.drops(token)]
    for token in wanted.present:
        if not _provided(token, cleaned, kept, facts):
            kept = [item for item in kept if tokens.each_counts(token.key) or item.key != token.key]
            kept = [item for item in kept if item.meaning != token.meaning] + [token]
    variables = (grub_defaults.NORMAL, grub_defaults.ALWAYS)
    if kept and kept == ours:
        candidates = [files[drop_in.PATH], *(drop_in.render(kept, name) for name in variables)]
    else:
        candidates = [drop_in.render(kept, name) for name in variables]
    results = [_with(cleaned.texts, text) for text in candidates]
    for result in results:
        evaluation = grub_defaults.evaluate(_ordered(result))
        missing, unwanted = wanted.problems(evaluation.line)
        if not missing and not unwanted:
            return result, evaluation.uncertain
    evaluation = grub_defaults.evaluate(_ordered(results[0]))
    if evaluation.uncertain:
        # What the shell makes of these files is seen in what it generates, which is checked afterwards.
        return results[0], evaluation.uncertain
    raise _no_way(wanted, evaluation)


def _with(texts: Mapping[str, str], ours: Optional[str]) -> Dict[str, str]:
    return dict(texts) if ours is None else {**texts, drop_in.PATH: ours}


def _provided(
    token: tokens.Token, cleaned: grub_defaults.Evaluation, kept: List[tokens.Token], facts: Mapping[str, Any]
) -> bool:
    own = tokens.parse(" ".join(item.text for item in kept))
    if tokens.carries(own, token):
        return True
    if not tokens.carries(tokens.parse(f"{cleaned.line} {own}"), token):
        return False
    if not cleaned.uncertain:
        return True
    lines = [line["arguments"] for lines in facts["generated"].values() for line in lines if line["managed"]]
    return bool(lines) and all(tokens.carries(tokens.parse(line), token) for line in lines)


def _check_writable(files: Mapping[str, str], writes: Mapping[str, Optional[str]]) -> None:
    for path in writes:
        text = files.get(path, "")
        if "\ufffd" in text or len(text) >= _READ_LIMIT:
            raise KatagpuError(
                f"{path} is not UTF-8 text or is larger than {_READ_LIMIT} bytes, so an edit could lose some of it. "
                "Nothing was changed. Fix: correct that file."
            )


def _no_way(wanted: wishes.Wishes, evaluation: grub_defaults.Evaluation) -> KatagpuError:
    missing, unwanted = wanted.problems(evaluation.line)
    last = [paths[-1] for name, paths in evaluation.origins.items() if name in grub_defaults.VARIABLES]
    why = f"the last word has {' and '.join(sorted(set(last)))}"
    if any(token.text == tokens.END_OF_KERNEL for token in evaluation.line.tokens):
        why = "what stands behind -- goes to init and not to the kernel"
    return KatagpuError(
        f"[B16][block] The configured kernel arguments {_lack(missing, unwanted)} whatever is written to {drop_in.PATH}: {why}. "
        "Nothing was changed. Fix: correct that file by hand, then run again. "
        f"Evidence: {evaluation.line}"
    )


def _lack(missing: Sequence[str], unwanted: Sequence[str]) -> str:
    parts = [f"would lack {' '.join(missing)}"] if missing else []
    parts += [f"would still carry {' '.join(unwanted)}"] if unwanted else []
    return " and ".join(parts)
