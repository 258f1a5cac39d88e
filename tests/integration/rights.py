# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection's users did on the API servers of the lab, against what its manifests let them do.

python -m tests.integration.rights prints it for the audit logs that are there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import paths
from tests.lab.controlplane import rights as lab_rights

Json = dict[str, Any]

# Granted, and not used by every run of the tests: the reason, by what the name of the right begins with.
REASONS = {
    "list events": "only when something does not become ready in time",
    "get configmaps in kube-system": "only on a cluster of kubeadm",
    "patch configmaps in kube-system": "only on a cluster of kubeadm",
    "list jobs.batch": "only by a Helm that is older than the lab's, which watches with all that is there",
}

# The API server asks itself for these while it handles what is on the right.
_IMPLIED = {
    "escalate roles.rbac.authorization.k8s.io": "create roles.rbac.authorization.k8s.io",
    "escalate clusterroles.rbac.authorization.k8s.io": "create clusterroles.rbac.authorization.k8s.io",
    "bind roles.rbac.authorization.k8s.io": "create rolebindings.rbac.authorization.k8s.io",
    "bind clusterroles.rbac.authorization.k8s.io": "create clusterrolebindings.rbac.authorization.k8s.io",
}


@dataclass(frozen=True)
class Call:
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    allowed: bool

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.user}: {self.verb} {self.resource} {where}".rstrip() + f" ({self.code})"


@dataclass(frozen=True)
class Grant:
    """One verb of a rule on one kind in one place. The names that a rule is for come from the fact tables and are not looked at."""

    user: str
    verb: str
    resource: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f" in {self.namespace}" if self.namespace else "")

    def used_by(self, call: Call) -> bool:
        wanted = _IMPLIED.get(f"{self.verb} {self.resource}", f"{self.verb} {self.resource}")
        place = self.namespace in ("", call.namespace)
        return call.user == self.user and f"{call.verb} {call.resource}" == wanted and place and call.allowed


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """Requests for resources; discovery and questions about rights are open to everybody."""
    accounts = {account: user for user, account in lab_rights.ACCOUNTS.items()}
    for line in lines:
        event = json.loads(line)
        ref = event.get("objectRef") or {}
        user = accounts.get(event["user"]["username"])
        if (
            user is None
            or not ref.get("resource")
            or ref.get("apiGroup", "").startswith(("authorization.k8s", "authentication.k8s"))
        ):
            continue
        resource = ref["resource"] + (f"/{ref['subresource']}" if ref.get("subresource") else "")
        resource += f".{ref['apiGroup']}" if ref.get("apiGroup") else ""
        decision = event.get("annotations", {}).get("authorization.k8s.io/decision")
        code = int((event.get("responseStatus") or {}).get("code") or 0)
        yield Call(
            user,
            event["verb"],
            resource,
            ref.get("namespace", ""),
            ref.get("name", ""),
            code,
            decision == "allow" and code != 403,
        )


def grants(manifests: Iterable[Json]) -> set[Grant]:
    found = set()
    items = list(manifests)
    bound = {
        (item["kind"].removesuffix("Binding"), item["metadata"].get("namespace", ""), item["roleRef"]["name"]): [
            one["name"] for one in item["subjects"]
        ]
        for item in items
        if item["kind"].endswith("Binding")
    }
    for item in items:
        place = item["metadata"].get("namespace", "")
        for rule in item.get("rules", ()):
            for user in bound[item["kind"], place, item["metadata"]["name"]]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        full = resource + (f".{group}" if group else "")
                        found |= {Grant(user, verb, full, place) for verb in rule["verbs"]}
    return found


@dataclass(frozen=True)
class Usage:
    """Of one set of releases: what was asked for, what was refused, what was granted and what of it nobody needed."""

    releases: tuple[str, ...]
    calls: int
    refused: tuple[Call, ...]
    grants: frozenset[Grant]
    unused: frozenset[Grant]


def usage(log: Path) -> Usage:
    """The releases are in the name of the log."""
    releases = tuple(log.stem.split("+"))
    with log.open(encoding="utf-8") as lines:
        seen = list(calls(lines))
    return judge(releases, seen, lab_rights.manifests(releases))


def judge(releases: tuple[str, ...], seen: list[Call], manifests: Iterable[Json]) -> Usage:
    held = grants(manifests)
    distinct = set(seen)
    unused = {grant for grant in held if not any(grant.used_by(call) for call in distinct)}
    refused = tuple(sorted({call for call in distinct if not call.allowed}, key=str))
    return Usage(releases, len(seen), refused, frozenset(held), frozenset(unused))


def over_all(release: str, found: Iterable[Path]) -> Usage:
    """What a release grants, against all that was done, with whichever release. A release is not to grant what nobody needed."""
    seen: list[Call] = []
    for log in found:
        with log.open(encoding="utf-8") as lines:
            seen += calls(lines)
    return judge((release,), seen, lab_rights.manifests([release]))


def reason(grant: Grant) -> str:
    return next((text for key, text in REASONS.items() if str(grant).startswith(key)), "")


def logs() -> list[Path]:
    return sorted(Path(paths.AUDIT).glob("*.log"))


def main() -> int:
    found = [over_all(release, logs()) for release in ("26.7", "23.9")] if logs() else []
    for one in found:
        print(f"release {', '.join(one.releases)}: {one.calls} calls, {len(one.refused)} refused")
        reasoned = [grant for grant in one.unused if reason(grant)]
        print(
            f"  {len(one.grants)} verbs on kinds granted, {len(one.unused)} not used, {len(reasoned)} of them for a reason"
        )
        for call in one.refused:
            print(f"  refused: {call}")
        for grant in sorted(one.unused, key=lambda grant: (grant.user, str(grant))):
            print(f"  not used by {grant.user}: {grant} {reason(grant) and '(' + reason(grant) + ')'}".rstrip())
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
