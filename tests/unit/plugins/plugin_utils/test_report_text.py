# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _report, _report_text
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    ACCEPTED,
    BLOCK,
    WARN,
    WILL_BE_FIXED_BY,
    Finding,
)

LONG = "a fact that takes " + "very " * 40 + "long."


def build(**given: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "title": "Result",
        "findings": [],
        "checks": [],
        "hosts": [],
        "eligible": {},
        "workloads": [],
        "stack": {"name": "23.9"},
        "stand_ins": "",
        "changed_hosts": [],
        "started": "",
        "finished": "",
        "seconds": 125.0,
    }
    return _report.build(**{**values, **given})


def check(result: str, node: str = "a", evidence: str = LONG) -> dict[str, Any]:
    return {"id": "V5", "node": node, "title": "bound", "result": result, "evidence": evidence}


def section(text: str, title: str) -> str:
    """The lines below a title, as one line."""
    lines = text.splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith(title))
    end = next((i for i in range(begin + 1, len(lines)) if not lines[i].startswith(" ")), len(lines))
    return " ".join(" ".join(lines[begin:end]).split())


def test_a_good_run_has_nothing_to_do() -> None:
    report = build(
        checks=[check("passed")], workloads=[{"node": "a", "name": "w", "result": "passed", "log": "Test PASSED"}]
    )
    text = _report_text.text(report)
    assert report["result"] == "ok"
    assert "TO DO: nothing." in text
    assert "Test PASSED" in text
    assert "2 min 5 s" in text
    assert _report.failure(report) == ""


@pytest.mark.parametrize(
    ("given", "result", "part"),
    [
        ({"findings": [Finding("A07", BLOCK, LONG).as_dict()]}, "blocked", "1 open blocks"),
        ({"hosts": [{"node": "a", "findings": [Finding("A07", BLOCK, LONG).as_dict()]}]}, "blocked", "1 open blocks"),
        ({"checks": [check("failed")]}, "failed", "1 failed checks"),
        (
            {"workloads": [{"node": "a", "name": "w", "result": "failed", "log": "boom"}]},
            "failed",
            "1 failed workloads",
        ),
        ({"hosts": [{"node": "a", "reboot_needed": True}], "eligible": {"all": []}}, "failed", "1 pending reboots"),
        ({"errors": ["Install: boom"]}, "failed", "1 errors"),
        ({"hosts": [{"node": "a", "failed": True, "error": "boom"}]}, "failed", "1 failed nodes"),
        ({"names": {"kata": ["a"]}, "hosts": [{}]}, "failed", "1 nodes that were not read"),
    ],
)
def test_what_makes_the_run_fail(given: dict[str, Any], result: str, part: str) -> None:
    report = build(**given)
    assert report["result"] == result
    assert part in _report.failure(report)
    assert _report_text.text(report).splitlines()[2] == "TO DO"


def test_every_line_fits() -> None:
    findings = [Finding("A07", BLOCK, LONG, node=f"n{index}").as_dict() for index in range(60)]
    findings.append(Finding("x", WARN, LONG).as_dict())
    findings.append(Finding("y", BLOCK, LONG, state=ACCEPTED, reason=LONG).as_dict())
    hosts = [{"node": f"node-{'x' * 60}-{index}", "gpus": [{"address": "0000:65:00.0"}] * 9} for index in range(60)]
    report = build(findings=findings, checks=[check("failed")] * 90, hosts=hosts, stand_ins=LONG)
    text = _report_text.text(report, ["/a/" + "b" * 80])
    assert max(map(len, text.splitlines())) <= _report_text.WIDTH
    assert "40 more of these, see report.json" in text
    assert "STAND-INS (not the real thing)" in text


def test_the_same_finding_on_many_nodes_is_one_line() -> None:
    findings = [
        Finding("A01", BLOCK, "the IOMMU is off.", node=f"n{index}", state=WILL_BE_FIXED_BY, by="host_iommu").as_dict()
        for index in range(9)
    ]
    text = _report_text.text(build(findings=findings))
    assert text.count("[A01]") == 1
    assert "n0, n1, n2 and 6 more" in text


def test_a_finding_that_comes_twice_counts_once() -> None:
    finding = Finding("A07", BLOCK, "x").as_dict()
    assert build(findings=[finding, finding])["counts"]["open_blocks"] == 1


def test_what_broke_comes_first() -> None:
    report = build(
        findings=[Finding("A07", BLOCK, "x").as_dict()],
        errors=["GPU Operator | Install: the chart was not found"],
        hosts=[{"node": "a", "role": "kata", "failed": True, "error": "Drain: the node is not empty"}],
    )
    lines = _report_text.text(report).splitlines()
    assert lines[2:6] == [
        "TO DO",
        "  1. GPU Operator | Install: the chart was not found",
        "  2. [failed] a: Drain: the node is not empty",
        "  3. [A07][block] x Nothing was changed.",
    ]


