# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's own processes may do in the API: users by token, ClusterRoles, bindings."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
READ = ["get", "list", "watch"]
WRITE = [*READ, "create", "update", "patch", "delete"]
AGENT = "lab-node-agent"
STANDIN = "lab-standin"


def rule(groups: str, resources: str, verbs: list[str]) -> Json:
    return {
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "verbs": verbs,
    }


# The kubelet's rights, and those of the service accounts of the containers that the agent stands in for.
AGENT_RULES = [
    rule("core", "nodes", WRITE),
    rule("core", "nodes/status pods/status", ["get", "patch", "update"]),
    rule("core", "pods", [*READ, "delete", "patch"]),
    rule("core", "pods/eviction", ["create"]),
    rule("core", "configmaps secrets services endpoints namespaces", READ),
    rule("core events.k8s.io", "events", ["create", "patch", "update"]),
    rule("coordination.k8s.io", "leases", [*READ, "create", "update", "patch"]),
    rule("node.k8s.io", "runtimeclasses", WRITE),
    rule("apps", "daemonsets deployments controllerrevisions", READ),
    # Of the hook Jobs of the charts, and of the dispatcher of kata-deploy.
    rule("batch", "jobs", ["get", "list", "create", "delete"]),
    rule("core", "serviceaccounts", ["delete"]),
    rule("rbac.authorization.k8s.io", "clusterroles clusterrolebindings roles rolebindings", ["delete"]),
    rule("apiextensions.k8s.io", "customresourcedefinitions", ["get", "create", "patch", "delete"]),
    rule("nvidia.com confidentialcontainers.org nfd.k8s-sigs.io", "*", WRITE),
]

# Controllers of the upstream projects. They create roles for their operands, hence bind and escalate.
STANDIN_RULES = [
    rule("core", "nodes", [*READ, "patch", "update"]),
    rule("core", "pods services serviceaccounts configmaps namespaces endpoints", WRITE),
    rule("core", "secrets", READ),
    rule("core events.k8s.io", "events", ["create", "patch", "update"]),
    rule("apps", "*", WRITE),
    rule("batch", "jobs", WRITE),
    rule("node.k8s.io", "runtimeclasses", WRITE),
    rule("rbac.authorization.k8s.io", "*", [*WRITE, "bind", "escalate"]),
    rule("coordination.k8s.io", "leases", WRITE),
    rule("apiextensions.k8s.io", "customresourcedefinitions", READ),
    rule("nvidia.com confidentialcontainers.org nfd.k8s-sigs.io monitoring.coreos.com", "*", WRITE),
]


def cluster_role(name: str, rules: list[Json]) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }


def binding(role: str, user: str) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{role}-{user}" if role != user else user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def objects() -> list[Json]:
    """In the order in which they are to be created."""
    return [
        cluster_role(AGENT, AGENT_RULES),
        binding(AGENT, AGENT),
        cluster_role(STANDIN, STANDIN_RULES),
        binding(STANDIN, STANDIN),
        # The API server calls the agents' log endpoint with this user; nothing else does.
        binding("system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
    ]


def path_of(item: Json) -> str:
    return f"/apis/rbac.authorization.k8s.io/v1/{item['kind'].lower()}s"


def token_file(tokens: dict[str, str]) -> str:
    """Lines of the API server's token file: token,user,uid."""
    return "".join(f"{token},{user},{user}\n" for user, token in sorted(tokens.items()))
