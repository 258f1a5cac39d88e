# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.katagpu.cluster.plugins.modules import node_labels
from tests.unit.fake_api import FakeApi, node, nodes

WORKLOAD = "nvidia.com/gpu.workload.config"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    fake = FakeApi(nodes(node("a"), node("b")))
    monkeypatch.setattr(node_labels, "KubernetesApi", lambda *_arguments: fake)
    yield fake


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        node_labels.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_changes_are_returned(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, nodes={"a": {WORKLOAD: "container"}, "b": {WORKLOAD: "vm-passthrough"}})
    assert (result["changed"], result["changed_nodes"], result["requests"]) == (True, ["a", "b"], 3)
    again = run(capsys, nodes={"a": {WORKLOAD: "container"}, "b": {WORKLOAD: "vm-passthrough"}})
    assert (again["changed"], again["unchanged_count"], again["requests"]) == (False, 2, 4)


def test_check_mode_reads_only(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, nodes={"a": {WORKLOAD: "container"}}, _ansible_check_mode=True, _ansible_diff=True)
    assert result["changed"]
    assert result["diff"]["after"] == {"a": {WORKLOAD: "container"}}
    assert [call[0] for call in api.calls] == ["GET"]


def test_a_missing_node_stops_everything(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, nodes={"a": {WORKLOAD: "container"}, "c": {WORKLOAD: "container"}})
    assert result["failed"]
    assert result["missing_nodes"] == ["c"]
    assert [call[0] for call in api.calls] == ["GET"]


def test_a_wrong_value_is_refused_before_anything_is_asked(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, nodes={"a": {WORKLOAD: "vm-passthough"}})
    assert "must be one of" in result["msg"]
    assert api.calls == []


def test_an_api_that_refuses_one_node_is_told(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.refuse["/api/v1/nodes/b"] = 403
    result = run(capsys, nodes={"a": {WORKLOAD: "container"}, "b": {WORKLOAD: "container"}})
    assert result["failed"]
    assert result["changed_nodes"] == ["a"]
    assert "b: 403" in result["msg"]