def test_no_node_of_the_inventory_is_missing() -> None:
    eligible = {
        "kata": ["k1"],
        "container": ["c1"],
        "all": ["c1", "k1"],
        "refused": {"k2": ["was not read in this run"], "k3": ["was not read in this run", "failed in this run"]},
    }
    names = {"kata": ["k1", "k2", "k3", "k4"], "container": ["c1", "c2"]}
    report = build(names=names, eligible=eligible, hosts=[{"node": "k1", "role": "kata"}, {}])
    states = {node["node"]: node["state"] for node in report["nodes"]}
    assert states == {"k1": "ok", "k2": "not read", "k3": "not read", "k4": "not read", "c1": "ok", "c2": "listed"}
    text = _report_text.text(report)
    assert "[not read] k3: nothing is known about this host in this run (failed in this run)." in section(text, "TO DO")
    assert "k2 kata not read was not read in this run" in section(text, "NODES")


def test_a_node_that_was_left_out_is_told_once() -> None:
    blocked = Finding("E01", BLOCK, "not a GPU node.", node="c1")
    eligible = {"all": [], "refused": {"c1": [blocked.message()], "c2": ["is in both groups"]}}
    report = build(names={"container": ["c1", "c2"]}, eligible=eligible, findings=[blocked.as_dict()])
    assert _report_text.text(report).count("not a GPU node") == 2
    assert "[left out] c2: is in both groups" in _report_text.text(report)


def test_every_failed_check_is_named_with_its_evidence() -> None:
    checks = [check("failed", f"n{index}", f"evidence {index}.") for index in range(30)]
    checks += [check("failed", f"m{index}", "the same everywhere.") for index in range(30)]
    checks += [check("passed", "n1")] * 40
    text = _report_text.text(build(checks=checks))
    assert all(f"[V5][failed] n{index}: bound: evidence {index}." in text for index in range(30))
    assert "[V5][failed] m0, m1, m10 and 27 more: bound: the same everywhere." in text
    assert "n1 40 passed, 1 failed" in section(text, "CHECKS")


def test_the_summary_of_one_node_fits_on_a_screen() -> None:
    checks = [check("passed")] * 60 + [check("failed", evidence="short.")]
    workload = {"node": "a", "name": "w", "result": "passed", "log": "x\n" * 90 + "Test PASSED"}
    report = build(checks=checks, hosts=[{"node": "a", "role": "kata"}], workloads=[workload])
    assert len(_report_text.text(report, ["a", "b"]).splitlines()) < 40


REBOOT = {"node": "a", "role": "kata", "reboot_needed": True, "reboot_reasons": ["the IOMMU is off"]}


@pytest.mark.parametrize(
    ("given", "planned", "fails"),
    [
        ({"reboot_ok": True}, True, False),
        ({"reboot_ok": False}, False, False),
        ({"reboot_ok": True, "check_mode": True, "eligible": {"all": []}}, True, False),
        ({"reboot_ok": False, "check_mode": True, "eligible": {"all": []}}, False, True),
        ({"reboot_ok": True, "eligible": {"all": []}}, False, True),
    ],
)
def test_a_reboot_is_announced_with_consent_and_something_to_do_without(
    given: dict[str, Any], planned: bool, fails: bool
) -> None:
    report = build(hosts=[REBOOT], **given)
    text = _report_text.text(report)
    if planned:
        assert text.splitlines()[2] == "Nothing to do by hand; see WILL BE DONE."
        assert "a: drained reboot (the IOMMU is off)." in section(text, "WILL BE DONE")
    else:
        assert "a: reboot pending (the IOMMU is off)." in section(text, "TO DO")
        assert ("Set katagpu_reboot_ok: true" in section(text, "TO DO")) is not given["reboot_ok"]
        assert "WILL BE DONE" not in text
    assert bool(_report.failure(report)) is fails


def test_a_restart_is_told_apart_and_a_reboot_makes_it_unnecessary() -> None:
    restart = {"node": "a", "restart_needed": True, "restart_reasons": ["the kubelet has not read /f"]}
    report = build(hosts=[restart], eligible={"all": [], "refused": {"a": ["has a pending restart of the kubelet"]}})
    assert "a: restart of the kubelet pending (the kubelet has not read /f)." in section(
        _report_text.text(report), "TO DO"
    )
    assert _report.failure(report) == "1 pending restarts of the kubelet" and report["result"] == "failed"
    assert report["nodes"][0]["state"] == "needs restart"
    text = _report_text.text(build(hosts=[restart], reboot_ok=True))
    assert "a: drained restart of the kubelet (the kubelet has not read /f)." in section(text, "WILL BE DONE")
    both = build(hosts=[{**restart, **REBOOT}], reboot_ok=True)
    assert [item["what"] for item in both["reboots"]["nodes"]] == ["reboot"]


def test_a_reboot_that_check_mode_went_on_from_is_announced() -> None:
    host = {**REBOOT, "reboot_needed": False, "reboot_planned": True}
    report = build(hosts=[host], reboot_ok=True, check_mode=True, eligible={"all": ["a"], "kata": ["a"]})
    assert "a: drained reboot (the IOMMU is off)." in _report_text.text(report)
    assert _report.failure(report) == ""
