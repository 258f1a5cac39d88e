# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights as manifests: roles, bindings, service accounts, and the namespaces that the roles are in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _rights
from ansible_collections.katagpu.cluster.plugins.plugin_utils._rights import DEPLOY, READ, WORKLOAD, Right

Json = dict[str, Any]

HOME = "katagpu"
READER, DEPLOYER, SAMPLE = "katagpu-reader", "katagpu-deployer", "katagpu-workload"
GROUP = "rbac.authorization.k8s.io"
# By the name of the file: which account it is for, what its roles are called, and which rights they hold.
SETS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "rbac-reader.yml": (READER, READER, (READ,)),
    "rbac-workload.yml": (READER, SAMPLE, (WORKLOAD,)),
    "rbac-deployer.yml": (DEPLOYER, DEPLOYER, (READ, WORKLOAD, DEPLOY)),
}
_WIDTH = 120
_TITLES = {
    "rbac-reader.yml": "For preflight.yml, and for verify.yml with verify_workload_enabled=false. Nothing can be changed with it.",
    "rbac-workload.yml": "Adds to rbac-reader.yml what the sample workload of verify.yml needs.",
    "rbac-deployer.yml": "For all playbooks. Who may install operators with wide rights is as powerful as they are.",
}


def rules(wanted: Iterable[Right], namespace: str = "") -> list[tuple[list[str], Json]]:
    """The rules of one role, each with the reasons for it."""
    verbs: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    reasons: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for right in wanted:
        if right.namespace == namespace:
            key = (right.resource, right.names)
            verbs.setdefault(key, []).extend(right.verbs)
            reasons.setdefault(key, []).append(right.why)
    # Names that differ only in the reason for them are one rule; so are resources of one group with the same verbs.
    by_verbs: dict[tuple[str, frozenset[str]], list[str]] = {}
    for (resource, names), found in verbs.items():
        if names:
            by_verbs.setdefault((resource, frozenset(found)), []).extend(names)
    merged: dict[tuple[str, tuple[str, ...], frozenset[str]], tuple[list[str], list[str]]] = {}
    for (resource, names), found in verbs.items():
        all_names = tuple(dict.fromkeys(by_verbs[resource, frozenset(found)])) if names else ()
        group = resource.partition(".")[2]
        resources, texts = merged.setdefault((group, all_names, frozenset(found)), ([], []))
        resources.append(resource.partition(".")[0])
        texts += reasons[resource, names]
    return [
        (
            list(dict.fromkeys(texts)),
            {
                "apiGroups": [group],
                "resources": list(dict.fromkeys(resources)),
                **({"resourceNames": list(names)} if names else {}),
                "verbs": sorted(held, key=_rights.VERBS.index),
            },
        )
        for (group, names, held), (resources, texts) in merged.items()
    ]


def subject(account: str) -> Json:
    return {"kind": "ServiceAccount", "name": account, "namespace": HOME}


def manifests(
    wanted: Sequence[Right], file: str, spaces: Iterable[str], subjects: Sequence[Mapping[str, Any]] = ()
) -> list[tuple[list[list[str]], Json]]:
    """Objects in the order in which they have to be created, each with the reasons for its rules."""
    if file not in SETS:
        raise KatagpuError(f"there is no manifest {file}; there are {', '.join(SETS)}")
    account, role, levels = SETS[file]
    held = [right for right in wanted if right.level in levels]
    places = list(dict.fromkeys(right.namespace for right in held if right.namespace))
    objects: list[tuple[list[list[str]], Json]] = []
    if file != "rbac-workload.yml":
        names = [HOME, *sorted(set(spaces))]
        objects += [([], {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}) for name in names]
        meta = {"name": account, "namespace": HOME}
        objects.append(([], {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}))
    bound = [dict(one) for one in subjects] or [subject(account)]
    for space in ("", *places):
        content = rules(held, space)
        if not content:
            continue
        kind = "Role" if space else "ClusterRole"
        meta = {"name": role, **({"namespace": space} if space else {})}
        api = {"apiVersion": f"{GROUP}/v1"}
        objects.append(
            (
                [reasons for reasons, _rule in content],
                {**api, "kind": kind, "metadata": meta, "rules": [rule for _reasons, rule in content]},
            )
        )
        ref = {"apiGroup": GROUP, "kind": kind, "name": role}
        objects.append(([], {**api, "kind": f"{kind}Binding", "metadata": meta, "roleRef": ref, "subjects": bound}))
    return objects


