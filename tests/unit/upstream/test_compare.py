# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparisons of `make check-upstream`: each is seen to find what it is for."""

from __future__ import annotations

from typing import Any

from tests.upstream import compare

CHART: dict[str, Any] = {
    "operator": {"repository": "r.example", "image": "operator", "version": ""},
    "sandboxWorkloads": {"enabled": False},
    "nodeSelector": {},
    "config": {},
}


def test_keys_that_the_chart_does_not_have() -> None:
    given = {"sandboxWorkloads": {"enabled": True, "mode": "kata"}, "nfd": {"enabled": True}}
    assert [text.partition(" ")[0] for text in compare.unknown_keys(given, CHART)] == ["sandboxWorkloads.mode", "nfd"]


def test_below_an_empty_mapping_and_a_node_selector_anything_goes() -> None:
    given = {"config": {"a": {"b": 1}}, "nodeSelector": {"example.com/a": "b"}}
    assert list(compare.unknown_keys(given, CHART)) == []
    filled = {**CHART, "nodeSelector": {"kubernetes.io/os": "linux"}}
    assert list(compare.unknown_keys(given, filled)) == []


def test_a_fact_table_with_a_key_too_many_and_one_too_few() -> None:
    found = list(compare.fact_keys(["operator.repository", "operator.image", "operator.gone"], CHART))
    assert found == [
        "operator.gone is in the fact table and not in the chart",
        "operator.version is in the chart and not in the fact table",
    ]


SCHEMA: dict[str, Any] = {
    "required": ["mode", "filled"],
    "properties": {
        "mode": {"type": "string", "enum": ["kubevirt", "kata"]},
        "filled": {"type": "string", "default": "x"},
        "labels": {"additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "classes": {"type": "array", "items": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
    },
}


def test_an_object_against_its_schema() -> None:
    value = {"mode": "Kata", "other": 1, "classes": [{}], "labels": {"a": "b"}, "free": {"x": 1}}
    assert list(compare.misfits(value, SCHEMA, "spec")) == [
        "spec.mode is 'Kata', allowed are kubevirt, kata",
        "spec.other is not in the schema",
        "spec.classes[0].name is required",
    ]


def test_a_required_field_that_the_schema_fills_in_may_be_absent() -> None:
    assert list(compare.misfits({"mode": "kata"}, SCHEMA)) == []
    assert list(compare.misfits({"filled": "y"}, SCHEMA, "spec")) == ["spec.mode is required"]


def test_enumerations() -> None:
    schema = {"properties": {"spec": SCHEMA}}
    assert list(compare.enums({"mode": ["kubevirt", "kata"]}, schema)) == []
    assert len(list(compare.enums({"mode": ["kata"], "gone": ["a"]}, schema))) == 2


def test_images() -> None:
    assert compare.image_of(CHART["operator"], "v1") == "r.example/operator:v1"
    assert compare.image_of({"reference": "q.example/kata", "tag": "x"}, "v1") == "q.example/kata:x"
    assert compare.image_of({"repository": "r.example/nfd", "tag": None}, "v2") == "r.example/nfd:v2"


def daemonset(labels: dict[str, str], selector: dict[str, str]) -> dict[str, Any]:
    pod = {"metadata": {"labels": labels}, "spec": {"nodeSelector": {"deploy": "true"}}}
    return {"spec": {"selector": {"matchLabels": selector}, "template": pod}}


def test_operands_of_the_assets() -> None:
    ours = {"daemonset": "vfio", "pod_selector": {"name": "vfio"}, "deploy_label": "deploy"}
    good = {"vfio": daemonset({"name": "vfio"}, {"name": "vfio"})}
    assert list(compare.operand(ours, good)) == []
    assert list(compare.operand({**ours, "daemonset": "gone"}, good)) == ["gone: no asset has a DaemonSet of this name"]
    found = list(compare.operand(ours, {"vfio": daemonset({"app": "vfio"}, {"app": "vfio"})}))
    assert [text.partition(":")[2].split(":")[0].strip() for text in found] == ["selector", "pod label name"]
    assert len(list(compare.operand({**ours, "deploy_label": "other"}, good))) == 1
