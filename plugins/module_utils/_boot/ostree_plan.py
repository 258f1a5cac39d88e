# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rpm-ostree makes a new deployment with other arguments at once or not at all, so it is asked to; what it is asked is planned here."""

from __future__ import annotations

from typing import Any, List, Mapping

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens, wishes
from ansible_collections.katagpu.cluster.plugins.module_utils._boot.edit import Edit, words
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

COMMAND = ("rpm-ostree", "kargs")


def plan(facts: Mapping[str, Any], wanted: wishes.Wishes) -> Edit:
    """The deployment that boots next is the base, as it is for rpm-ostree; those behind it stay for going back."""
    _check_words(wanted)
    first = next(line for lines in facts["generated"].values() for line in lines if line["managed"])
    line = tokens.parse(first["arguments"])
    dropped = [token.text for token in line.tokens if wanted.drops(token)]
    cleaned = tokens.without(line, wanted.drops)
    added = wanted.missing_from(cleaned)
    present = {token.meaning for token in cleaned.tokens}
    options: List[str] = [f"--delete-if-present={text}" for text in dropped]
    # Where the argument is there and another one has the last word, only a second one helps.
    options += [f"--{'append' if token.meaning in present else 'append-if-missing'}={token.text}" for token in added]
    after = tokens.parse(" ".join([words(cleaned), *(token.text for token in added)]))
    return Edit(
        configured_before=words(line),
        configured_after=words(after),
        before={},
        writes={},
        uncertain=list(facts["notes"]),
        regenerate=[],
        commands=[[*COMMAND, *options]] if options else [],
        touch={},
    )


def _check_words(wanted: wishes.Wishes) -> None:
    for token in (*wanted.present, *wanted.absent):
        if '"' in token.text:
            raise KatagpuError(
                f"{token.text} has quotes, which some versions of ostree split at white space. Nothing was changed. "
                "Fix: set it with rpm-ostree kargs by hand and look at the result."
            )
