# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the API which rights the credentials have: one request for each namespace, and one for each right where that does
not tell, because somebody else than RBAC decides too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import Api, ApiError
from ansible_collections.katagpu.cluster.plugins.plugin_utils._rights import Review, covered

_AUTHORIZATION = "/apis/authorization.k8s.io/v1"
# Rules are asked for by namespace. In one that does not exist only those hold that are for the whole cluster.
_NOWHERE = "katagpu-nowhere"


Rules = tuple[list[dict[str, Any]], bool]


def ask(api: Api, wanted: Sequence[Review], pool: ThreadPoolExecutor) -> dict[str, Future[Rules]]:
    """Begins to ask; by namespace."""
    spaces = dict.fromkeys(review.right.namespace for review in wanted)
    return {space: pool.submit(_rules, api, space) for space in spaces}


def granted(
    api: Api, wanted: Sequence[Review], asked: Mapping[str, Future[Rules]], pool: ThreadPoolExecutor
) -> dict[Review, bool]:
    known = {space: rules.result() for space, rules in asked.items()}
    answers = pool.map(lambda review: _allowed(api, review, *known[review.right.namespace]), wanted)
    return dict(zip(wanted, answers, strict=True))


def _rules(api: Api, space: str) -> Rules:
    """Rules that hold there, and whether there are no others."""
    body = _review("SelfSubjectRulesReview", {"namespace": space or _NOWHERE})
    try:
        status = api.post(f"{_AUTHORIZATION}/selfsubjectrulesreviews", body).get("status") or {}
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return [], False
    return status.get("resourceRules") or [], not status.get("incomplete")


def _allowed(api: Api, review: Review, rules: list[dict[str, Any]], complete: bool) -> bool:
    if covered(review, rules):
        return True
    if complete:
        return False
    body = _review("SelfSubjectAccessReview", {"resourceAttributes": review.attributes})
    answer = api.post(f"{_AUTHORIZATION}/selfsubjectaccessreviews", body)
    return bool((answer.get("status") or {}).get("allowed"))


def _review(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
