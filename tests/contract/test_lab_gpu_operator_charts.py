# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's charts of the GPU Operator against the fact tables of their releases, object by object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.contract.lab_charts import CHARTS, helm, leaves, observed_form, only, render, schema_at, values
from tests.contract.lab_charts import at as value_at
from tests.lab.standins import facts, gpu_objects, gpu_operator
from tests.lab.standins.actions import Create

GPU = "feature.node.kubernetes.io/pci-10de.present"


@dataclass(frozen=True)
class Release:
    table: str
    chart: str
    crd: str
    settings: tuple[str, ...]


RELEASES = {
    "23.9": Release(
        facts.GPU_OPERATOR,
        "gpu-operator-v23.9.2",
        "nvidia.com_clusterpolicies_crd.yaml",
        ("sandboxWorkloads.enabled=true", "kataManager.enabled=true"),
    ),
    "26.7": Release(
        facts.GPU_OPERATOR_26,
        "gpu-operator-v26.7.0",
        "nvidia.com_clusterpolicies.yaml",
        ("sandboxWorkloads.enabled=true", "sandboxWorkloads.mode=kata"),
    ),
}
every_release = pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[dict[str, Any]]]:
    return {one.table: render(one.chart, "gpu-operator", "gpu-operator", *one.settings) for one in RELEASES.values()}


@every_release
def test_value_keys_of_the_chart_are_upstreams(release: Release) -> None:
    given = values(release.chart)
    expected = set(facts.value(release.table, "values.keys"))
    blocks = {key.partition(".")[0] for key in expected}
    have = leaves({key: value for key, value in given.items() if key in blocks})
    assert expected - have == set(), "keys that upstream has"
    assert have - expected == set(), "keys that upstream does not have"


def test_defaults_that_decide_are_upstreams() -> None:
    """values.kata-manager, values.sandbox"""
    old = RELEASES["23.9"]
    assert values(old.chart)["kataManager"] == facts.value(old.table, "values.kata-manager")
    new = RELEASES["26.7"]
    for path, wanted in facts.value(new.table, "values.sandbox").items():
        assert value_at(values(new.chart), path) == wanted, path


@every_release
def test_identity_of_the_chart_and_its_subchart(release: Release) -> None:
    """chart.identity, chart.nfd"""
    chart = yaml.safe_load((CHARTS / release.chart / "Chart.yaml").read_text(encoding="utf-8"))
    identity = facts.value(release.table, "chart.identity")
    assert {key: chart[key] for key in identity} == identity
    fact = facts.value(release.table, "chart.nfd")
    dependency = chart["dependencies"][0]
    assert dependency == {key: fact[key] for key in dependency}
    sub = yaml.safe_load((CHARTS / release.chart / "charts" / fact["name"] / "Chart.yaml").read_text(encoding="utf-8"))
    assert (sub["version"], sub["appVersion"]) == (fact["version"], fact["appVersion"])


@every_release
def test_schema_of_cluster_policy(release: Release) -> None:
    """crd.cluster-policy, crd.enums, crd.blocks"""
    path = CHARTS / release.chart / "crds" / release.crd
    crd = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
    fact = facts.value(release.table, "crd.cluster-policy")
    assert (crd["group"], crd["scope"], crd["names"]["plural"]) == (fact["group"], fact["scope"], fact["plural"])
    top = crd["versions"][0]["schema"]["openAPIV3Schema"]
    assert sorted(top["properties"]["spec"]["required"]) == fact["required"]
    for field, allowed in facts.value(release.table, "crd.enums").items():
        full = field if field.startswith("status.") else f"spec.{field}"
        assert schema_at(top, full)["enum"] == allowed, field
    fields = facts.value(release.table, "status.no-observed-generation")
    assert sorted(schema_at(top, "status")["properties"]) == fields
    blocks = facts.find(release.table, "crd.blocks", None)
    assert blocks is None or sorted(top["properties"]["spec"]["properties"]) == blocks


def test_artifacts_of_a_kata_class_need_a_url() -> None:
    """crd.kata-manager.artifacts-url-required"""
    old = RELEASES["23.9"]
    crd = yaml.safe_load((CHARTS / old.chart / "crds" / old.crd).read_text(encoding="utf-8"))["spec"]
    top = crd["versions"][0]["schema"]["openAPIV3Schema"]
    classes = schema_at(top, "spec.kataManager.config.runtimeClasses")["items"]
    required = facts.value(old.table, "crd.kata-manager.artifacts-url-required")
    assert classes["properties"]["artifacts"]["required"] == required


@every_release
def test_policy_has_only_blocks_that_the_schema_knows(
    release: Release, rendered: dict[str, list[dict[str, Any]]]
) -> None:
    policy = only(rendered[release.table], "ClusterPolicy")
    path = CHARTS / release.chart / "crds" / release.crd
    top = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert set(policy["spec"]) <= set(top["properties"]["spec"]["properties"])
    for field, allowed in facts.value(release.table, "crd.enums").items():
        if not field.startswith("status.") and gpu_objects.at(policy["spec"], field) is not None:
            assert gpu_objects.at(policy["spec"], field) in allowed, field


