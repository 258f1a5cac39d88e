# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the audit log is read, and what counts as a right that was used."""

from __future__ import annotations

import json
from typing import Any

from tests.integration import rights
from tests.lab.controlplane import rights as lab_rights

READER, DEPLOYER = lab_rights.USERS
RBAC = "rbac.authorization.k8s.io"


def event(verb: str, resource: str, namespace: str = "", decision: str = "allow", **more: Any) -> str:
    plain, _, group = resource.partition(".")
    name, _, sub = plain.partition("/")
    ref = {
        "resource": name,
        "subresource": sub,
        "apiGroup": group,
        "namespace": namespace,
        "name": more.get("name", ""),
    }
    user = more.get("user", DEPLOYER)
    return json.dumps(
        {
            "verb": verb,
            "user": {"username": lab_rights.ACCOUNTS.get(user, user)},
            "objectRef": ref,
            "responseStatus": {"code": more.get("code", 200 if decision == "allow" else 403)},
            "annotations": {"authorization.k8s.io/decision": decision},
        }
    )


def usage(*lines: str) -> rights.Usage:
    return rights.judge(("26.7",), list(rights.calls(lines)), lab_rights.manifests(["26.7"]))


def unused(*lines: str) -> set[str]:
    return {str(grant) for grant in usage(*lines).unused if grant.user == DEPLOYER}


def test_a_call_uses_the_right_that_allows_it_and_no_other() -> None:
    before = unused()
    assert before - unused(event("patch", "nodes", name="a")) == {"patch nodes"}
    assert before - unused(event("create", "pods/eviction", "default", name="a")) == {"create pods/eviction"}
    assert before - unused(event("list", "secrets", "kata-system")) == {"list secrets in kata-system"}
    assert before - unused(event("list", "secrets", "other")) == set()
    assert before - unused(event("patch", "nodes", user=READER)) == set()


def test_what_the_api_server_asks_itself_goes_with_the_call() -> None:
    lines = event("create", f"clusterrolebindings.{RBAC}"), event("create", f"roles.{RBAC}", "gpu-operator")
    assert unused() - unused(*lines) == {
        f"create clusterrolebindings.{RBAC}",
        f"bind clusterroles.{RBAC}",
        f"create roles.{RBAC} in gpu-operator",
        f"escalate roles.{RBAC} in gpu-operator",
    }


def test_a_refusal_is_found_and_uses_nothing() -> None:
    found = usage(event("list", "secrets", "kube-system", "forbid"), event("create", f"roles.{RBAC}", code=403))
    assert [str(call) for call in found.refused] == [
        f"{DEPLOYER}: create roles.{RBAC} (403)",
        f"{DEPLOYER}: list secrets kube-system (403)",
    ]
    assert found.calls == 2 and found.unused == found.grants


def test_discovery_questions_and_others_do_not_count() -> None:
    lines = [
        json.dumps({"verb": "get", "user": {"username": lab_rights.ACCOUNTS[DEPLOYER]}, "requestURI": "/version"}),
        event("create", "selfsubjectrulesreviews.authorization.k8s.io"),
        event("list", "nodes", user="katagpu-lab-admin"),
    ]
    assert usage(*lines).calls == 0


def test_a_reason_is_for_what_it_names() -> None:
    assert rights.reason(rights.Grant(DEPLOYER, "list", "events", "default"))
    assert not rights.reason(rights.Grant(DEPLOYER, "list", "secrets", "gpu-operator"))
