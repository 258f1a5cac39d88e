# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several plugins share, and comparisons."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _arguments, _compare, _releases, _resources, _yaml
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import ranges


def test_a_release_is_looked_up_or_taken_as_it_is() -> None:
    known = _releases.lookup("26.7")
    assert _arguments.release_of("26.7", None)["name"] == "26.7"
    assert _arguments.release_of(None, None)["name"] == known["name"]
    taken = _arguments.release_of(known, {"26.7": {"support": "none"}})
    assert taken == known and taken is not known


@pytest.mark.parametrize("value", [{}, {"name": "x"}, {"support": "install"}])
def test_a_mapping_that_is_no_release_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(KatagpuError, match="release must be the name of a release"):
        _arguments.release_of(value, None)


def test_findings_are_accepted_with_a_reason() -> None:
    assert _arguments.accepted_findings(None) == {}
    assert _arguments.accepted_findings([{"id": "B13", "reason": "lab"}]) == {"B13": "lab"}


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ({"id": "B13", "reason": "lab", "until": "x"}, r"katagpu_accepted_findings\[1\] has unknown keys: until"),
        ({"id": "B13"}, r"katagpu_accepted_findings\[1\] needs an id and a reason"),
        ({"id": "B13", "reason": "  "}, "needs an id and a reason"),
        ({"reason": "lab"}, "needs an id and a reason"),
    ],
)
def test_an_acceptance_that_cannot_be_reviewed_is_refused(item: dict[str, str], part: str) -> None:
    with pytest.raises(KatagpuError, match=part):
        _arguments.accepted_findings([{"id": "A", "reason": "b"}, item])


@pytest.mark.parametrize(
    ("version", "inside"),
    [
        ("v1.33.0", True),
        ("v1.36.9", True),
        ("1.34", True),
        ("v1.32.9", False),
        ("v1.37.0", False),
        ("v2.0.0", False),
        ("", None),
        ("unknown", None),
    ],
)
def test_a_range_has_both_its_ends(version: str, inside: bool | None) -> None:
    assert ranges.inside(version, {"min": "1.33", "max": "1.36"}) is inside


def test_a_range_that_cannot_be_read_says_nothing() -> None:
    assert ranges.inside("v1.33.0", {"min": "", "max": "1.36"}) is None
    assert ranges.inside("v1.33.0", {"min": "1.33", "max": "x"}) is None
    assert ranges.shown({"min": "1.33", "max": "1.36"}) == "1.33 to 1.36"


GPUS = {"nvidia.com/GA102GL_A10": "2", "nvidia.com/gpu": "1", "cpu": "8"}


def test_resources_of_several_nodes_are_the_largest_of_one() -> None:
    smaller = {"status": {"allocatable": {**GPUS, "nvidia.com/GA102GL_A10": "1", "nvidia.com/x": "3"}}}
    assert _resources.gpu_resources([smaller, {"allocatable": GPUS}]) == {
        "nvidia.com/GA102GL_A10": 2,
        "nvidia.com/x": 3,
    }
    assert _resources.gpu_resources(({"allocatable": GPUS}, smaller))["nvidia.com/GA102GL_A10"] == 2
    assert _resources.gpu_resources([]) == {}


@pytest.mark.parametrize("value", ["text", 7, None, {"allocatable": ["a"]}, [7]])
def test_what_is_no_node_has_no_resources(value: Any) -> None:
    with pytest.raises(KatagpuError, match=r"^gpu_resources: "):
        _resources.gpu_resources(value)


@pytest.mark.parametrize(
    ("wanted", "live", "paths"),
    [
        ({"a": {"b": 1}}, {"a": "text"}, ["a"]),
        ({"a": {"b": None}}, {"a": None}, []),
        ({"a": {}}, {"a": "text"}, ["a"]),
        ({"a": {"b": 1}}, {"a": None}, ["a"]),
        ({"a": [1]}, {"a": None}, ["a"]),
        ({"a": []}, {"a": None}, []),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, ["a[0].b"]),
        ({"a": ""}, {"a": None}, []),
        ({"x": {"requests": {"cpu": "500m"}}}, {"x": {"requests": {"cpu": 0.5}}}, []),
        ({"x": {"limits": {"cpu": "fast"}}}, {"x": {"limits": {"cpu": "slow"}}}, ["x.limits.cpu"]),
        ({"cpu": "1000m"}, {"cpu": "1"}, ["cpu"]),
        ({"podFixed": {"memory": "1G"}}, {"podFixed": {"memory": "1Gi"}}, ["podFixed.memory"]),
    ],
)
def test_differences_of_kind(wanted: Any, live: Any, paths: list[str]) -> None:
    assert _compare.differences(wanted, live) == paths


def test_of_many_differences_twenty_are_named() -> None:
    assert len(_compare.differences({str(place): 1 for place in range(30)}, {})) == 20


@pytest.mark.parametrize(
    "text",
    ["a: 2001-99-99", "!!int x", "!!bool x", "!!timestamp x", "!!float x", "a: [", pytest.param("[" * 5000, id="deep")],
)
def test_whatever_is_wrong_with_yaml_is_an_error_of_yaml(text: str) -> None:
    with pytest.raises(_yaml.yaml.YAMLError):
        _yaml.load(text)


def test_yaml_that_is_nested_too_deeply_says_so() -> None:
    with pytest.raises(_yaml.yaml.YAMLError, match="nested too deeply"):
        _yaml.compose_all("[" * 5000)
    assert _yaml.load("a: [1, 2]") == {"a": [1, 2]} and len(_yaml.compose_all("a\n---\nb\n")) == 2


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    with pytest.raises(KatagpuError, match="package jmespath is missing on the controller"):
        _resources.gpu_resources({"allocatable": GPUS})
