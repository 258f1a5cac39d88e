# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loader entries, and what the entries of future kernels are made from.

Written by ourselves and not by grubby, which splits values at white space, drops all C(console=) where one is added, edits
files in place and has no way to tell beforehand what it would do. Each file is replaced at once, those for future kernels
first and the entry that boots next last: a machine that loses its power in between boots with the old or the new arguments.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import (
    bls,
    bootloader,
    grub_defaults,
    grub_env,
    grub_plan,
    hints,
    template,
    tokens,
    wishes,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._boot import (
    facts as boot_facts,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._boot.edit import Edit, lack, words
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

_VARIABLE = "kernelopts"
# With loader entries grub-mkconfig puts the default arguments behind the others as well, and grubby looks at these only.
_ALWAYS_FIRST = (grub_defaults.ALWAYS, grub_defaults.NORMAL)
# What a boot loader adds for one boot, and kernel-install leaves out as well.
_OF_ONE_BOOT = frozenset({"BOOT_IMAGE", "initrd"})


def plan(facts: Mapping[str, Any], wanted: wishes.Wishes) -> Edit:
    loader: Mapping[str, Any] = facts["loader"]
    with_grub = facts["bootloader"] == bootloader.GRUBBY
    paths = [path for path, lines in facts["generated"].items() if lines[0]["managed"]]
    if not paths:
        raise KatagpuError(
            "[B19][block] No loader entry starts a kernel of this system: what there is are rescue entries, other programs, or entries "
            "with the machine-id of another system. Nothing was changed. Fix: reinstall the kernel, so that its entry is made anew. "
            f"Evidence: {', '.join(facts['generated']) or 'no entries'}"
        )
    variables: Dict[str, str] = dict(loader["variables"])
    uncertain = list(facts["notes"])
    writes: Dict[str, Optional[str]] = {}
    before: Dict[str, Optional[str]] = {}

    def put(path: str, old: Optional[str], new: str) -> None:
        if old != new:
            before[path], writes[path] = old, new

    named = with_grub and any(_VARIABLE in bls.names(loader["entries"][path]) for path in paths)
    if with_grub and hints.DEFAULTS in facts["files"]:
        edited, doubts = grub_plan.in_place(facts["files"], wanted, _ALWAYS_FIRST)
        put(hints.DEFAULTS, facts["files"][hints.DEFAULTS], edited[hints.DEFAULTS])
        uncertain += doubts
    environment = loader["environment"]
    # RHEL 8 starts future kernels with this variable, also where no entry names it any more.
    stored = with_grub and _VARIABLE in grub_env.parse(environment["text"])
    if named or stored:
        variables[_VARIABLE] = str(wanted.adjusted(tokens.parse(_kernelopts(variables, environment))))
    entries: Dict[str, str] = {}
    for path in reversed(paths):
        entries[path] = _entry(path, loader["entries"][path], wanted, variables if with_grub else None)
    arguments = boot_facts.entry_arguments(entries[paths[0]], variables if with_grub else None)
    _templates(facts, wanted, arguments, named, put)
    if (named or stored) and variables[_VARIABLE] != loader["variables"].get(_VARIABLE):
        put(
            environment["path"],
            environment["text"],
            grub_env.with_value(environment["text"], _VARIABLE, variables[_VARIABLE]),
        )
    for path, text in entries.items():
        put(path, loader["entries"][path], text)
    return Edit(
        configured_before=words(tokens.parse(facts["generated"][paths[0]][0]["arguments"])),
        configured_after=words(tokens.parse(arguments)),
        before=before,
        writes=writes,
        uncertain=uncertain,
        regenerate=[],
        commands=[],
        touch=_touch(loader, writes),
    )


def _kernelopts(variables: Mapping[str, str], environment: Mapping[str, str]) -> str:
    if variables.get(_VARIABLE):
        return variables[_VARIABLE]
    raise KatagpuError(
        f"[B19][block] Loader entries take their arguments from the variable {_VARIABLE}, and neither {environment['path']} nor grub.cfg "
        "sets it, so this host would not boot. Nothing was changed. "
        "Fix: run grub2-mkconfig -o /boot/grub2/grub.cfg, look at grub2-editenv list, then run again."
    )


def _entry(path: str, text: str, wanted: wishes.Wishes, variables: Optional[Mapping[str, str]]) -> str:
    """The entry's text with what it lacks behind its last option, so that no variable has the last word."""
    fields = bls.options(text)
    if not fields:
        raise KatagpuError(
            f"[B19][block] {path} has no line of options, so it is not known what its kernel is started with. Nothing was changed. "
            "Fix: give it one, or reinstall that kernel, then run again."
        )
    known = dict(variables) if variables is not None else None
    count = 1 if known is not None else len(fields)
    text = _cut(text, count, wanted.drops)
    for token in wanted.missing_from(_line(text, known)):
        text = _cut(text, count, partial(_same, token))
        last = bls.options(text)[count - 1]
        text = bls.with_value(text, last, str(tokens.with_token(tokens.parse(last.value), token.text)))
    line = _line(text, known)
    missing, unwanted = wanted.problems(line)
    if missing or unwanted:
        raise _no_way(path, missing, unwanted, line, bls.names(fields[0].value))
    return text


def _line(text: str, variables: Optional[Dict[str, str]]) -> tokens.CommandLine:
    return tokens.parse(boot_facts.entry_arguments(text, variables))


def _same(token: tokens.Token, item: tokens.Token) -> bool:
    return item.meaning == token.meaning


def _cut(text: str, count: int, drop: Callable[[tokens.Token], bool]) -> str:
    """Without some tokens of the first lines of options."""
    for field in reversed(bls.options(text)[:count]):
        kept = str(tokens.without(tokens.parse(field.value), drop))
        text = text if kept == field.value else bls.with_value(text, field, kept)
    return text


def _no_way(
    path: str, missing: List[str], unwanted: List[str], line: tokens.CommandLine, named: List[str]
) -> KatagpuError:
    why = "what stands behind -- goes to init and not to the kernel"
    fix = "correct that entry by hand"
    if not any(token.text == tokens.END_OF_KERNEL for token in line.tokens):
        why = f"the variables {', '.join(named)} have a say"
        fix = "change what sets them (for tuned_params the TuneD profile or /etc/tuned/bootcmdline)"
    return KatagpuError(
        f"[B19][block] {path} {lack(missing, unwanted)} whatever is written to it: {why}. Nothing was changed. "
        f"Fix: {fix}, then run again. Evidence: {line}"
    )


def _templates(facts: Mapping[str, Any], wanted: wishes.Wishes, arguments: str, named: bool, put: Any) -> None:
    """What kernel-install gives a kernel that is installed from now on.

    Without a file it takes the arguments of the running kernel. Those of a kernel that is installed before the reboot would then
    lack ours, so the file is made; not where the entries name a variable, because there the variable is what new entries name.
    """
    templates: Mapping[str, str] = facts["loader"]["templates"]
    comments = facts["bootloader"] == bootloader.SYSTEMD_BOOT
    own = templates.get(boot_facts.TEMPLATE)
    if own is not None:
        new = template.adjusted(own, wanted) if comments else str(wanted.adjusted(tokens.parse(own)))
        put(boot_facts.TEMPLATE, own, new)
        return
    vendor = templates.get(boot_facts.VENDOR_TEMPLATE)
    source = None if vendor is None else template.arguments(vendor) if comments else tokens.parse(vendor)
    missing, unwanted = wanted.problems(tokens.parse(facts["running"]) if source is None else source)
    if named or not (missing or unwanted):
        return
    line = wanted.adjusted(tokens.parse(arguments) if source is None else source)
    kept = [token.text for token in line.tokens if token.key not in _OF_ONE_BOOT]
    put(boot_facts.TEMPLATE, None, " ".join(kept) + "\n")


def _touch(loader: Mapping[str, Any], writes: Mapping[str, Optional[str]]) -> Dict[str, bool]:
    """Keeps the order of age of the template and /etc/default/grub, by which kernel-install knows which of them to believe."""
    if not {hints.DEFAULTS, boot_facts.TEMPLATE} & set(writes) or boot_facts.TEMPLATE not in loader["templates"]:
        return {}
    return {boot_facts.TEMPLATE: not loader["template_outdated"]}
