# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights of the collection against the facts about the charts, the lab's charts, and the manifests that are shipped."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts, _releases
from tests.contract.lab_charts import CHARTS, render
from tests.contract.test_release_values import CHARTED, INSTALLABLE, RELEASES, table
from tests.docs import rbac
from tests.lab.standins import facts
from tests.upstream import rights

PARTS = [(name, part) for name, part in CHARTED if name in INSTALLABLE]
OF_ACCESS = {"Role": "roles", "ClusterRole": "cluster_roles", "ClusterRoleBinding": "cluster_role_bindings"}
IN_CLUSTER = ("ClusterPolicy", "NodeFeatureRule", "RuntimeClass")
GROUPS = {"DaemonSet": "apps/v1", "Deployment": "apps/v1", "Job": "batch/v1"}


def stem(release: dict[str, Any], part: str) -> str:
    return table(release, part) + (".chart" if part == "kata_deploy" else "")


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_what_a_chart_writes_is_what_the_release_says(name: str, part: str) -> None:
    """chart.objects"""
    release = RELEASES[name]
    row, creates = facts.value(stem(release, part), "chart.objects"), release[part]["creates"]
    plain = [kind for kind in row["kinds"] if kind not in (*OF_ACCESS, "RoleBinding")]
    assert {rights.resource(kind) for kind in plain if kind in IN_CLUSTER} == set(creates["cluster_kinds"])
    namespaced = {rights.resource(kind, GROUPS.get(kind, "v1")) for kind in plain if kind not in IN_CLUSTER}
    assert namespaced == set(creates["kinds"])
    for kind, key in OF_ACCESS.items():
        names = [one.replace("{name}", release[part]["name"]) for one in creates[key]]
        assert sorted(names) == sorted(row[kind]), kind


def test_what_the_coco_operator_writes_is_what_the_release_says() -> None:
    """release.objects"""
    release = _releases.lookup("23.9")
    listed = [one.split("/") for one in facts.value(facts.COCO_OPERATOR, "release.objects")]
    creates = release["coco_operator"]["creates"]
    for kind, key in OF_ACCESS.items():
        assert sorted(one[-1] for one in listed if one[0] == kind) == sorted(creates[key])
    known = {"Namespace", "CustomResourceDefinition", "RoleBinding", *OF_ACCESS}
    kinds = {rights.resource(one[0], GROUPS.get(one[0], "v1")) for one in listed if one[0] not in known}
    assert kinds == set(creates["kinds"])


@pytest.mark.parametrize(("name", "part"), [one for one in PARTS if one[0] in ("26.7", "23.9")])
def test_the_charts_of_the_lab_can_be_installed_with_them(name: str, part: str) -> None:
    release = RELEASES[name]
    data = release[part]
    chart = f"{part.replace('_', '-')}-{data['chart_version']}"
    settings: list[list[str]] = [[], ["deploymentMode=job"]] if part == "kata_deploy" else [[]]
    for given in settings:
        values = data["values"]
        if part == "kata_deploy":
            values = _charts.kata_deploy_values(release, "k8s", data["node_selector"], [], {})
        flags = [f"{key}={value}" for key, value in _flat(values)]
        objects = render(chart, data["name"], data["namespace"], *flags, *given)
        files = (CHARTS / chart / "crds").glob("*.yaml")
        crds = [one for file in files for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one]
        assert len(objects) > 5 and rights.uncovered(release, part, [*objects, *crds]) == []


def _flat(values: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        where = path + key.replace(".", "\\.")
        if isinstance(value, dict):
            found += _flat(value, f"{where}.")
        elif not isinstance(value, list):
            found.append((where, str(value).lower() if isinstance(value, bool) else str(value)))
    return found


def test_an_object_that_nobody_foresaw_is_found() -> None:
    release = _releases.lookup("26.7")
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "another"}}
    secret = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert rights.uncovered(release, "gpu_operator", [role, secret]) == [
        "get ClusterRole another",
        "patch ClusterRole another",
    ]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    assert rights.uncovered(release, "kata_deploy", [service]) == [
        f"{verb} Service a" for verb in ("get", "create", "patch")
    ]


def test_the_shipped_manifests_are_those_of_the_default_release() -> None:
    for name, content in rbac.manifests().items():
        assert (rbac.FOLDER / name).read_text(encoding="utf-8") == content, f"{name}: run make docs"
    assert {path.name for path in rbac.FOLDER.glob("rbac-*.yml")} == set(rbac.manifests())