@every_release
def test_daemonsets_are_those_that_the_real_controller_made(
    release: Release, rendered: dict[str, list[dict[str, Any]]]
) -> None:
    """Rows daemonset.* that were observed, one object after the other."""
    policy = only(rendered[release.table], "ClusterPolicy")
    policy["metadata"]["uid"] = "u"
    seen = gpu_operator.GpuState(
        table=release.table,
        policy=policy,
        nodes=[{"metadata": {"name": "n", "labels": {GPU: "true"}}}],
        namespace="gpu-operator",
        now="now",
    )
    made = [
        one.body for one in gpu_operator.reconcile(seen) if isinstance(one, Create) and one.body["kind"] == "DaemonSet"
    ]
    made += [one for one in rendered[release.table] if one["kind"] == "DaemonSet"]
    expected = {
        row["value"]["name"]: row["value"]
        for row_id, row in facts.rows(release.table).items()
        if row_id.startswith("daemonset.") and row.get("observed")
    }
    assert sorted(one["metadata"]["name"] for one in made) == sorted(expected)
    for item in made:
        form = observed_form(item)
        fact = {key: value for key, value in expected[form["name"]].items() if key in form}
        assert form == fact, form["name"]
        assert item["spec"]["template"]["spec"]["serviceAccountName"]


@every_release
def test_operator_deployment_and_policy_name(release: Release, rendered: dict[str, list[dict[str, Any]]]) -> None:
    """deployment.gpu-operator"""
    fact = facts.value(release.table, "deployment.gpu-operator")
    found = only(rendered[release.table], "Deployment", fact["name"])
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert fact["pod_labels"].items() <= labels.items()
    containers = found["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in containers] == fact["containers"]
    assert containers[0]["image"] == fact.get("image", "nvcr.io/nvidia/gpu-operator:v23.9.2")
    policy = only(rendered[release.table], "ClusterPolicy")
    assert policy["metadata"]["name"] == facts.value(release.table, "crd.cluster-policy")["name"]


@every_release
def test_nfd_can_be_left_out(release: Release) -> None:
    objects = render(release.chart, "x", "x", "nfd.enabled=false")
    assert not [one for one in objects if one["kind"] == "DaemonSet"]


def test_rules_of_nfd_come_on_request_and_say_nothing_about_cc(rendered: dict[str, list[dict[str, Any]]]) -> None:
    new = RELEASES["26.7"]
    assert not [one for one in rendered[new.table] if one["kind"] == "NodeFeatureRule"]
    rule = only(render(new.chart, "x", "x", "nfd.nodefeaturerules=true"), "NodeFeatureRule")
    assert rule["metadata"]["name"] == "nvidia-kernel-modules" and "nvidia.com/cc.capable" not in str(rule)


def test_hooks_of_the_current_chart(rendered: dict[str, list[dict[str, Any]]]) -> None:
    """chart.hooks, chart.nfd-prune"""
    new = RELEASES["26.7"]
    objects = render(new.chart, "gpu-operator", "gpu-operator", "operator.cleanupCRD=true")
    for name, fact in facts.value(new.table, "chart.hooks").items():
        job = only(objects, "Job", name)
        assert job["metadata"]["annotations"]["helm.sh/hook"] == fact["hook"]
        assert [one["name"] for one in job["spec"]["template"]["spec"]["containers"]] == [fact["container"]]
    names = {one["metadata"]["name"] for one in rendered[new.table] if one["kind"] == "Job"}
    assert "gpu-operator-cleanup-crd" not in names
    prune = facts.value(new.table, "chart.nfd-prune")
    pod = only(objects, "Job", "gpu-operator-node-feature-discovery-prune")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert (container["name"], container["args"]) == (prune["container"], [prune["argument"]])
    assert pod["metadata"]["labels"]["role"] == "prune"


@pytest.mark.parametrize(
    "settings",
    [
        "gpuCluster.deployCR=true",
        "cdi.nriPluginEnabled=true,cdi.enabled=false",
        "cdi.nriPluginEnabled=true,toolkit.enabled=false",
    ],
)
def test_what_the_current_chart_refuses(settings: str) -> None:
    assert helm("template", "x", str(CHARTS / RELEASES["26.7"].chart), "--set", settings).returncode != 0


def test_images_of_the_current_policy_tell_the_node_side_what_they_are(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    """values.sandbox, validator.image"""
    new = RELEASES["26.7"]
    spec = only(rendered[new.table], "ClusterPolicy")["spec"]
    assert gpu_objects.image(spec["vfioManager"]) == "nvcr.io/nvidia/cloud-native/k8s-driver-manager:v0.12.0"
    validator = facts.value(new.table, "validator.image")
    assert gpu_objects.image(spec["validator"]) == f"{validator}:v26.7.0"
    assert spec["ccManager"]["defaultMode"] == "on" and spec["sandboxWorkloads"]["mode"] == "kata"
