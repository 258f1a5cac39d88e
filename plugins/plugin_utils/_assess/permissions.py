# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the credentials may do what the run needs."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _rights
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import ClusterView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, INFO, Finding
from ansible_collections.katagpu.cluster.plugins.plugin_utils._rights import Review

_EVIDENCE = ("SelfSubjectRulesReview, SelfSubjectAccessReview",)
_FIX = (
    "have a cluster administrator apply what the playbook katagpu.cluster.rbac writes for this inventory, or use credentials"
    " of a cluster administrator."
)


def permissions(view: ClusterView) -> list[Finding]:
    missing = [review for review, allowed in view.facts["rights"].items() if not allowed]
    denied = [f"read {name}" for name in view.facts["denied"]]
    if not missing and not denied:
        return []
    if view.access == "read" and not denied and _for_reading_only(view.facts["rights"]):
        return [
            Finding(
                "permissions",
                INFO,
                "the credentials may only read the cluster.",
                "They are enough for preflight, and for verification without its sample workload.",
                f"for the other playbooks {_FIX}",
                _EVIDENCE,
            )
        ]
    fix = _FIX
    if view.access == "verify" and not denied and all(review.right.level == _rights.WORKLOAD for review in missing):
        fix = f"set verify_workload_enabled to false, or {_FIX}"
    return [
        Finding(
            "permissions",
            BLOCK,
            f"the credentials may not: {'; '.join(filter(None, [_rights.in_words(missing), *denied]))}.",
            "The run would stop half way.",
            fix,
            _EVIDENCE,
        )
    ]


def _for_reading_only(rights: Mapping[Review, bool]) -> bool:
    """Everything that is to be read, and nothing of what changes the cluster. Who may do a part of that was meant to do it all."""
    reading = all(allowed for review, allowed in rights.items() if review.right.level == _rights.READ)
    changing = [
        review
        for review, allowed in rights.items()
        if allowed and review.right.level == _rights.DEPLOY and review.verb not in ("get", "list", "watch")
    ]
    return reading and not changing
