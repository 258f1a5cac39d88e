# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import labels
from tests.unit.fake_api import FakeApi, node, nodes

WORKLOAD = "nvidia.com/gpu.workload.config"


def run(api: FakeApi, wanted: labels.Wanted) -> labels.LabelPlan:
    plan = labels.plan(labels.read(api), wanted)
    assert not labels.apply(api, plan.changes, 4)
    return plan


def test_one_list_and_one_patch_for_each_node_that_differs() -> None:
    items = [node(f"n{index}", {WORKLOAD: "vm-passthrough"} if index else {}) for index in range(20)]
    api = FakeApi(nodes(*items))
    run(api, {f"n{index}": {WORKLOAD: "vm-passthrough"} for index in range(20)})
    assert [call[0] for call in api.calls] == ["GET", "PATCH"]
    assert api.objects["/api/v1/nodes/n0"]["metadata"]["labels"] == {WORKLOAD: "vm-passthrough"}


def test_second_run_patches_nothing() -> None:
    api = FakeApi(nodes(node("a")))
    run(api, {"a": {WORKLOAD: "container"}})
    plan = run(api, {"a": {WORKLOAD: "container"}})
    assert plan.changes == []
    assert plan.unchanged == ["a"]


def test_removal_takes_only_what_was_set_here() -> None:
    api = FakeApi(nodes(node("a", {"foreign": "1"})))
    run(api, {"a": {WORKLOAD: "container"}})
    plan = run(api, {"a": {WORKLOAD: None, "foreign": None}})
    assert plan.kept == {"a": ["foreign"]}
    metadata = api.objects["/api/v1/nodes/a"]["metadata"]
    assert metadata["labels"] == {"foreign": "1"}
    assert metadata["annotations"] == {}


def test_a_label_that_was_right_before_is_not_taken_for_ours() -> None:
    api = FakeApi(nodes(node("a", {WORKLOAD: "container"})))
    run(api, {"a": {WORKLOAD: "container"}})
    plan = run(api, {"a": {WORKLOAD: None}})
    assert plan.kept == {"a": [WORKLOAD]}
    assert api.objects["/api/v1/nodes/a"]["metadata"]["labels"] == {WORKLOAD: "container"}


def test_missing_nodes_are_named() -> None:
    plan = labels.plan(labels.read(FakeApi(nodes(node("a")))), {"b": {WORKLOAD: "container"}})
    assert plan.missing == ["b"]
    assert plan.changes == []


@pytest.mark.parametrize(
    ("value", "part"),
    [("kata", "must be one of"), ("a b", "is not a label value"), (True, "must be text or null"), (1, "must be text")],
)
def test_values_that_no_operator_understands_are_refused(value: object, part: str) -> None:
    assert part in labels.problems({"a": {WORKLOAD: value}})[0]


@pytest.mark.parametrize("key", ["", "a/b/c", "UPPER.example/x", "-a", "x" * 64])
def test_keys_that_the_api_refuses_are_refused_here(key: str) -> None:
    assert "is not a label key" in labels.problems({"a": {key: "x"}})[0]


def test_an_error_of_one_node_does_not_hide_the_others() -> None:
    api = FakeApi(nodes(node("a"), node("b")))
    api.refuse["/api/v1/nodes/a"] = 409
    plan = labels.plan(labels.read(api), {"a": {"x": "1"}, "b": {"x": "1"}})
    assert list(labels.apply(api, plan.changes, 2)) == ["a"]
    assert api.objects["/api/v1/nodes/b"]["metadata"]["labels"] == {"x": "1"}


VALUES = st.one_of(st.none(), st.sampled_from(["1", "2"]))
KEYS = st.sampled_from(["x", "y", "z"])


@given(st.dictionaries(KEYS, st.sampled_from(["1", "2"])), st.lists(st.dictionaries(KEYS, VALUES), max_size=4))
def test_any_sequence_ends_as_wanted_and_never_removes_a_foreign_key(
    before: dict[str, str], steps: list[dict[str, str | None]]
) -> None:
    api = FakeApi(nodes(node("a", before)))
    ours: set[str] = set()
    for step in steps:
        run(api, {"a": step})
        assert run(api, {"a": step}).changes == []
        metadata = api.objects["/api/v1/nodes/a"]["metadata"]
        ours = set(json.loads(metadata["annotations"].get(labels.OWNED_ANNOTATION, "[]")))
        assert all(metadata["labels"].get(key) == value for key, value in step.items() if value is not None)
        assert not ours & {key for key, value in step.items() if value is None}
    labels_now = api.objects["/api/v1/nodes/a"]["metadata"]["labels"]
    touched = {key for step in steps for key, value in step.items() if value is not None}
    assert {key: labels_now.get(key) for key in before if key not in touched} == {
        key: value for key, value in before.items() if key not in touched
    }
