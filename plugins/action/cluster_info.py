# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import (
    Api,
    ApiError,
    ApiUnreachable,
    KubernetesApi,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _cluster_read, _helm, _releases, _rights
from ansible_collections.katagpu.cluster.plugins.plugin_utils._arguments import accepted_findings, release_of
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import cluster, rolls, workloads
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.cluster_view import ClusterView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.stack import generation
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.verify_cluster import checks_of
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding, accept

ARGUMENTS: dict[str, Any] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "release": {"type": "raw"},
    "releases": {"type": "dict", "default": {}},
    "accepted": {"type": "list", "elements": "dict", "default": []},
    "nodes": {"type": "dict", "default": {}},
    "namespaces": {"type": "list", "elements": "str"},
    "objects": {"type": "list", "elements": "dict", "default": []},
    "helm": {"type": "list", "elements": "dict", "default": []},
    "permissions": {"type": "bool", "default": True},
    "access": {"type": "str", "default": "deploy", "choices": ["read", "verify", "deploy"]},
    "workload_namespace": {"type": "str"},
    "default_workload": {"type": "str", "default": "container", "choices": ["container", "vm-passthrough"]},
    "gpu_operator_namespace": {"type": "str"},
    "coco_operator_namespace": {"type": "str"},
    "kata_deploy_namespace": {"type": "str"},
    "gpu_operator_name": {"type": "str"},
    "kata_deploy_name": {"type": "str"},
    "kata_selector": {"type": "dict"},
    "tolerations": {"type": "dict", "default": {}},
    "workload_memory_mib": {"type": "int"},
    "verify": {"type": "bool", "default": False},
    "eligible": {"type": "list", "elements": "str"},
    "protect": {"type": "bool", "default": False},
    "require_install": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs where the playbook runs; no module is sent anywhere."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        try:
            release = release_of(arguments["release"], arguments["releases"])
            accepted = accepted_findings(arguments["accepted"])
            # Consent is asked for before the run begins, see controller_check.
            refusal = _releases.refusal(release, _releases.load(arguments["releases"]), consent=release["name"])
        except KatagpuError as error:
            return {**result, "failed": True, "msg": str(error)}
        if refusal:
            if arguments["require_install"]:
                found = [Finding("release", BLOCK, refusal, fix="choose a supported release (katagpu_release).")]
                return {**result, **answer_without_api(found, {})}
            return {**result, "failed": True, "msg": refusal}
        try:
            api = KubernetesApi(arguments["kubeconfig"], arguments["context"])
            return {**result, **inform(api, release, arguments, accepted)}
        except ApiUnreachable as error:
            return {**result, **answer_without_api([_unreachable(str(error))], accepted)}
        except ApiError as error:
            if error.status != 401:
                return {**result, "failed": True, "msg": f"The Kubernetes API refused a request: {error}"}
            return {
                **result,
                **answer_without_api([_unreachable(f"The API refuses the credentials: {error}")], accepted),
            }
        except KatagpuError as error:
            return {**result, "failed": True, "msg": str(error)}


