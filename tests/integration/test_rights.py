# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights that the collection contains, on a real API server: what they are enough for, and what they do not let anybody do.

The control plane runs alone. What needs nodes is in the end-to-end tests, which run with the same rights.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts, _releases
from tests.integration import bare, lab
from tests.integration.refusals.case import inventory
from tests.lab.controlplane import rights
from tests.lab.scene import CHARTS, UPSTREAM, Scene

READER, DEPLOYER = rights.USERS
PLAYBOOK = lab.REPOSITORY / "tests" / "integration" / "playbooks" / "apply_manifests.yml"
SHIPPED = lab.REPOSITORY / "roles" / "preflight" / "files"
CURRENT, LEGACY = _releases.lookup("26.7"), _releases.lookup("23.9")


@pytest.fixture(scope="module", autouse=True)
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with bare.control_plane(tmp_path_factory.mktemp("baseline")):
        yield


def run(playbook: str, folder: Path, user: str, *arguments: str) -> tuple[lab.PlaybookRun, dict[str, Any]]:
    """On the inventory of the refusals, with the findings by id."""
    hosts = inventory(folder)
    hosts["all"]["vars"]["katagpu_kubeconfig"] = str(rights.kubeconfig_of(user))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "hosts.yml"
    file.write_text(yaml.safe_dump(hosts), encoding="utf-8")
    done = lab.playbook(playbook, "--limit", "localhost,container-1", *arguments, inventory=file)
    report = folder / "report" / "report.json"
    found = json.loads(report.read_text(encoding="utf-8"))["findings"] if report.exists() else []
    return done, {item["id"]: item for item in found}


def may(user: str, *words: str) -> bool:
    """Asked by the administrator for somebody else, so that it is not in the log of what that user did."""
    command = [
        str(lab.STATE / "bin" / "kubectl"),
        "--kubeconfig",
        str(lab.STATE / "kubeconfig"),
        "auth",
        "can-i",
        *words,
    ]
    done = subprocess.run([*command, "--as", rights.ACCOUNTS[user]], capture_output=True, text=True, check=False)
    assert done.stdout.strip() in ("yes", "no"), done.stderr
    return done.stdout.strip() == "yes"


# What they are enough for


def test_the_reader_runs_preflight_and_is_told_what_it_is_not_enough_for(tmp_path: Path) -> None:
    done, found = run("preflight", tmp_path, READER)
    assert done.returncode == 0, done.output
    assert found["permissions"]["severity"] == "info"
    assert "may only read" in found["permissions"]["message"]


def test_the_deployer_lacks_nothing(tmp_path: Path) -> None:
    for release in ("26.7", "23.9"):
        done, found = run("preflight", tmp_path / release, DEPLOYER, "-e", f"katagpu_release={release}")
        assert found and "permissions" not in found, done.output


def test_the_reader_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    done, _ = run("cluster", tmp_path, READER)
    text = " ".join(done.output.split())
    assert done.returncode != 0 and "[permissions][block] the credentials may not: " in text, done.output
    assert "nodes" in text and "katagpu.cluster.rbac" in text
    assert not any(done.changed.values())


def test_the_sample_workload_is_a_right_of_its_own(tmp_path: Path) -> None:
    refused, _ = run("verify", tmp_path, READER)
    text = " ".join(refused.output.split())
    assert "create/delete pods in default" in text
    assert "set verify_workload_enabled to false" in text, refused.output
    _, found = run("verify", tmp_path / "without", READER, "-e", "verify_workload_enabled=false")
    assert found and "permissions" not in found
    manifest = str(SHIPPED / "rbac-workload.yml")
    lab.kubectl("apply", "-f", manifest)
    try:
        _, found = run("verify", tmp_path / "with", READER)
        assert found and "permissions" not in found
        assert may(READER, "create", "pods", "-n", "default") and not may(READER, "create", "pods", "-n", "kube-system")
    finally:
        lab.kubectl("delete", "-f", manifest)


# What they are not enough for


@pytest.mark.parametrize(
    "words",
    [
        "patch nodes",
        "create pods -n other",
        "create pods -n default",
        "delete pods -n gpu-operator",
        "create secrets -n gpu-operator",
        "list secrets",
        "list secrets -n default",
        "get nodes --subresource=proxy",
        "create serviceaccounts --subresource=token -n gpu-operator",
        "impersonate users",
    ],
)
def test_the_reader_may_not(words: str) -> None:
    assert not may(READER, *words.split())


