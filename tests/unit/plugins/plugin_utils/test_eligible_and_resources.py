# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _eligible, _resources
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding, accept

BLOCKED = Finding("A07", BLOCK, "shares its group with the root disk.")


def record(*findings: Finding, **more: Any) -> dict[str, Any]:
    return {"katagpu_record": {"node": "x", "findings": [finding.as_dict() for finding in findings], **more}}


def test_who_is_eligible_and_why_not() -> None:
    acceptable = Finding("B13", BLOCK, "no /dev/kvm", acceptable=True)
    hosts = {
        "good": record(),
        "accepted": record(*accept([acceptable], {"B13": "lab"})),
        "blocked": record(BLOCKED),
        "reboot": record(reboot_needed=True),
        "restart": record(restart_needed=True),
        "unread": {},
        "forgotten": {"katagpu_record": {}},
        "failed": record(),
        "missing": {**record(), "katagpu_node_name": "gone"},
        "plain": {"katagpu_node_name": "node-a"},
    }
    kata = [name for name in hosts if name != "plain"]
    answer = _eligible.eligible(hosts, kata, ["plain"], {"missing_nodes": ["gone"]}, ["failed"])
    assert answer["kata"] == ["accepted", "good"]
    assert answer["container"] == ["node-a"]
    assert answer["all"] == ["accepted", "good", "node-a"]
    assert answer["refused"] == {
        "blocked": [BLOCKED.message()],
        "reboot": ["has a pending reboot"],
        "restart": ["has a pending restart of the kubelet"],
        "unread": ["was not read in this run"],
        "forgotten": ["was not read in this run"],
        "failed": ["failed in this run"],
        "gone": ["does not exist in the cluster"],
    }


def test_a_node_that_nobody_agreed_to_drain_is_refused() -> None:
    rolls = {"kata_deploy": {"unagreed": ["b"], "why": "containerd restarts"}, "gpu_operator": {"unagreed": []}}
    answer = _eligible.eligible({"a": record(), "b": record(), "c": {}}, ["a", "b"], ["c"], {"rolls": rolls})
    assert answer["all"] == ["a", "c"]
    [reason] = answer["refused"]["b"]
    assert reason == "needs to be drained (containerd restarts), and nobody agreed to that (katagpu_reboot_ok)"


def test_a_block_of_the_cluster_that_names_a_node_refuses_it() -> None:
    finding = Finding("vm_vgpu", BLOCK, "the node is labelled vm-vgpu.", node="b")
    answer = _eligible.eligible({"a": record(), "b": record()}, ["a", "b"], [], {"findings": [finding.as_dict()]})
    assert answer["kata"] == ["a"]
    assert list(answer["refused"]) == ["b"]


def test_nodes_that_are_left_out_are_told_by_what_would_happen_to_them() -> None:
    def entry(exposed: bool, labelled: bool) -> dict[str, Any]:
        return {"role": "kata", "workload": None, "exposed": exposed, "labelled": labelled}

    named = {
        "good": entry(True, False),
        "blocked": entry(True, False),
        "outside-the-limit": entry(True, False),
        "old": entry(False, True),
        "safe": entry(False, False),
    }
    hosts = {"good": record(), "blocked": record(BLOCKED), "old": {}}
    answer = _eligible.eligible(hosts, list(hosts), [], {"named": named})
    assert answer["unprotected"] == ["blocked", "outside-the-limit"]
    assert answer["labelled_not_eligible"] == ["old"]


def test_a_host_in_both_groups_is_no_container_node() -> None:
    answer = _eligible.eligible({"a": record()}, ["a"], ["a"], {})
    assert answer["container"] == []
    assert answer["kata"] == ["a"]


ALLOCATABLE = {"cpu": "8", "nvidia.com/GA102GL_A10": "2", "nvidia.com/gpu": "4", "nvidia.com/mig-1g.5gb": "7"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (ALLOCATABLE, {"nvidia.com/GA102GL_A10": 2}),
        ({"status": {"allocatable": ALLOCATABLE}}, {"nvidia.com/GA102GL_A10": 2}),
        ({"allocatable": {"nvidia.com/pgpu": "0"}}, {}),
        ([{"allocatable": {"nvidia.com/pgpu": "1"}}, {"allocatable": {"nvidia.com/pgpu": 3}}], {"nvidia.com/pgpu": 3}),
        ({"nvidia.com/nvswitch": "4", "example.com/gpu": "1"}, {}),
    ],
)
def test_passthrough_resources(value: Any, wanted: dict[str, int]) -> None:
    assert _resources.gpu_resources(value) == wanted


def test_what_is_no_node_is_refused() -> None:
    with pytest.raises(KatagpuError, match="is needed"):
        _resources.gpu_resources("nvidia.com/pgpu")
