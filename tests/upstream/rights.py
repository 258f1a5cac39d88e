# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the rights that the collection asks for are enough for the objects of a chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _rights

# Beyond those of Kubernetes: kind, as it is named in a rule.
_OWN = {
    "ClusterPolicy": "clusterpolicies.nvidia.com",
    "CcRuntime": "ccruntimes.confidentialcontainers.org",
    "NodeFeatureRule": "nodefeaturerules.nfd.k8s-sigs.io",
    "RuntimeClass": "runtimeclasses.node.k8s.io",
    "CustomResourceDefinition": _rights.CRDS,
}
_GROUPS = {"apps/v1": ".apps", "batch/v1": ".batch", "rbac.authorization.k8s.io/v1": ".rbac.authorization.k8s.io"}
_CLUSTER = {*_OWN, "Namespace", "ClusterRole", "ClusterRoleBinding"}
CREATES = ("kinds", "cluster_kinds", "roles", "cluster_roles", "cluster_role_bindings")


def resource(kind: str, api_version: str = "") -> str:
    return _OWN.get(kind) or f"{kind.lower()}s{_GROUPS.get(api_version, '')}"


def uncovered(release: Mapping[str, Any], part: str, objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """What could not be created, or changed once it is there."""
    where = _rights.places(release, {})
    held = _rights.rights(release, where)
    found = []
    for item in objects:
        kind, name = item["kind"], item["metadata"]["name"]
        if kind == "Namespace":
            continue
        space = "" if kind in _CLUSTER else where.namespaces[part]
        rules = [_rights.as_rule(right) for right in held if right.namespace in ("", space)]
        hook = "helm.sh/hook" in (item["metadata"].get("annotations") or {})
        for verb in ("get", "create") if hook or kind == "CustomResourceDefinition" else ("get", "create", "patch"):
            wanted = _rights.Right(_rights.DEPLOY, (verb,), resource(kind, item["apiVersion"]), "", space, (name,))
            if not _rights.covered(_rights.reviews([wanted])[0], rules):
                found.append(f"{verb} {kind} {name}")
    return found
