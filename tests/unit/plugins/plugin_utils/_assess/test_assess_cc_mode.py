# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mode of GPUs, and the classes, where one node is for confidential virtual machines."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.assess_cluster import CLASSES, CURRENT, api, ask, ask_current, current_node, gpu_pod, ids
from tests.unit.fake_api import node

SNP = {"a": {"role": "container"}, "b": {"role": "kata", "confidential": "snp"}}
CLASS = "kata-qemu-nvidia-gpu-snp"
FEATURE = "amd.feature.node.kubernetes.io/snp"
KEY = "sev-snp.amd.com/esids"
STATE, READY = "nvidia.com/cc.mode.state", "nvidia.com/cc.ready.state"


def cluster(labels: dict[str, str], *pods: dict[str, Any], keys: str = "99", **more: Any) -> Any:
    names = {f"/api/v1/pods/{pod['metadata']['name']}": pod for pod in pods}
    allocatable = {"nvidia.com/pgpu": "1", **({KEY: keys} if keys else {})}
    return api(node("a"), current_node("b", labels, allocatable=allocatable), version="v1.35.0", **names, **more)


def classes(overhead: dict[str, str]) -> dict[str, Any]:
    """As the chart makes it, and as the installer changes it where Node Feature Discovery is (tests/facts, nfd.rule)."""
    selector = {"katacontainers.io/kata-runtime": "true", READY: "true", FEATURE: "true"}
    plain = {"katacontainers.io/kata-runtime": "true", READY: "false"}
    return {
        f"{CLASSES}/{name}": {
            "metadata": {"name": name},
            "handler": name,
            "overhead": {"podFixed": {"memory": "10240Mi", **extra}},
            "scheduling": {"nodeSelector": wanted},
        }
        for name, wanted, extra in ((CLASS, selector, overhead), ("kata-qemu-nvidia-gpu", plain, {}))
    }


@pytest.mark.parametrize(
    ("named", "value", "found"),
    [
        (SNP, "on", []),
        (SNP, "off", ["cc_mode"]),
        (SNP, "ppcie", ["cc_mode"]),
        (None, "on", ["cc_mode"]),
        (None, "off", []),
    ],
)
def test_a_mode_that_somebody_else_set_is_left_alone(named: Any, value: str, found: list[str]) -> None:
    given = {"nodes": named} if named else {}
    answer = ask_current(cluster({"nvidia.com/cc.mode": value}), **given)
    assert ids(answer) == found
    if found and named:
        assert "if it is to run AMD SEV-SNP" in answer["findings"][0]["fix"]
        assert "pods of the plain class" in answer["findings"][0]["consequence"]


@pytest.mark.parametrize(
    ("named", "state", "found"),
    [
        (SNP, "off", ["C08"]),
        (SNP, "on", []),
        (SNP, "", []),
        (None, "on", ["C08"]),
        (None, "off", []),
    ],
)
def test_the_mode_is_not_changed_under_running_pods(named: Any, state: str, found: list[str]) -> None:
    given = {"nodes": named} if named else {}
    ready = {"on": "true", "off": "false"}.get(state, "")
    labels = {"nvidia.com/gpu.workload.config": "vm-passthrough", STATE: state, READY: ready}
    answer = ask_current(cluster(labels, gpu_pod()), **given)
    assert [item for item in ids(answer) if item != "gpu_pods_running"] == found
    if found:
        assert answer["summary"]["blocked_nodes"] == ["b"] and "x/p" in answer["findings"][0]["fact"]
    assert "C08" not in ids(ask_current(cluster(labels), **given))


def test_a_release_without_the_variant_judges_the_node_as_a_plain_one() -> None:
    """Its host is refused; here nothing may break over it."""
    assert ask(api(), nodes={"b": {"role": "kata", "confidential": "snp"}}, verify=True)["reachable"]


def results(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in answer["checks"] if item["node"] in ("b", "")}


READY_LABELS = {FEATURE: "true", STATE: "on", READY: "true", "katacontainers.io/kata-runtime": "true"}


def test_the_checks_of_a_node_are_those_of_its_class() -> None:
    answer = ask_current(cluster(READY_LABELS, **classes({KEY: "1"})), nodes=SNP, verify=True)
    found = results(answer)
    assert CLASS in found["V15"]["title"] and found["V15"]["result"] == "passed"
    assert found["cc_mode"]["result"] == "passed" and "cc.mode.state=on" in found["cc_mode"]["evidence"]
    assert found["V9"]["result"] == "passed" and CLASS in found["V9"]["evidence"]
    assert answer["named"]["b"]["runtime_class"] == CLASS


@pytest.mark.parametrize(
    ("labels", "keys", "part"),
    [
        ({**READY_LABELS, FEATURE: "false"}, "99", f"the selector wants {FEATURE}=true"),
        ({**READY_LABELS, READY: "false"}, "99", "the selector wants nvidia.com/cc.ready.state=true"),
        (READY_LABELS, "", f"asks for 1 {KEY}, the node offers none"),
        (READY_LABELS, "0", f"asks for 1 {KEY}, the node offers 0"),
    ],
)
def test_a_node_that_could_not_run_a_pod_of_its_class_is_seen(labels: dict[str, str], keys: str, part: str) -> None:
    answer = ask_current(cluster(labels, keys=keys, **classes({KEY: "1"})), nodes=SNP, verify=True)
    assert results(answer)["V15"]["result"] == "failed" and part in results(answer)["V15"]["evidence"]


def test_a_class_that_is_missing_is_seen_where_a_node_wants_it() -> None:
    plain = {path: item for path, item in classes({}).items() if not path.endswith(CLASS)}
    wanted = ask_current(cluster(READY_LABELS, **plain), nodes=SNP, verify=True)
    assert results(wanted)["V9"]["evidence"] == f"RuntimeClass {CLASS} does not exist"
    labels = {**READY_LABELS, STATE: "off", READY: "false"}
    assert results(ask_current(cluster(labels, **plain), verify=True))["V9"]["result"] == "passed"
    assert CURRENT["kata_deploy"]["runtime_classes"] == ["kata-qemu-nvidia-gpu"]
