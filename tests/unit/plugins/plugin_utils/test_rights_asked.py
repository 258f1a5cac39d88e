# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of rights, how the API is asked for them, and what is granted by their manifests."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _rbac, _releases, _rights
from tests.unit.assess_cluster import CURRENT, api, ask, ask_current, ids

RELEASES = _releases.load()
INSTALLABLE = _releases.installable(RELEASES)
LEGACY = _releases.lookup("23.9")
RBAC = "rbac.authorization.k8s.io"


def rights(release: dict[str, Any], **given: str) -> list[_rights.Right]:
    return _rights.rights(release, _rights.places(release, given, "default"))


def documents(release: dict[str, Any], file: str, **options: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = yaml.safe_load(_rbac.files(release, **options)[file])["items"]
    return items


def rules(items: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """Those that hold in a namespace, as the API server would put them together."""
    return [
        rule
        for item in items
        if item["kind"] == "ClusterRole" or (item["kind"] == "Role" and item["metadata"]["namespace"] == namespace)
        for rule in item["rules"]
    ]


@pytest.mark.parametrize("name", INSTALLABLE)
def test_the_manifests_grant_what_preflight_asks_for_and_nothing_else(name: str) -> None:
    release = _releases.lookup(name)
    wanted = _rights.reviews(rights(release))
    items = documents(release, "rbac-deployer.yml")
    assert [str(one) for one in wanted if not _rights.covered(one, rules(items, one.right.namespace))] == []
    asked = {(one.verb, one.right.resource, one.right.namespace, one.name) for one in wanted}
    granted = {
        (verb, resource + (f".{group}" if group else ""), item["metadata"].get("namespace", ""), name)
        for item in items
        for rule in item.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }
    assert granted == asked


@pytest.mark.parametrize("name", INSTALLABLE)
def test_nothing_is_granted_that_nobody_should_have(name: str) -> None:
    for right in rights(_releases.lookup(name)):
        assert "*" not in (*right.verbs, right.resource), right
        assert right.why
        if right.resource in ("secrets", "configmaps", "serviceaccounts"):
            assert right.namespace, f"{right} is for the whole cluster"
        if right.resource in ("pods", "pods/exec") and {"create", "delete"} & set(right.verbs):
            assert right.namespace, f"{right} is for the whole cluster"
        if "bind" in right.verbs:
            assert right.names, f"{right} lets any role be bound"
        if right.resource in (f"clusterroles.{RBAC}", f"clusterrolebindings.{RBAC}", "namespaces"):
            assert right.names or set(right.verbs) <= {"create", "escalate"}, right


@pytest.mark.parametrize("name", INSTALLABLE)
def test_who_reads_can_do_nothing_else(name: str) -> None:
    for item in documents(_releases.lookup(name), "rbac-reader.yml"):
        for rule in item.get("rules", ()):
            assert set(rule["verbs"]) <= {"get", "list"}, rule


def test_only_the_legacy_release_needs_the_coco_operator() -> None:
    current, legacy = (
        {str(one) for one in _rights.reviews(rights(_releases.lookup(name)))} for name in ("26.7", "23.9")
    )
    one = "create ccruntimes.confidentialcontainers.org"
    assert one in legacy and one not in current
    assert "list ccruntimes.confidentialcontainers.org" in current, "an earlier stack has to be seen"
    assert "patch configmaps kubelet-config in kube-system" in current - legacy


def test_names_and_namespaces_of_the_inventory_count() -> None:
    given = {"gpu_operator_namespace": "nvidia", "gpu_operator_name": "one"}
    items = documents(CURRENT, "rbac-deployer.yml", given=given, workload_namespace="")
    spaces = {item["metadata"].get("namespace") for item in items if item["kind"] == "Role"}
    assert "nvidia" in spaces and "gpu-operator" not in spaces and "kube-system" in spaces
    names = {name for rule in rules(items, "nvidia") if "bind" in rule["verbs"] for name in rule["resourceNames"]}
    assert "one-node-feature-discovery" in names and "kata-deploy-role" in names
    assert not any("pods/log" in rule["resources"] for space in spaces for rule in rules(items, space or ""))


def test_without_a_sample_workload_nobody_gets_rights_for_it() -> None:
    files = _rbac.files(CURRENT, workload_namespace="")
    assert set(files) == {"rbac-reader.yml", "rbac-deployer.yml"}
    assert not any("pods/log" in text for text in files.values())


def test_somebody_else_can_be_given_the_rights() -> None:
    who = {"reader": [{"kind": "Group", "name": "on-call"}]}
    items = documents(CURRENT, "rbac-reader.yml", subjects=who)
    bindings = [item for item in items if item["kind"].endswith("Binding")]
    assert bindings
    for item in bindings:
        assert item["subjects"] == [{"kind": "Group", "name": "on-call", "apiGroup": RBAC}]
    assert documents(CURRENT, "rbac-deployer.yml", subjects=who) == documents(CURRENT, "rbac-deployer.yml")
    for wrong in (
        {"writer": []},
        {"reader": [{"kind": "Group"}]},
        {"reader": [{"kind": "ServiceAccount", "name": "a"}]},
    ):
        with pytest.raises(KatagpuError):
            _rbac.files(CURRENT, subjects=wrong)


RULE = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}


@pytest.mark.parametrize(
    ("verb", "resource", "name", "rule", "expected"),
    [
        ("get", "deployments.apps", "", RULE, True),
        ("list", "deployments.apps", "", RULE, False),
        ("get", "deployments", "", RULE, False),
        ("get", "deployments.apps", "", {**RULE, "resourceNames": ["a"]}, False),
        ("get", "deployments.apps", "a", {**RULE, "resourceNames": ["a"]}, True),
        ("get", "deployments.apps", "b", {**RULE, "resourceNames": ["a"]}, False),
        ("get", "deployments/scale.apps", "", RULE, False),
        ("get", "deployments/scale.apps", "", {**RULE, "resources": ["deployments/scale"]}, True),
        ("get", "deployments/scale.apps", "", {**RULE, "resources": ["*/scale"]}, True),
        ("create", "pods/eviction", "", {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, True),
        ("create", "pods", "", {"nonResourceURLs": ["*"], "verbs": ["*"]}, False),
    ],
)
def test_what_a_rule_allows(verb: str, resource: str, name: str, rule: dict[str, Any], expected: bool) -> None:
    right = _rights.Right(_rights.DEPLOY, (verb,), resource, "because", names=(name,) if name else ())
    assert _rights.covered(_rights.reviews([right])[0], [rule]) is expected


# How the API is asked


def administrator() -> Any:
    cluster = api(version="v1.35.0")
    cluster.rules, cluster.incomplete = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], False
    return cluster


def posts(cluster: Any) -> list[str]:
    return [path.rpartition("/")[2] for method, path in cluster.calls if method == "POST"]


def test_one_question_for_each_namespace_is_enough_where_rules_say_everything() -> None:
    cluster = administrator()
    assert "permissions" not in ids(ask_current(cluster, workload_namespace="default"))
    assert posts(cluster) == ["selfsubjectrulesreviews"] * 5


def test_where_others_decide_too_each_right_is_asked_for() -> None:
    cluster = api(version="v1.35.0")
    answer = ask_current(cluster, workload_namespace="default")
    assert "permissions" not in ids(answer)
    assert posts(cluster).count("selfsubjectaccessreviews") == len(
        _rights.asked(CURRENT, _rights.places(CURRENT, {}, "default"), "deploy")
    )
    assert answer["permissions"]["bind clusterroles.rbac.authorization.k8s.io gpu-operator"] is True


def test_a_right_that_no_rule_gives_is_missing() -> None:
    cluster = administrator()
    cluster.rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    answer = ask_current(cluster)
    assert ids(answer)[-1] == "permissions"
    (text,) = [item["message"] for item in answer["findings"] if item["id"] == "permissions"]
    assert "patch nodes" in text and "create/update/delete secrets in gpu-operator and kata-system" in text
    assert "list nodes" not in text and len(text) < 2000


READING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
WORKLOAD = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete"]}
LABELS = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}