def text(file: str, title: str, objects: Iterable[tuple[list[list[str]], Json]]) -> str:
    """A list in one document of YAML, with the reason before each rule. What comes out of an inventory is no plain text for YAML."""
    parts = [f"---\n# {title}\n# {_TITLES[file]}\napiVersion: v1\nkind: List\nitems:\n"]
    for reasons, tagged in objects:
        item = json.loads(json.dumps(tagged))
        head = {key: value for key, value in item.items() if key not in ("rules", "subjects")}
        lines = _lines(head)
        if "subjects" in item:
            lines += ["subjects:", *(f"  {line}" for line in _lines(item["subjects"]))]
        if "rules" in item:
            lines.append("rules:")
            for why, rule in zip(reasons, item["rules"], strict=True):
                lines += [f"  # {line}" for line in why] + _indented(rule)
        parts.append("".join(f"  {'-' if not number else ' '} {line}\n" for number, line in enumerate(lines)))
    return "".join(parts)


def _lines(value: Any) -> list[str]:
    return str(yaml.safe_dump(value, sort_keys=False, width=_WIDTH)).splitlines()


def _indented(rule: Mapping[str, Any]) -> list[str]:
    lines = [line for key, value in rule.items() for line in _list(key, value)]
    return [f"  {'-' if not number else ' '} {line}" for number, line in enumerate(lines)]


def _list(key: str, values: Sequence[str]) -> list[str]:
    line = f"{key}: [" + ", ".join(value or '""' for value in values) + "]"
    return [line] if len(line) <= _WIDTH else [f"{key}:", *(f"  - {value}" for value in values)]


def files(
    release: Mapping[str, Any],
    given: Mapping[str, Any] | None = None,
    workload_namespace: str = "default",
    subjects: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> dict[str, str]:
    """Contents by the name of the file. C(given) has namespaces and names that are not those of the release, C(subjects) who
    gets the rights of the C(reader) and of the C(deployer) in place of their service accounts. Without C(workload_namespace)
    nobody gets rights for a sample workload, and there is no file for it."""
    where = _rights.places(release, given or {}, workload_namespace)
    wanted = _rights.rights(release, where)
    bound = _subjects(subjects or {})
    title = f"Rights for katagpu.cluster with the release {release['name']}, as the playbook katagpu.cluster.rbac writes them."
    made = {file: manifests(wanted, file, where.all, bound.get(SETS[file][0], ())) for file in SETS}
    return {file: text(file, title, objects) for file, objects in made.items() if objects}


def _subjects(given: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Json]]:
    accounts = {"reader": READER, "deployer": DEPLOYER}
    found: dict[str, list[Json]] = {}
    for who, entries in given.items():
        if who not in accounts:
            raise KatagpuError(f"{who} is none of {', '.join(accounts)}")
        for entry in entries:
            kind, name, namespace = (str(entry.get(key) or "") for key in ("kind", "name", "namespace"))
            if (
                kind not in ("User", "Group", "ServiceAccount")
                or not name
                or (kind == "ServiceAccount") != bool(namespace)
            ):
                raise KatagpuError(
                    f"{who}: a subject is a User or Group with a name, or a ServiceAccount with name and namespace"
                )
            rest = {"namespace": namespace} if namespace else {"apiGroup": GROUP}
            found.setdefault(accounts[who], []).append({"kind": kind, "name": name, **rest})
    return found
