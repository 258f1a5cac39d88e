# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.filter import wanted_labels as plugin
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import labels
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from ansible_collections.katagpu.cluster.plugins.plugin_utils._labels import wanted_labels

STACK = _releases.lookup("23.9")
WORKLOAD = "nvidia.com/gpu.workload.config"
OFF = "nvidia.com/gpu.deploy.operands"


def test_each_node_gets_the_label_of_its_role_and_loses_our_protection() -> None:
    assert wanted_labels(STACK, ["k"], ["c"]) == {
        "k": {WORKLOAD: "vm-passthrough", OFF: None},
        "c": {WORKLOAD: "container", OFF: None},
    }


def test_the_current_stack_switches_confidential_computing_off_on_kata_nodes_only() -> None:
    found = wanted_labels(_releases.lookup("26.7"), ["k"], ["c"])
    assert found["k"]["nvidia.com/cc.mode"] == "off"
    assert "nvidia.com/cc.mode" not in found["c"]


def test_extra_labels_join_and_may_be_removed() -> None:
    found = wanted_labels(STACK, ["k"], [], {"k": {"example.com/rack": "r7", "example.com/old": None}})
    assert found["k"] == {WORKLOAD: "vm-passthrough", OFF: None, "example.com/rack": "r7", "example.com/old": None}


def test_protected_nodes_get_that_label_only() -> None:
    assert wanted_labels(STACK, [], [], protect=["p"]) == {"p": {OFF: "false"}}


def test_operands_are_held_back_from_kata_nodes_that_are_not_drained_yet() -> None:
    found = wanted_labels(STACK, ["k", "done"], ["c"], hold=["k", "c", "other"])
    assert found["k"] == {WORKLOAD: "vm-passthrough", OFF: "false"}
    assert found["done"][OFF] is None and found["c"][OFF] is None and "other" not in found


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"extra": {"control-plane": {"a": "b"}}}, "node_labels_extra: control-plane is not eligible"),
        ({"extra": {"k": {WORKLOAD: "vm-vgpu"}}}, "follows from the groups"),
        ({"extra": {"k": "a=b"}}, "must be a dictionary"),
        ({"eligible": ["other"]}, "the nodes to label: k is not eligible"),
        ({"container": ["k"]}, "at once: k"),
        ({"extra": {"p": {"a": "b"}}, "protect": ["p"]}, "node_labels_extra: p is not eligible"),
    ],
)
def test_no_other_node_is_touched(given: dict[str, Any], text: str) -> None:
    with pytest.raises(KatagpuError, match=text):
        wanted_labels(STACK, ["k"], **{"container": [], **given})
    with pytest.raises(AnsibleFilterError, match=r"^wanted_labels: "):
        plugin.FilterModule().filters()["wanted_labels"](STACK, ["k"], **{"container": [], **given})


def metadata(name: str, present: dict[str, str], *ours: str) -> dict[str, Any]:
    note = {labels.OWNED_ANNOTATION: "[" + ", ".join(f'"{key}"' for key in ours) + "]"}
    return {"metadata": {"name": name, "labels": present, "annotations": note}}


def test_protection_comes_and_goes_and_that_of_others_stays() -> None:
    protected = labels.plan([metadata("n", {})], wanted_labels(STACK, [], [], protect=["n"]))
    patch = protected.changes[0].patch["metadata"]
    assert patch == {"labels": {OFF: "false"}, "annotations": {labels.OWNED_ANNOTATION: f'["{OFF}"]'}}
    eligible = wanted_labels(STACK, ["n"], [])
    after = labels.plan([metadata("n", {OFF: "false"}, OFF)], eligible)
    assert after.changes[0].after == {WORKLOAD: "vm-passthrough", OFF: None}
    theirs = labels.plan([metadata("n", {OFF: "false"})], eligible)
    assert theirs.changes[0].after == {WORKLOAD: "vm-passthrough"}
    assert theirs.kept == {"n": [OFF]}
