# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a reconcile needs from the API and carries out what it wants."""

from __future__ import annotations

import json
import time

from tests.lab.node.api import Api, ApiError
from tests.lab.standins.actions import Action, Create, Delete, Note, Object, Patch, Replace

_PATHS = {
    "ClusterPolicy": ("/apis/nvidia.com/v1", "clusterpolicies", False),
    "CcRuntime": ("/apis/confidentialcontainers.org/v1beta1", "ccruntimes", False),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "DaemonSet": ("/apis/apps/v1", "daemonsets", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "Node": ("/api/v1", "nodes", False),
    "RuntimeClass": ("/apis/node.k8s.io/v1", "runtimeclasses", False),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
}


class Cluster:
    """A small client: lists and the actions."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @staticmethod
    def _path(kind: str, namespace: str = "", name: str = "") -> str:
        base, plural, namespaced = _PATHS[kind]
        middle = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return f"{base}{middle}/{plural}" + (f"/{name}" if name else "")

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """All objects of a kind; none where the kind itself is not known (its CRD is not there)."""
        query = {"labelSelector": selector} if selector else {}
        try:
            found = self._api.get(self._path(kind, namespace), **query)
        except ApiError as error:
            if error.status == 404:
                return []
            raise
        base = _PATHS[kind][0]
        version = base.removeprefix("/apis/").removeprefix("/api/")
        return [{"apiVersion": version, "kind": kind, **one} for one in found.get("items") or []]

    def by_name(self, kind: str, namespace: str = "") -> dict[str, Object]:
        """The same by name."""
        return {one["metadata"]["name"]: one for one in self.list(kind, namespace)}

    def carry_out(self, action: Action) -> str:
        """Do one action; return a line for the log or nothing. What is gone or there already is no error."""
        try:
            return self._carry_out(action)
        except ApiError as error:
            if isinstance(action, Delete) and error.status == 404:
                return ""
            if error.status in (404, 409):
                return f"again later: {error} at {action!r}"[:400]
            raise

    def _carry_out(self, action: Action) -> str:
        if isinstance(action, Note):
            return action.text
        if isinstance(action, Create):
            metadata = action.body["metadata"]
            self._api.create(self._path(action.body["kind"], metadata.get("namespace", "")), action.body)
            return f"created {action.body['kind']} {metadata['name']}"
        if isinstance(action, Replace):
            body = action.body
            metadata = body["metadata"]
            path = self._path(body["kind"], metadata.get("namespace", ""), metadata["name"])
            current = self._api.get(path)
            version = current["metadata"]["resourceVersion"]
            self._api.replace(path, {**body, "metadata": {**metadata, "resourceVersion": version}})
            return f"updated {body['kind']} {metadata['name']}"
        if isinstance(action, Patch):
            path = self._path(action.kind, action.namespace, action.name)
            path += f"/{action.subresource}" if action.subresource else ""
            self._api.merge_patch(path, action.patch)
            return f"patched {action.kind} {action.name}: {json.dumps(action.patch, sort_keys=True)}"[:400]
        if isinstance(action, Delete):
            self._api.delete(self._path(action.kind, action.namespace, action.name))
            return f"deleted {action.kind} {action.name}"
        return ""  # Requeue: the loop looks again anyway.


def available(deployment: Object) -> bool:
    """Whether the operator itself would be running."""
    return int((deployment.get("status") or {}).get("availableReplicas") or 0) >= 1


def now() -> str:
    """Time as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


__all__ = ["Api", "ApiError", "Cluster", "available", "now"]
