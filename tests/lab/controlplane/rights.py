# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own users in the lab: what its manifests grant, and the log of what they did with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.lab import paths

_COLLECTIONS = str(paths.REPO / ".build" / "collections")
if _COLLECTIONS not in sys.path:
    sys.path.insert(0, _COLLECTIONS)

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _rbac, _releases, _rights  # noqa: E402

Json = dict[str, Any]

# The sample workload of the reader is a choice; a test makes it.
FILES = ("rbac-reader.yml", "rbac-deployer.yml")
USERS = (_rbac.READER, _rbac.DEPLOYER)
ACCOUNTS = {user: f"system:serviceaccount:{_rbac.HOME}:{user}" for user in USERS}

# What these users and nobody else ask for.
AUDIT_POLICY: Json = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted", "Panic"],
    "rules": [{"level": "Metadata", "users": list(ACCOUNTS.values())}, {"level": "None"}],
}


def releases() -> list[str]:
    """Those whose rights the users get: one where that is to be proved, else those that the lab can install."""
    only = os.environ.get("KATAGPU_LAB_RIGHTS")
    return [only] if only else ["26.7", "23.9"]


def audit_log() -> Path:
    """Of all control planes whose users had the rights for the same releases."""
    return Path(paths.AUDIT) / f"{'+'.join(releases())}.log"


def manifests(names: Iterable[str]) -> list[Json]:
    """As the collection contains them, for these releases together: roles of one name get the rules of all."""
    found: dict[str, Json] = {}
    for name in names:
        release = _releases.lookup(name)
        where = _rights.places(release, {}, "default")
        wanted = _rights.rights(release, where)
        for file in FILES:
            for _, item in _rbac.manifests(wanted, file, where.all):
                same = found.setdefault(f"{path_of(item)}/{item['metadata']['name']}", item)
                if same is not item and "rules" in item:
                    same["rules"] = [*same["rules"], *(rule for rule in item["rules"] if rule not in same["rules"])]
    return list(found.values())


def path_of(item: Json) -> str:
    namespace = item["metadata"].get("namespace")
    base = "/api/v1" if item["apiVersion"] == "v1" else f"/apis/{item['apiVersion']}"
    return base + (f"/namespaces/{namespace}" if namespace else "") + f"/{item['kind'].lower()}s"


def kubeconfig_of(user: str) -> Path:
    return Path(paths.STATE) / f"kubeconfig-{user}"


def token_path(user: str) -> str:
    return f"/api/v1/namespaces/{_rbac.HOME}/serviceaccounts/{user}/token"
