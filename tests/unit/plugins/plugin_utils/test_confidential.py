# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values, labels, waits and choices for nodes that run confidential virtual machines beside plain ones."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.action import controller_check
from ansible_collections.katagpu.cluster.plugins.filter import confidential_nodes as plugin
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import (
    _chart_values,
    _charts,
    _confidential,
    _controller,
    _manifests,
    _releases,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._labels import wanted_labels

STACK, LEGACY = _releases.lookup("26.7"), _releases.lookup("23.9")
HOSTS: dict[str, dict[str, Any]] = {
    "p": {},
    "n": {"katagpu_confidential": "none"},
    "s": {"katagpu_confidential": "snp", "katagpu_node_name": "node-s"},
    "t": {"katagpu_confidential": "tdx"},
}
MIXED = {"node-s": "snp", "t": "tdx"}
PLAIN = "kata-qemu-nvidia-gpu"


def values(confidential: dict[str, str], given: dict[str, Any] | None = None) -> dict[str, Any]:
    return _charts.kata_deploy_values(STACK, "k8s", {"a": "b"}, [], given or {}, confidential=confidential)


# Who asks for what


def test_only_nodes_that_ask_for_a_variant_are_named() -> None:
    assert plugin.confidential_nodes(HOSTS, list(HOSTS)) == MIXED
    assert plugin.FilterModule().filters() == {"confidential_nodes": plugin.confidential_nodes}
    with pytest.raises(AnsibleFilterError, match="confidential_nodes: katagpu_confidential of x is 'sev'"):
        plugin.confidential_nodes({"x": {"katagpu_confidential": "sev"}}, ["x"])


def test_named_nodes_say_it_of_kata_nodes_only() -> None:
    named = _manifests.named_nodes(HOSTS, ["p", "n", "s"], ["t"])
    assert {name: entry.get("confidential") for name, entry in named.items()} == {
        "p": None,
        "n": None,
        "node-s": "snp",
        "t": None,
    }


# Chart values


def test_without_a_demand_the_values_are_those_of_the_plain_class() -> None:
    plain = _charts.kata_deploy_values(STACK, "k8s", {"a": "b"}, [], {})
    assert values({}) == plain and plain["snapshotter"] == {"setup": []}
    assert set(plain["shims"]) == {"disableAll", "qemu-nvidia-gpu"}


def test_a_demand_adds_its_shim_and_the_snapshotter_and_nothing_else() -> None:
    found = values({"x": "snp"})
    assert found["shims"] == {
        "disableAll": True,
        "qemu-nvidia-gpu": {"enabled": True},
        "qemu-nvidia-gpu-snp": {"enabled": True},
    }
    assert found["snapshotter"] == {"setup": ["nydus"]}
    # The selector has the mark of all values, by which nodes get a changed runtime one after the other.
    differs = {key for key in found if found[key] != values({})[key]}
    assert differs == {"shims", "snapshotter", "nodeSelector"} and set(found) == set(values({}))
    assert {"qemu-nvidia-gpu-snp", "qemu-nvidia-gpu-tdx"} <= set(values(MIXED)["shims"])


def test_the_users_values_have_the_last_word() -> None:
    assert values(MIXED, {"snapshotter": {"setup": ["nydus", "erofs"]}})["snapshotter"]["setup"] == ["nydus", "erofs"]


def test_preflight_looks_at_the_same_values() -> None:
    for wanted in ({}, MIXED):
        charts = _charts.wanted_charts(STACK, {}, {"confidential": wanted, "node_selector": {"a": "b"}})
        assert {one["chart"]: one["values"] for one in charts}["kata-deploy"] == values(wanted)


@pytest.mark.parametrize(
    ("given", "modes", "part"),
    [
        ({"shims": {"qemu-nvidia-gpu-snp": {"enabled": False}}}, ["snp"], "RuntimeClass kata-qemu-nvidia-gpu-snp"),
        ({"snapshotter": {"setup": []}}, ["tdx"], "leaves out nydus, which the class kata-qemu-nvidia-gpu-tdx uses"),
        ({"snapshotter": {"setup": []}}, [], ""),
        (
            {"snapshotter": {"setup": []}, "shims": {"qemu-nvidia-gpu-snp": {"containerd": {"snapshotter": ""}}}},
            ["snp"],
            "",
        ),
    ],
)
def test_values_that_take_the_variant_away_are_refused(given: dict[str, Any], modes: list[str], part: str) -> None:
    messages = [one.message() for one in _chart_values.judge_kata_deploy(STACK, given, modes)]
    assert any(part in message for message in messages) if part else messages == []


# Labels and waits


def test_labels_follow_the_node() -> None:
    found = wanted_labels(STACK, ["p", "node-s"], ["c"], confidential=MIXED)
    assert {name: entry.get("nvidia.com/cc.mode") for name, entry in found.items()} == {
        "p": "off",
        "node-s": "on",
        "c": None,
    }
    assert wanted_labels(STACK, ["p"], ["c"], confidential={}) == wanted_labels(STACK, ["p"], ["c"])


@pytest.mark.parametrize(("node", "value"), [("p", "on"), ("node-s", "off")])
def test_two_demands_on_one_node_are_refused(node: str, value: str) -> None:
    extra = {node: {"nvidia.com/cc.mode": value}}
    with pytest.raises(KatagpuError, match=f"cc.mode of {node} is '{value}'.*follows from katagpu_confidential"):
        wanted_labels(STACK, ["p", "node-s"], [], extra, confidential=MIXED)


def test_the_operator_is_waited_for_in_the_mode_of_each_node() -> None:
    waits = _manifests.gpu_operator_waits(STACK, "ns", ["p", "node-s"], [], confidential=MIXED)
    labels = {one["name"]: one["until"]["labels"] for one in waits if one["kind"] == "Node"}
    assert labels == {
        "p": {"nvidia.com/cc.mode.state": "off", "nvidia.com/cc.ready.state": "false"},
        "node-s": {"nvidia.com/cc.mode.state": "on", "nvidia.com/cc.ready.state": "true"},
    }


def test_kata_is_waited_for_with_the_classes_and_the_labels_they_select() -> None:
    waits = _manifests.kata_deploy_waits(STACK, "ns", ["p", "node-s"], confidential=MIXED)
    classes = [one["name"] for one in waits if one["kind"] == "RuntimeClass"]
    assert classes == [PLAIN, f"{PLAIN}-snp", f"{PLAIN}-tdx"], "also of nodes that are not in this run"
    labels = {one["name"]: one["until"]["labels"] for one in waits if one["kind"] == "Node"}
    assert labels["p"] == STACK["kata_deploy"]["done_label"]
    assert labels["node-s"] == {**labels["p"], "amd.feature.node.kubernetes.io/snp": "true"}
    plain = _manifests.kata_deploy_waits(STACK, "ns", ["p"])
    assert [one["name"] for one in plain if one["kind"] == "RuntimeClass"] == [PLAIN]


# Before the run begins


def test_a_release_without_the_variant_and_container_nodes_are_refused() -> None:
    (found,) = _controller.confidential({"p": "none", "s": "snp"}, [], LEGACY)
    assert found.stops and found.id == "cc_release" and "(of s), and the release 23.9" in found.fact
    (found,) = _controller.confidential({"c": "snp"}, ["c"], STACK)
    assert found.stops and found.id == "both_groups" and "(of c) in container_nodes" in found.fact
    assert _controller.confidential({"p": "none", "s": "snp", "t": "tdx"}, ["c"], STACK) == []


def test_hosts_are_asked_by_their_plain_words() -> None:
    variables = {"hostvars": {**HOSTS, "x": {"katagpu_confidential": "{{ other }}"}}}
    found = controller_check._plain(variables, ["n", "s", "x", "p"], "katagpu_confidential")
    assert found == {"n": "none", "s": "snp", "p": None}
    assert "katagpu_confidential" in _controller.CHOICES


def test_a_variant_that_the_release_does_not_have_is_an_error() -> None:
    with pytest.raises(KatagpuError, match=r"the release 23\.9 has no confidential variant snp"):
        _confidential.runtime_class(LEGACY, "snp")
    assert _confidential.runtime_class(LEGACY) == PLAIN and _confidential.kata_deploy_values(LEGACY, ["snp"]) == {}


def test_a_release_of_ones_own_is_checked() -> None:
    broken = {"mine": {"based_on": "26.7", "confidential": {"variants": {"snp": {"cpu": "arm"}}}}}
    with pytest.raises(KatagpuError, match=r"confidential\.variants\.snp\.cpu must be one of amd, intel"):
        _releases.load(broken)
    without = {"mine": {"based_on": "23.9", "confidential": STACK["confidential"]}}
    with pytest.raises(KatagpuError, match=r"mine\.confidential needs mine\.kata_deploy"):
        _releases.load(without)