@pytest.mark.parametrize(
    "words",
    [
        "list secrets",
        "get secrets -n default",
        "get secrets -n kube-system",
        "delete pods -n other",
        "delete pods -n kube-system",
        "create pods -n kube-system",
        "create pods --subresource=exec -n gpu-operator",
        "create serviceaccounts --subresource=token -n gpu-operator",
        "delete nodes",
        "get nodes --subresource=proxy",
        "delete namespaces",
        "patch namespaces/kube-system",
        "patch namespaces/default",
        "create daemonsets.apps -n kube-system",
        "patch configmaps/coredns -n kube-system",
        "bind clusterroles/cluster-admin",
        "patch clusterroles/cluster-admin",
        "delete clusterrolebindings/cluster-admin",
        "patch clusterrolebindings/cluster-admin",
        "delete customresourcedefinitions.apiextensions.k8s.io",
        "create validatingwebhookconfigurations",
        "impersonate users",
        "* *",
    ],
)
def test_the_deployer_may_not(words: str) -> None:
    assert not may(DEPLOYER, *words.split())


def test_the_questions_can_be_answered_with_yes() -> None:
    assert may(DEPLOYER, "list", "secrets", "-n", "gpu-operator") and may(DEPLOYER, "bind", "clusterroles/gpu-operator")
    assert may(READER, "list", "secrets", "-n", "kata-system")
    assert may(DEPLOYER, "create", "pods", "--subresource=eviction", "-n", "other")


# Helm, and manifests


NEWER = """
import sys, yaml
items = [one for one in yaml.safe_load_all(sys.stdin) if one]
for one in items:
    one["metadata"].setdefault("annotations", {})["example.com/newer"] = "yes"
print(yaml.safe_dump_all(items))
"""


