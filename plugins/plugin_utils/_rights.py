# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks have to be allowed on the Kubernetes API.

The one list: preflight asks for each of these rights, and the manifests of C(_rbac.py) grant them and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# preflight.yml, and verify.yml without a sample workload; the sample workload; everything else.
READ, WORKLOAD, DEPLOY = LEVELS = ("read", "workload", "deploy")

# In the order in which they are shown.
VERBS = ("get", "list", "watch", "create", "patch", "update", "delete", "bind", "escalate")
PARTS = ("gpu_operator", "coco_operator", "kata_deploy")
_BY_HELM = ("gpu_operator", "kata_deploy")

_RBAC = "rbac.authorization.k8s.io"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
# Helm replaces the objects of a failed release, which is an update, and deletes what a newer chart no longer has.
_CHART_VERBS = ("get", "create", "patch", "update", "delete")
_OBJECT_VERBS = ("get", "create", "patch")
# All Jobs of the charts are hooks, which Helm makes anew each time, waits for and deletes.
_HOOK_VERBS = ("get", "list", "watch", "create", "delete")


@dataclass(frozen=True)
class Right:
    """C(resource) in the way of kubectl, C(pods/eviction) or C(deployments.apps). Without C(namespace) it is for the cluster."""

    level: str
    verbs: tuple[str, ...]
    resource: str
    why: str
    namespace: str = ""
    names: tuple[str, ...] = ()

    @property
    def attributes(self) -> dict[str, str]:
        plain, _dot, group = self.resource.partition(".")
        resource, _slash, subresource = plain.partition("/")
        found = {"group": group, "resource": resource, "subresource": subresource, "namespace": self.namespace}
        return {key: value for key, value in found.items() if value or key == "group"}


@dataclass(frozen=True)
class Review:
    """One question to the API about one right."""

    right: Right
    verb: str
    name: str

    @property
    def attributes(self) -> dict[str, str]:
        return {"verb": self.verb, **self.right.attributes, **({"name": self.name} if self.name else {})}

    def __str__(self) -> str:
        where = f" in {self.right.namespace}" if self.right.namespace else ""
        return f"{self.verb} {self.right.resource}" + (f" {self.name}" if self.name else "") + where


@dataclass(frozen=True)
class Places:
    """Where the parts of a release are, and under which names Helm has them. Empty: not part of the release, not wanted."""

    namespaces: Mapping[str, str]
    names: Mapping[str, str]
    workload: str = ""

    @property
    def all(self) -> list[str]:
        return sorted({space for space in self.namespaces.values() if space})


def places(release: Mapping[str, Any], given: Mapping[str, Any], workload: str = "") -> Places:
    """From the release, where C(given) does not say C(gpu_operator_namespace), C(gpu_operator_name) and so on."""

    def of(part: str, key: str) -> str:
        return str(given.get(f"{part}_{key}") or release[part].get(key) or "")

    parts = [part for part in PARTS if part in release]
    return Places({part: of(part, "namespace") for part in parts}, {part: of(part, "name") for part in parts}, workload)


def rights(release: Mapping[str, Any], where: Places) -> list[Right]:
    """For one release, in the order in which they are to be read."""
    found = [*_reading(where), *_workload(where), *_nodes()]
    for part, space in where.namespaces.items():
        name = where.names.get(part, "")
        found += _part(release[part], part, space, name)
    if "coco_operator" in release:
        found.append(Right(DEPLOY, ("create", "get", "patch", "list", "watch"), CRDS, "the CRD of the CoCo operator"))
        found.append(Right(DEPLOY, ("list", "watch"), "ccruntimes.confidentialcontainers.org", "waits for the runtime"))
    if "kubelet" in release:
        why = "kubeadm's configuration of the kubelet"
        found.append(Right(DEPLOY, ("get", "patch"), "configmaps", why, "kube-system", ("kubelet-config",)))
    return found