def inform(
    api: Api, release: Mapping[str, Any], arguments: Mapping[str, Any], accepted: Mapping[str, str]
) -> dict[str, Any]:
    """Everything but the credentials; C(api) may be anything that answers like one."""
    named: dict[str, Any] = {name: dict(entry or {}) for name, entry in (arguments.get("nodes") or {}).items()}
    where = _rights.places(release, arguments, str(arguments.get("workload_namespace") or ""))
    places = {part: where.namespaces.get(part, "") for part in _rights.PARTS}
    wanted_helm = arguments.get("helm") or []
    of_manifests = {places["coco_operator"]} - {""}
    spaces = {places["gpu_operator"], places["kata_deploy"], *(arguments.get("namespaces") or [])} - {""}
    spaces |= {str(item["namespace"]) for item in wanted_helm if item.get("namespace")}
    access = str(arguments.get("access") or "deploy")
    needed = _rights.asked(release, where, access) if arguments.get("permissions", True) else []
    read = _cluster_read.read(api, spaces, needed, of_manifests)
    selector = arguments.get("kata_selector") or {}
    facts = _cluster_read.facts_of(read, selector)
    raw_helm = [item for space in read["namespaces"] for item in _helm.latest(read["raw"].get(f"helm {space}", ()))]
    helm = [_helm.verdict(item, raw_helm, facts["adopted"]) for item in wanted_helm]
    names = {part: where.names.get(part, "") for part in ("gpu_operator", "kata_deploy")}
    eligible = arguments.get("eligible")
    view = ClusterView(
        facts,
        named,
        release,
        default_workload=str(arguments.get("default_workload") or "container"),
        helm=tuple(helm),
        eligible=None if eligible is None else frozenset(map(str, eligible)),
        protect=bool(arguments.get("protect")),
        kata_selector=selector,
        tolerations={part: value for part, value in (arguments.get("tolerations") or {}).items() if value is not None},
        workload_memory_mib=int(arguments.get("workload_memory_mib") or 0),
        operator_release=f"{places['gpu_operator']}/{names['gpu_operator']}" if names["gpu_operator"] else "",
        kata_release=f"{places['kata_deploy']}/{names['kata_deploy']}" if names["kata_deploy"] else "",
        access=access,
    )
    findings = accept([finding for judge in cluster.JUDGES for finding in judge(view)], accepted)
    kept = {
        name: {key: value for key, value in node.items() if key != "nfd"}
        for name, node in view.nodes.items()
        if name in named or view.is_gpu_node(name)
    }
    return {
        **_shape(findings),
        "reachable": True,
        **{key: value for key, value in facts.items() if key not in ("nodes", "helm_releases", "rights")},
        "nodes": kept,
        "helm_releases": [{k: v for k, v in item.items() if k != "values"} for item in facts["helm_releases"]],
        "missing_nodes": view.missing,
        "foreign_gpu_nodes": view.foreign_gpu_nodes,
        "named": workloads.named(view),
        "unprotected": workloads.unprotected(view),
        "to_protect": workloads.to_protect(view),
        "labelled_not_eligible": workloads.labelled_not_eligible(view),
        "generation": generation(view),
        "objects": _cluster_read.object_verdicts(api, arguments.get("objects") or []),
        "helm": helm,
        "plan": cluster.plan(view),
        "rolls": rolls.rolls(view),
        "checks": checks_of(view, places) if arguments.get("verify") else [],
        "requests": api.requests,
    }


def answer_without_api(findings: list[Finding], accepted: Mapping[str, str]) -> dict[str, Any]:
    """The same shape, so that what follows need not ask which of the keys are there."""
    return {
        **_shape(accept(findings, accepted)),
        "reachable": False,
        "server_version": "",
        **{
            key: {}
            for key in (
                "nodes",
                "named",
                "runtime_classes",
                "cc_runtimes",
                "cluster_policies",
                "daemonsets",
                "outdated_pods",
                "deployments",
                "services",
                "permissions",
            )
        },
        **{
            key: []
            for key in (
                "crds",
                "helm_releases",
                "gpu_pods",
                "denied",
                "nfd",
                "adopted",
                "missing_nodes",
                "foreign_gpu_nodes",
                "unprotected",
                "to_protect",
                "labelled_not_eligible",
                "objects",
                "helm",
                "checks",
            )
        },
        "generation": {"name": "unknown", "evidence": [], "charts": [], "kata_deploy": False, "legacy": []},
        "plan": {"node_labels": {}, "coco_operator": {}, "kata_deploy": {}, "gpu_operator": {}},
        "rolls": {},
        "requests": 0,
    }


def _shape(findings: list[Finding]) -> dict[str, Any]:
    """A block that names a node ends that node; one that names none ends the run."""
    stopping = [finding for finding in findings if finding.stops]
    return {
        "changed": False,
        "findings": [finding.as_dict() for finding in findings],
        "summary": {
            "blocked": any(not finding.node for finding in stopping),
            "blocked_nodes": sorted({finding.node for finding in stopping if finding.node}),
            "messages": [finding.message() for finding in stopping],
        },
    }


def _unreachable(reason: str) -> Finding:
    return Finding(
        "api_unreachable",
        BLOCK,
        reason.rstrip(".") + ".",
        "Nothing about the cluster is known.",
        "check katagpu_kubeconfig and katagpu_context (or K8S_AUTH_KUBECONFIG and K8S_AUTH_CONTEXT), and the network.",
        ("kubectl --kubeconfig ... get --raw /version",),
    )