def test_manifests_of_an_operator_are_applied_and_changed(tmp_path: Path) -> None:
    """All of them, also those that the role applies only when the operator runs."""
    folder = UPSTREAM / "coco-operator-v0.7.0" / "config"
    with Scene(tmp_path) as scene:
        before = scene.crds()
        try:
            for labels in ({}, {"example.com/newer": "yes"}):
                content = {
                    "resources": [
                        os.path.relpath(folder / part, tmp_path) for part in ("release", "samples/ccruntime/default")
                    ],
                    "labels": [{"pairs": labels}] if labels else [],
                }
                (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
                done, _ = run(str(PLAYBOOK), tmp_path, DEPLOYER, "-e", f"manifests={tmp_path}")
                assert done.returncode == 0 and done.changed["localhost"], done.output
        finally:
            # The namespace stays, with the rights in it.
            built = yaml.safe_load_all(lab.kubectl("kustomize", str(tmp_path)))
            kept = ("Namespace", "CustomResourceDefinition", "CcRuntime")
            rest = tmp_path / "rest.yaml"
            rest.write_text(yaml.safe_dump_all(one for one in built if one["kind"] not in kept), encoding="utf-8")
            lab.kubectl("delete", "-f", str(rest), "--ignore-not-found")
            scene.remove_crds(before)


def helm(*arguments: str) -> str:
    command = [str(lab.STATE / "bin" / "helm"), "--kubeconfig", str(rights.kubeconfig_of(DEPLOYER)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def impersonating_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """By the administrator in the place of the deployer, because what the deployer is refused counts as a mistake of ours."""
    who = ["--kubeconfig", str(lab.STATE / "kubeconfig"), "--kube-as-user", rights.ACCOUNTS[DEPLOYER]]
    command = [str(lab.STATE / "bin" / "helm"), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def cases() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for release in (CURRENT, LEGACY):
        part = release["gpu_operator"]
        yield f"gpu-operator-{part['chart_version']}", part["name"], part["namespace"], part["values"]
    part = CURRENT["kata_deploy"]
    for mode in ("daemonset", "job"):
        values = _charts.kata_deploy_values(CURRENT, "k8s", part["node_selector"], [], {"deploymentMode": mode})
        yield f"kata-deploy-{part['chart_version']}", part["name"], part["namespace"], values


@pytest.mark.parametrize(
    ("chart", "name", "namespace", "values"), list(cases()), ids=["26.7", "23.9", "kata", "kata-jobs"]
)
def test_helm_installs_repairs_changes_and_removes(
    chart: str, name: str, namespace: str, values: dict[str, Any], tmp_path: Path
) -> None:
    """The hooks of the charts need a node; the end-to-end tests run them."""
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    rest = [str(CHARTS / chart), "-n", namespace, "-f", str(file), "--no-hooks"]
    # As if a newer chart had something else to say of every object.
    newer = tmp_path / "newer"
    newer.write_text(f"#!{sys.executable}\n{NEWER}", encoding="utf-8")
    newer.chmod(0o755)
    with Scene(tmp_path) as scene:
        before = scene.crds()
        try:
            helm("install", name, *rest)
            helm("upgrade", name, *rest, "--force")
            helm("upgrade", name, *rest, "--post-renderer", str(newer))
            helm("upgrade", name, *rest, "--set", "nfd.enabled=false")
        finally:
            helm("uninstall", name, "-n", namespace, "--no-hooks")
            scene.remove_crds(before)
            for kind, prefix in (("clusterrole", "kata-deploy"), ("clusterrolebinding", "kata-deploy")):
                # The chart keeps them for its hook.
                for item in lab.kubectl_json("get", kind)["items"]:
                    if item["metadata"]["name"].startswith(prefix):
                        lab.kubectl("delete", kind, item["metadata"]["name"])
    assert name not in helm("list", "-n", namespace, "-o", "json")


@contextlib.contextmanager
def changed_rights(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Iterator[None]:
    """The ClusterRole of the deployer with other rules for a while."""
    role = lab.kubectl_json("get", "clusterrole", DEPLOYER)
    before = role["rules"]
    lab.kubectl("patch", "clusterrole", DEPLOYER, "--type=merge", "-p", json.dumps({"rules": change(before)}))
    try:
        yield
    finally:
        lab.kubectl("patch", "clusterrole", DEPLOYER, "--type=merge", "-p", json.dumps({"rules": before}))


def without(verb: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**rule, "verbs": kept} for rule in rules if (kept := [one for one in rule["verbs"] if one != verb])]


def only_by_name(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As if a name could be given to what is being created."""
    names = CURRENT["gpu_operator"]["creates"]["cluster_roles"]
    (group,) = {rule["apiGroups"][0] for rule in rules if "escalate" in rule["verbs"]}
    named = {"apiGroups": [group], "resources": ["clusterroles"], "resourceNames": names, "verbs": ["escalate"]}
    return [*without("escalate", rules), named]


NOT_HELD = "is attempting to grant RBAC permissions not currently held"


# Both are as good as an administrator's rights, so there has to be a reason for each.
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rules: rules, ""),
        (lambda rules: without("escalate", rules), NOT_HELD),
        (only_by_name, NOT_HELD),
        (lambda rules: without("bind", rules), NOT_HELD),
    ],
    ids=["all of them", "without escalate", "escalate by name", "without bind"],
)
def test_the_operator_cannot_be_installed_without_the_widest_rights(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], told: str, tmp_path: Path
) -> None:
    part = CURRENT["gpu_operator"]
    file = tmp_path / "values.json"
    file.write_text(json.dumps(part["values"]), encoding="utf-8")
    chart = CHARTS / f"gpu-operator-{part['chart_version']}"
    with Scene(tmp_path) as scene:
        before = scene.crds()
        scene.callback(scene.remove_crds, before)
        scene.callback(
            lab.lab, "helm", "uninstall", part["name"], "-n", part["namespace"], "--no-hooks", "--ignore-not-found"
        )
        with changed_rights(change):
            words = [part["name"], str(chart), "-n", part["namespace"], "-f", str(file), "--no-hooks"]
            done = impersonating_helm("install", *words)
    assert (done.returncode != 0) is bool(told) and told in done.stderr, done.stderr


def test_an_operator_that_wants_more_than_its_own_roles_is_refused(tmp_path: Path) -> None:
    """A role of any other name can be made, and nobody can be bound to it."""
    meta = {"name": "somebody-elses"}
    scene_role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta, "rules": []}
    with Scene(tmp_path) as scene:
        scene.create(scene_role)
        assert not may(DEPLOYER, "bind", "clusterroles/somebody-elses")
