# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _compare, _helm


@pytest.mark.parametrize(
    ("wanted", "live", "paths"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": 1}, {"a": 2}, ["a"]),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2, "d": 3}]}}, []),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 4}]}}, ["a.b[1].c"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a"]),
        ({"a": None, "b": {}, "c": [], "d": False, "e": 0, "f": ""}, {}, []),
        ({"a": {"b": {}}}, {}, []),
        ({"a": True}, {}, ["a"]),
        ({"status": {"x": 1}}, {}, []),
        ({"metadata": {"creationTimestamp": None}}, {"metadata": {"creationTimestamp": "now"}}, []),
        ({"x": {"limits": {"cpu": "1000m"}}}, {"x": {"limits": {"cpu": "1"}}}, []),
        ({"x": {"limits": {"memory": "1Gi"}}}, {"x": {"limits": {"memory": "1024Mi"}}}, []),
        ({"x": {"limits": {"cpu": "2"}}}, {"x": {"limits": {"cpu": "1"}}}, ["x.limits.cpu"]),
        ({"x": {"other": "1000m"}}, {"x": {"other": "1"}}, ["x.other"]),
    ],
)
def test_a_manifest_is_compared_by_what_it_names(wanted: Any, live: Any, paths: list[str]) -> None:
    assert _compare.differences(wanted, live) == paths


def secret(revision: int, status: str = "deployed", values: Any = None, name: str = "gpu-operator") -> dict[str, Any]:
    data = {
        "name": name,
        "namespace": "gpu-operator",
        "version": revision,
        "info": {"status": status},
        "chart": {"metadata": {"name": "gpu-operator", "version": "v23.9.2"}},
        "config": values,
    }
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(data).encode())))
    return {"metadata": {"name": f"sh.helm.release.v1.{name}.v{revision}"}, "data": {"release": packed.decode()}}


WANTED = {"name": "gpu-operator", "namespace": "gpu-operator", "chart_version": "v23.9.2", "values": {"a": {"b": True}}}


def test_the_newest_revision_counts() -> None:
    found = _helm.latest([secret(2), secret(10, "failed"), secret(9)])
    assert [(item["revision"], item["status"]) for item in found] == [(10, "failed")]


@pytest.mark.parametrize("text", ["", "x", base64.b64encode(b"x").decode()])
def test_what_is_not_a_release_is_left_out(text: str) -> None:
    assert _helm.latest([{"metadata": {}, "data": {"release": text}}, {"metadata": {}}]) == []


@pytest.mark.parametrize(
    ("secrets", "verdict", "paths"),
    [
        ([], "install", []),
        ([secret(1, values={"a": {"b": True}})], "same", []),
        ([secret(1, values={"a": {"b": False}})], "upgrade", ["a.b"]),
        ([secret(1, values={"a": {"b": True}, "old": 1})], "upgrade", ["old"]),
        ([secret(1, "failed", {"a": {"b": True}})], "upgrade", ["status failed"]),
        ([secret(1, "pending-install")], "pending", []),
        ([secret(1, name="gpu-operator-1690000000")], "foreign_name", []),
    ],
)
def test_verdicts(secrets: list[dict[str, Any]], verdict: str, paths: list[str]) -> None:
    found = _helm.verdict(WANTED, _helm.latest(secrets))
    assert (found["verdict"], found["paths"]) == (verdict, paths)


def test_another_chart_version_is_an_upgrade_and_a_leading_v_is_not() -> None:
    releases = _helm.latest([secret(1, values={"a": {"b": True}})])
    assert _helm.verdict({**WANTED, "chart_version": "23.9.2"}, releases)["verdict"] == "same"
    assert _helm.verdict({**WANTED, "chart_version": "v23.9.3"}, releases)["paths"] == ["chart version"]


def test_the_way_out_of_an_interrupted_first_install_is_not_a_rollback() -> None:
    assert "helm uninstall" in _helm.verdict(WANTED, _helm.latest([secret(1, "pending-install")]))["fix"]
    assert "helm rollback" in _helm.verdict(WANTED, _helm.latest([secret(2, "pending-upgrade")]))["fix"]


def test_the_way_out_names_what_exists() -> None:
    fix = _helm.verdict(WANTED, _helm.latest([secret(1, name="gpu-operator-1690000000")]))["fix"]
    assert "gpu_operator_name and gpu_operator_namespace" in fix
    stuck = _helm.verdict(WANTED, _helm.latest([secret(3, "uninstalling")]))
    assert (stuck["verdict"], "helm uninstall" in stuck["fix"]) == ("pending", True)


def test_values_are_not_shown() -> None:
    assert "values" not in _helm.verdict(WANTED, _helm.latest([secret(1, values={"secret": 1})]))["installed"]
