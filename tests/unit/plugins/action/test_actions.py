# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugins as Ansible runs them: one playbook, one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import COLLECTIONS
from tests.unit import assess_host, machines

PYTHON = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


def tasks(tree: Path, folder: Path) -> list[dict[str, Any]]:
    release = {"release": "23.9"}
    wrong = {
        "release": "25.10",
        "kata_nodes": [],
        "tools": ["no-such-tool"],
        "vfio_owner": "nobody",
        "accepted": [{"id": "x"}],
    }
    return [
        {"katagpu.cluster.controller_check": {**release, "kata_nodes": ["gpu-01"], "tools": [], "fail": False}},
        {"katagpu.cluster.controller_check": wrong, "ignore_errors": True},
        {"katagpu.cluster.cluster_info": {**release, "kubeconfig": str(folder / "none"), "nodes": {"gpu-01": {}}}},
        {"katagpu.cluster.cluster_info": {"release": "25.10", "kubeconfig": str(folder / "none")}},
        {"katagpu.cluster.host_info": {**release, "root": str(tree), "node": "gpu-01", "verify": True}},
        {"katagpu.cluster.host_info": {**release, "desired": {"nonsense": 1}}, "ignore_errors": True},
        {"katagpu.cluster.cdi_info": {"root": str(tree), "required": True}},
        {
            "katagpu.cluster.report": {
                "title": "Test",
                "path": str(folder / "report"),
                "findings": "{{ r2.findings }}",
                "hosts": "{{ [r4.record, {}] }}",
                "names": {"kata": ["gpu-01", "gpu-02"], "container": ["gone"]},
                "fail": True,
            },
            "ignore_errors": True,
        },
    ]


def play(tmp_path: Path, *options: str) -> list[dict[str, Any]]:
    tree = tmp_path / "tree"
    machines.build(assess_host.machine(assess_host.gpu(group="12", driver="vfio-pci")), tree)
    steps = tasks(tree, tmp_path)
    for index, step in enumerate(steps):
        step["register"] = f"r{index}"
    everything = "{{ [" + ", ".join(f"r{index}" for index in range(len(steps))) + "] }}"
    target = {"dest": str(tmp_path / "out.json"), "content": "{{ all | to_json }}", "mode": "0600"}
    dump = {"ansible.builtin.copy": target, "check_mode": False, "vars": {"all": everything}}
    book = [{"hosts": "gpu-01", "gather_facts": False, "vars": PYTHON, "tasks": [*steps, dump]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
    inventory = {
        "all": {
            "hosts": {
                "gpu-01": {"katagpu_relase": "23.9", "other": 1},
                "gpu-02": {"katagpu_node_name": "{{ 'node' }}-two"},
            }
        }
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml", *options]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "false"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results: list[dict[str, Any]] = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return play(tmp_path_factory.mktemp("real"))


def test_nothing_claims_to_have_changed_anything(results: list[dict[str, Any]]) -> None:
    assert not any(result.get("changed") for result in results)


def test_a_misspelt_variable_of_the_inventory_is_found(results: list[dict[str, Any]]) -> None:
    assert [item["id"] for item in results[0]["findings"]] == ["misspelt_variable"]
    assert "did you mean katagpu_release?" in results[0]["summary"]["messages"][0]


def test_all_mistakes_are_told_at_once(results: list[dict[str, Any]]) -> None:
    found = {line[1:].partition("]")[0] for line in results[1]["msg"].splitlines() if line.startswith("[")}
    assert found == {"no_targets", "release", "misspelt_variable", "missing_tool", "bad_value", "accepted_findings"}
    assert results[1]["failed"]


def test_an_api_that_does_not_answer_is_a_finding(results: list[dict[str, Any]]) -> None:
    assert [item["id"] for item in results[2]["findings"]] == ["api_unreachable"]
    assert not results[2]["reachable"]
    assert [item["id"] for item in results[3]["findings"]] == ["release"]


def test_a_host_is_read_and_judged(results: list[dict[str, Any]]) -> None:
    assert results[4]["record"]["gpus"][0]["driver"] == "vfio-pci"
    assert set(results[4]["plan"]) == {"host_firmware", "host_iommu", "host_vfio", "kubelet"}
    assert {item["id"]: item["result"] for item in results[4]["checks"]}["V5"] == "passed"
    assert "nonsense is unknown" in results[5]["msg"]


def test_a_missing_cdi_specification_is_told(results: list[dict[str, Any]]) -> None:
    assert not results[6]["consistent"]
    assert "no CDI specification" in results[6]["findings"][0]["message"]


def test_the_report_is_written_before_the_task_fails(results: list[dict[str, Any]]) -> None:
    assert results[7]["failed"]
    path = Path(results[7]["paths"][0])
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["result"] == "blocked"
    assert {node["node"]: node["state"] for node in report["nodes"]} == {
        "gpu-01": "ok",
        "node-two": "not read",
        "gone": "listed",
    }
    assert not set(results[7]) & {"report", "text", "findings"}
    assert path.stat().st_mode & 0o777 == 0o644


def test_check_mode_reads_the_same_and_writes_nothing(tmp_path: Path, results: list[dict[str, Any]]) -> None:
    checked = play(tmp_path, "--check")
    assert not (tmp_path / "report").exists()
    for index in (0, 2, 3, 6):
        assert checked[index]["findings"] == results[index]["findings"] or index == 2
    assert checked[4]["plan"] == results[4]["plan"]
