# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where objects of a kind are found in the API."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

# Kinds whose plural and scope need not be asked for: plural, namespaced.
_KNOWN: Dict[Tuple[str, str], Tuple[str, bool]] = {
    ("v1", "Node"): ("nodes", False),
    ("v1", "Pod"): ("pods", True),
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "Service"): ("services", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("v1", "ConfigMap"): ("configmaps", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("apps/v1", "DaemonSet"): ("daemonsets", True),
    ("batch/v1", "Job"): ("jobs", True),
    ("node.k8s.io/v1", "RuntimeClass"): ("runtimeclasses", False),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): ("customresourcedefinitions", False),
    ("rbac.authorization.k8s.io/v1", "Role"): ("roles", True),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("rolebindings", True),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): ("clusterroles", False),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("clusterrolebindings", False),
    ("confidentialcontainers.org/v1beta1", "CcRuntime"): ("ccruntimes", False),
    ("nvidia.com/v1", "ClusterPolicy"): ("clusterpolicies", False),
}


def base(api_version: str) -> str:
    return f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"


def collection(plural: str, api_version: str, namespace: Optional[str] = None) -> str:
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{base(api_version)}{middle}/{plural}"


class Kinds:
    """Plural and scope of kinds; what is not known by heart is asked once per group version."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._asked: Dict[str, Dict[str, Tuple[str, bool]]] = {}

    def find(self, api_version: str, kind: str) -> Optional[Tuple[str, bool]]:
        """Plural and whether namespaced, or nothing where the API does not know the kind (yet)."""
        if (api_version, kind) in _KNOWN:
            return _KNOWN[(api_version, kind)]
        if api_version not in self._asked:
            resources = _resources(self._api, api_version)
            if not resources:
                return None
            self._asked[api_version] = resources
        return self._asked[api_version].get(kind)

    def collection(self, api_version: str, kind: str, namespace: Optional[str]) -> Optional[str]:
        found = self.find(api_version, kind)
        if found is None:
            return None
        plural, namespaced = found
        return collection(plural, api_version, (namespace or "default") if namespaced else None)


def _resources(api: Any, api_version: str) -> Dict[str, Tuple[str, bool]]:
    try:
        data = api.get(base(api_version))
    except Exception as error:
        if getattr(error, "status", None) == 404:
            return {}
        raise
    resources: Dict[str, Tuple[str, bool]] = {}
    for item in data.get("resources") or []:
        if "/" not in item["name"]:
            resources[item["kind"]] = (item["name"], bool(item.get("namespaced")))
    return resources


def identity(manifest: Mapping[str, Any]) -> Tuple[str, str, Optional[str], str]:
    """C(apiVersion), C(kind), namespace and name of a manifest."""
    metadata = manifest.get("metadata") or {}
    return (
        str(manifest.get("apiVersion", "")),
        str(manifest.get("kind", "")),
        metadata.get("namespace"),
        str(metadata.get("name", "")),
    )