def reviews(wanted: Iterable[Right]) -> list[Review]:
    """Each question once."""
    found: dict[str, Review] = {}
    for right in wanted:
        for verb in right.verbs:
            for name in right.names or ("",):
                review = Review(right, verb, name)
                found.setdefault(str(review), review)
    return list(found.values())


# The manifests bring the namespaces, so this counts only where one is missing.
NEW_NAMESPACE = Review(Right(DEPLOY, ("create",), "namespaces", "namespaces that do not exist"), "create", "")


def asked(release: Mapping[str, Any], where: Places, access: str) -> list[Review]:
    """What preflight asks the API for. A run that is only to verify never needs more than to read and its sample workload."""
    wanted = rights(release, where)
    if access == "verify":
        return reviews(right for right in wanted if right.level != DEPLOY)
    return [*reviews(wanted), NEW_NAMESPACE]


def covered(review: Review, rules: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of these rules, in the form of RBAC, allows it."""
    asked = review.attributes
    path = asked["resource"] + (f"/{asked['subresource']}" if "subresource" in asked else "")
    return any(
        _has(rule.get("verbs"), asked["verb"])
        and _has(rule.get("apiGroups"), asked["group"])
        and (_has(rule.get("resources"), path) or f"*/{asked.get('subresource')}" in (rule.get("resources") or ()))
        and (not rule.get("resourceNames") or review.name in rule["resourceNames"])
        for rule in rules
    )


def as_rule(right: Right) -> dict[str, list[str]]:
    """In the form of RBAC."""
    plain, _dot, group = right.resource.partition(".")
    names = {"resourceNames": list(right.names)} if right.names else {}
    return {"apiGroups": [group], "resources": [plain], "verbs": list(right.verbs), **names}


def _has(values: Any, wanted: str) -> bool:
    return "*" in (values or ()) or wanted in (values or ())


def in_words(missing: Iterable[Review]) -> str:
    """Many rights in few words: kinds with the same verbs together, and so are places. Names of objects are left out."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for review in missing:
        verbs.setdefault((review.right.resource, review.right.namespace), set()).add(review.verb)
    kinds: dict[tuple[str, str], list[str]] = {}
    for (resource, space), found in verbs.items():
        kinds.setdefault(("/".join(sorted(found, key=VERBS.index)), space), []).append(resource)
    spaces: dict[tuple[str, str], list[str]] = {}
    for (word, space), resources in kinds.items():
        spaces.setdefault((word, ", ".join(resources)), []).append(space)
    return "; ".join(
        f"{word} {resources}" + (f" in {' and '.join(filter(None, where))}" if any(where) else "")
        for (word, resources), where in spaces.items()
    )


def _reading(where: Places) -> Iterator[Right]:
    yield Right(READ, ("list",), "nodes", "labels, addresses and state of the nodes")
    yield Right(READ, ("list",), "pods", "pods that use GPUs, and operands of an earlier version")
    yield Right(READ, ("list",), "daemonsets.apps", "operands, and a second Node Feature Discovery")
    yield Right(READ, ("list",), CRDS, "which operators are there")
    yield Right(READ, ("list",), "runtimeclasses.node.k8s.io", "classes of virtual machines")
    yield Right(READ, ("list",), "clusterpolicies.nvidia.com", "state of the GPU Operator")
    yield Right(
        READ, ("list",), "ccruntimes.confidentialcontainers.org", "state of a CoCo operator, also an earlier one"
    )
    for part, space in where.namespaces.items():
        yield Right(READ, ("get",), "namespaces", "whether it is there and whose release it holds", names=(space,))
        yield Right(READ, ("list",), "deployments.apps", "state of the operators", space)
        if part == "coco_operator":
            yield Right(READ, ("list",), "services", "the metrics service of the operator", space)
        else:
            yield Right(
                READ, ("list",), "secrets", "state and values of the Helm release, which Helm keeps there", space
            )


def _workload(where: Places) -> Iterator[Right]:
    if where.workload:
        why = "the pod of the sample workload"
        yield Right(WORKLOAD, ("get", "list", "watch", "create", "delete"), "pods", why, where.workload)
        yield Right(WORKLOAD, ("get",), "pods/log", "its log", where.workload)
        yield Right(WORKLOAD, ("list",), "events", "why it does not start", where.workload)


def _nodes() -> Iterator[Right]:
    yield Right(DEPLOY, ("get", "list", "watch", "patch"), "nodes", "labels, cordon, and the mark of a maintenance")
    yield Right(DEPLOY, ("get",), "pods", "whether an evicted pod has gone")
    yield Right(DEPLOY, ("create",), "pods/eviction", "drains nodes")
    yield Right(DEPLOY, ("list",), "poddisruptionbudgets.policy", "what a drain must respect")
    yield Right(DEPLOY, ("list", "create"), "events", "why a node is not ready; tells of its maintenance", "default")
    yield Right(DEPLOY, ("list", "watch"), "runtimeclasses.node.k8s.io", "waits for the classes")
    yield Right(DEPLOY, ("list", "watch"), "clusterpolicies.nvidia.com", "waits for the GPU Operator")


def _part(data: Mapping[str, Any], part: str, space: str, name: str) -> Iterator[Right]:
    creates, helm = data["creates"], part in _BY_HELM
    verbs = _CHART_VERBS if helm else _OBJECT_VERBS

    def named(key: str) -> tuple[str, ...]:
        return tuple(one.replace("{name}", name) for one in creates[key])

    why = f"objects of the chart {part.replace('_', '-')}" if helm else "objects of the CoCo operator"
    yield Right(DEPLOY, ("get", "patch"), "namespaces", "allows privileged pods in it", names=(space,))
    for kind in creates["kinds"]:
        yield Right(DEPLOY, _HOOK_VERBS if kind == "jobs.batch" else verbs, kind, why, space)
    for kind in creates["cluster_kinds"]:
        yield Right(DEPLOY, verbs, kind, why)
    yield from _access(verbs, space, why, named("roles"), named("cluster_roles"), named("cluster_role_bindings"))
    if "deployments.apps" in creates["kinds"]:
        yield Right(DEPLOY, ("list", "watch"), "deployments.apps", "waits for the operator", space)
    yield Right(DEPLOY, ("list", "watch"), "daemonsets.apps", "waits for the operands", space)
    yield Right(DEPLOY, ("list",), "events", "why an operand does not start", space)
    if helm:
        yield Right(
            DEPLOY, ("get", "list", "create", "update", "delete"), "secrets", "Helm keeps its releases there", space
        )
        yield Right(DEPLOY, ("get", "delete"), "pods", "operands that are replaced or end on a drained node", space)
    if part == "gpu_operator":
        yield Right(DEPLOY, ("get", "create"), CRDS, "Helm installs the CRDs of the chart")
    if part == "kata_deploy":
        yield Right(DEPLOY, ("list",), "deployments.apps", "the chart looks for Node Feature Discovery")


def _access(
    verbs: tuple[str, ...],
    space: str,
    why: str,
    roles: tuple[str, ...],
    cluster_roles: tuple[str, ...],
    bindings: tuple[str, ...],
) -> Iterator[Right]:
    """RBAC has no names for what is being created; all other verbs are for what the part itself creates."""
    rest = tuple(verb for verb in verbs if verb != "create")
    holds = "a chart may hold roles that are wider than ours" if "delete" in verbs else "its roles are wider than ours"
    for kind, where, names in ((f"roles.{_RBAC}", space, roles), (f"clusterroles.{_RBAC}", "", cluster_roles)):
        yield Right(DEPLOY, ("create",), kind, why, where)
        yield Right(DEPLOY, rest, kind, why, where, names)
        yield Right(DEPLOY, ("escalate",), kind, holds, where)
        yield Right(DEPLOY, ("bind",), kind, "binds its roles to its service accounts", where, names)
    yield Right(DEPLOY, verbs, f"rolebindings.{_RBAC}", why, space)
    yield Right(DEPLOY, ("create",), f"clusterrolebindings.{_RBAC}", why)
    yield Right(DEPLOY, rest, f"clusterrolebindings.{_RBAC}", why, names=bindings)
