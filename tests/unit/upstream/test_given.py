# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with the user's paths: a mistake in it is said, and never a check that is skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.errors import LabError
from tests.upstream import charts, compare, given, releases
from tests.upstream.results import DIFFERS, OK, Result, judged, lines, summary


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "must hold a mapping of projects"),
        ({"gpu-operator": {}}, "gpu-operator is none of"),
        ({"gpu_operator": {"v1": {"binaries": "x"}}}, "binaries is none of"),
        ({"gpu_operator": {"v1": {"chart": "not-there"}}}, "there is no"),
        ({"kata_deploy": {4.0: {"chart": "x"}}}, "in quotes"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(LabError, match=words):
        given.parse(content, tmp_path, "the file")


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "chart").mkdir()
    path = tmp_path / "given.yml"
    path.write_text(yaml.safe_dump({"kata_deploy": {"4.0.0": {"chart": "chart"}}}), encoding="utf-8")
    found = given.read(path)
    assert found.versions("kata_deploy") == ["4.0.0"]
    assert found.path("kata_deploy", "4.0.0", "chart") == tmp_path / "chart"
    assert found.path("gpu_operator", "v1", "chart") is None
    with pytest.raises(LabError, match="No such file"):
        given.read(tmp_path / "other.yml")


def test_a_chart_of_a_repository_becomes_that_of_its_release(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "charts" / "inner").mkdir(parents=True)
    dependencies = [{"name": "inner", "version": "1"}, {"name": "outer", "version": "2"}]
    metadata = {"name": "c", "version": "v1.0.0-devel", "appVersion": "main", "dependencies": dependencies}
    (source / "Chart.yaml").write_text(yaml.safe_dump(metadata), encoding="utf-8")
    chart = charts.prepare(source, "v26.7.0", tmp_path / "scratch")
    assert chart.metadata == {
        **metadata,
        "version": "v26.7.0",
        "appVersion": "v26.7.0",
        "dependencies": dependencies[:1],
    }
    assert len(chart.changes) == 3 and "outer" in chart.changes[2]
    assert yaml.safe_load((source / "Chart.yaml").read_text(encoding="utf-8")) == metadata


def test_every_release_is_expected_with_the_values_of_its_roles() -> None:
    expected = releases.expected("gpu_operator")
    assert sorted(name for names in expected.values() for name in names) == ["23.9", "25.3", "26.3", "26.7"]
    for version in expected:
        for release in releases.pinning("gpu_operator", version):
            for values in releases.gpu_operator_values(release).values():
                assert compare.at(values, "sandboxWorkloads.enabled") is True
    (current, _) = releases.pinning("kata_deploy", "4.0.0")
    values = releases.kata_deploy_values(current)
    assert compare.at(values["deploymentMode: job"], "job.nodeSelector") == current["kata_deploy"]["node_selector"]


def test_output() -> None:
    results = [judged("a", "one", []), judged("a", "two", ["why"]), Result("b", OK, "three")]
    assert [one.state for one in results] == [OK, DIFFERS, OK]
    assert lines(results) == [
        "",
        "a",
        "  ok       one",
        "  DIFFERS  two",
        "             why",
        "",
        "b",
        "  ok       three",
    ]
    assert summary(results) == "2 ok, 0 note, 1 DIFFERS, 0 SKIPPED"
