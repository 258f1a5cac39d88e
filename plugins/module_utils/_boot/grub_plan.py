# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB with a generated grub.cfg: our drop-in where grub-mkconfig reads one, else /etc/default/grub itself."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import drop_in, grub_defaults, hints, tokens, wishes
from ansible_collections.katagpu.cluster.plugins.module_utils._boot.edit import Edit, lack, words
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

NORMAL_FIRST = (grub_defaults.NORMAL, grub_defaults.ALWAYS)


def plan(facts: Mapping[str, Any], wanted: wishes.Wishes) -> Edit:
    files: Dict[str, str] = dict(facts["files"])
    if facts["drop_ins"]:
        edited, uncertain = _with_drop_in(files, wanted, facts)
    else:
        edited, uncertain = in_place(files, wanted, NORMAL_FIRST)
    paths = [path for path in sorted({*files, *edited}) if files.get(path) != edited.get(path)]
    return Edit(
        configured_before=words(grub_defaults.evaluate(files).line),
        configured_after=words(grub_defaults.evaluate(_ordered(edited)).line),
        before={path: files.get(path) for path in paths},
        writes={path: edited.get(path) for path in paths},
        uncertain=uncertain,
        regenerate=[list(facts["regenerate"])],
        commands=[],
        touch={},
    )


def _ordered(files: Mapping[str, str]) -> Dict[str, str]:
    """grub-mkconfig reads /etc/default/grub first and then the drop-ins by name."""
    return {path: files[path] for path in sorted(files, key=lambda path: (path.count("/"), path))}


def _with_drop_in(
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
    if kept and kept == ours:
        candidates = [files[drop_in.PATH], *(drop_in.render(kept, name) for name in NORMAL_FIRST)]
    else:
        candidates = [drop_in.render(kept, name) for name in NORMAL_FIRST]
    return _first_that_holds([_with(cleaned.texts, text) for text in candidates], wanted, drop_in.PATH)


def in_place(
    files: Mapping[str, str], wanted: wishes.Wishes, variables: Sequence[str]
) -> Tuple[Dict[str, str], List[str]]:
    """Puts what is missing into the last assignment of one of the variables, whichever has the last word."""
    cleaned = grub_defaults.evaluate(files, wanted.drops)
    missing = wanted.missing_from(cleaned.line)
    if not missing:
        return _first_that_holds([cleaned.texts], wanted, hints.DEFAULTS)
    meanings = {token.meaning for token in missing}
    texts = grub_defaults.evaluate(files, lambda item: wanted.drops(item) or item.meaning in meanings).texts
    results = [
        {**texts, hints.DEFAULTS: grub_defaults.with_tokens(texts[hints.DEFAULTS], name, missing)} for name in variables
    ]
    return _first_that_holds(results, wanted, hints.DEFAULTS)


def _first_that_holds(
    results: Sequence[Dict[str, str]], wanted: wishes.Wishes, where: str
) -> Tuple[Dict[str, str], List[str]]:
    for result in results:
        evaluation = grub_defaults.evaluate(_ordered(result))
        missing, unwanted = wanted.problems(evaluation.line)
        if not missing and not unwanted:
            return result, evaluation.uncertain
    evaluation = grub_defaults.evaluate(_ordered(results[0]))
    if evaluation.uncertain:
        # What the shell makes of these files is seen in what it generates, which is checked afterwards.
        return results[0], evaluation.uncertain
    raise _no_way(wanted, evaluation, where)


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


def _no_way(wanted: wishes.Wishes, evaluation: grub_defaults.Evaluation, where: str) -> KatagpuError:
    missing, unwanted = wanted.problems(evaluation.line)
    last = [paths[-1] for name, paths in evaluation.origins.items() if name in grub_defaults.VARIABLES]
    why = f"the last word has {' and '.join(sorted(set(last)))}"
    if any(token.text == tokens.END_OF_KERNEL for token in evaluation.line.tokens):
        why = "what stands behind -- goes to init and not to the kernel"
    return KatagpuError(
        f"[B16][block] The configured kernel arguments {lack(missing, unwanted)} whatever is written to {where}: {why}. "
        "Nothing was changed. Fix: correct that file by hand, then run again. "
        f"Evidence: {evaluation.line}"
    )