@pytest.mark.parametrize(
    ("access", "rules", "expected"),
    [
        ("read", READING, "info"),
        ("read", [*READING, {**WORKLOAD, "verbs": ["create"]}], "info"),
        ("read", [*READING, LABELS], "block"),
        ("read", [], "block"),
        ("verify", READING, "block"),
        ("verify", [*READING, WORKLOAD], ""),
        ("deploy", READING, "block"),
    ],
)
def test_what_is_missing_matters_by_what_the_run_does(access: str, rules: list[dict[str, Any]], expected: str) -> None:
    cluster = administrator()
    cluster.rules = rules
    answer = ask_current(cluster, access=access, workload_namespace="default")
    found = {item["id"]: item for item in answer["findings"]}.get("permissions")
    assert (found["severity"] if found else "") == expected
    if access == "verify" and found:
        assert "set verify_workload_enabled to false" in found["message"]


def test_new_namespaces_are_a_right_only_where_one_is_missing() -> None:
    cluster = administrator()
    cluster.rules = [dict(one) for one in READING]
    assert "create namespaces" in ask_current(cluster)["permissions"]
    there = {f"/api/v1/namespaces/{name}": {"metadata": {"name": name}} for name in ("gpu-operator", "kata-system")}
    assert "create namespaces" not in ask_current(api(version="v1.35.0", **there))["permissions"]


def read(cluster: Any, kind: str) -> set[str]:
    """The namespaces in which it was listed."""
    return {path.split("/")[4] for method, path in cluster.calls if method == "GET" and path.endswith(f"/{kind}")}


def test_secrets_are_read_where_helm_has_its_releases_and_nowhere_else() -> None:
    legacy = api()
    ask(legacy)
    assert read(legacy, "secrets") == {"gpu-operator"}
    assert read(legacy, "services") == {"confidential-containers-system"}
    current = api(version="v1.35.0")
    ask_current(current)
    assert (read(current, "secrets"), read(current, "services")) == ({"gpu-operator", "kata-system"}, set())


def test_two_parts_may_be_in_one_namespace() -> None:
    """The rights for both are asked for there, and what is read for both is read there."""
    given = {"gpu_operator_namespace": "stack", "coco_operator_namespace": "stack"}
    shared = api()
    ask(shared, **given)
    assert read(shared, "secrets") == read(shared, "services") == {"stack"}
    asked = {str(one) for one in _rights.asked(LEGACY, _rights.places(LEGACY, given), "verify")}
    assert {"list secrets in stack", "list services in stack"} <= asked
