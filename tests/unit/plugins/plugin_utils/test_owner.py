# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One owner of the bindings for all Kata hosts, in the inventory, in the chart and in the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import (
    _chart_values,
    _charts,
    _controller,
    _helm,
    _owner,
    _releases,
)
from tests.unit.assess_cluster import HELM, POLICIES, WORKLOAD, api, ask, ids, policy
from tests.unit.fake_api import FakeApi, node

RELEASES = [_releases.lookup(name) for name in ("26.7", "26.3", "25.3", "23.9")]
CURRENT = RELEASES[0]
HOSTVARS: dict[str, dict[str, Any]] = {
    "a": {"katagpu_vfio_owner": "host"},
    "b": {"katagpu_vfio_owner": "host"},
    "c": {},
}


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: str(release["name"]))
def test_with_the_owner_host_the_chart_gets_no_vfio_manager(release: dict[str, Any]) -> None:
    assert "host" in release["vfio"]["owners"]
    plain = _charts.gpu_operator_values(release, {}, vfio_owner="operator")
    assert plain == _charts.gpu_operator_values(release, {}) and "vfioManager" not in plain
    given = {"vfioManager": {"env": [{"name": "X", "value": "y"}]}}
    values = _charts.gpu_operator_values(release, given, vfio_owner="host")
    assert values["vfioManager"] == {"enabled": False, "env": [{"name": "X", "value": "y"}]}
    (chart, *_others) = [
        item for item in _charts.wanted_charts(release, {"vfio_owner": "host"}, {}) if item["chart"] == "gpu-operator"
    ]
    assert chart["values"]["vfioManager"]["enabled"] is False


def test_all_hosts_have_one_owner() -> None:
    assert _owner.chosen(HOSTVARS, ["a", "b"], CURRENT) == "host"
    assert _owner.chosen(HOSTVARS, ["c"], CURRENT) == "operator"
    assert _owner.chosen({}, [], CURRENT) == "operator"
    with pytest.raises(KatagpuError, match=r"operator \(of c\) and host \(of a, b\)"):
        _owner.chosen(HOSTVARS, ["a", "b", "c"], CURRENT)


def test_hosts_with_different_owners_are_refused_by_name() -> None:
    values = {"h1": "host", "h2": None, "h3": "operator", "h4": "", "h5": "operator", "h6": "nobody"}
    (found,) = _controller.owners(values, CURRENT)
    assert found.stops and found.id == "vfio_owner"
    assert found.fact == "katagpu_vfio_owner is operator (of h2, h3, h4 and 1 more) and host (of h1)."
    assert _controller.owners({"h1": "host", "h2": "host"}, CURRENT) == []
    assert _controller.owners({"h1": None, "h2": "operator"}, CURRENT) == []
    host_by_default = {"vfio": {"owner_default": "host"}}
    assert _controller.owners({"h1": None, "h2": "host"}, host_by_default) == []


def test_chart_values_that_contradict_the_owner_are_refused() -> None:
    on, off = {"vfioManager": {"enabled": True}}, {"vfioManager": {"enabled": False}}

    def judged(values: dict[str, Any], owner: str | None) -> list[str]:
        return [finding.message() for finding in _chart_values.judge(CURRENT, values, vfio_owner=owner)]

    assert judged(off, "host") == judged(on, "operator") == judged(on, None) == judged({}, "host") == []
    (message,) = judged(on, "host")
    assert "vfioManager.enabled is true, and katagpu_vfio_owner is host" in message
    (message,) = judged(off, "operator")
    assert "katagpu_vfio_owner: host switches it off" in message
    (message,) = judged({"ccManager": {"enabled": False}}, "host")
    assert "Without nvidia-cc-manager" in message and "katagpu_vfio_owner" not in message


def test_what_the_values_switch_off_is_told_of_a_chart() -> None:
    values = {"vfioManager": {"enabled": False}, "driver": {"enabled": True}, "x": "text", "nfd": {"enabled": False}}
    answer = _helm.verdict({**HELM, "values": values}, [])
    assert answer["disabled"] == ["nfd", "vfioManager"] and not answer["brings_nfd"]


def installed(vfio_manager: bool) -> dict[str, Any]:
    return {**policy(), "spec": {"vfioManager": {"enabled": vfio_manager}}}


DEPLOY = "nvidia.com/gpu.deploy.vfio-manager"
PASSED_THROUGH = {WORKLOAD: "vm-passthrough"}
POLICY = {f"{POLICIES}/cluster-policy": installed(True)}


def cluster(vfio_manager: bool, labels: dict[str, str]) -> FakeApi:
    return api(node("a"), node("b", labels), **{f"{POLICIES}/cluster-policy": installed(vfio_manager)})


def chart(vfio_manager: bool) -> dict[str, Any]:
    return {**HELM, "values": {} if vfio_manager else {"vfioManager": {"enabled": False}}}


@pytest.mark.parametrize(("now", "wanted"), [(True, False), (False, True)])
def test_a_change_of_the_owner_is_refused_with_the_way_to_make_it(now: bool, wanted: bool) -> None:
    answer = ask(cluster(now, PASSED_THROUGH), helm=[chart(wanted)])
    assert "vfio_owner" in ids(answer)
    (found,) = [item for item in answer["findings"] if item["id"] == "vfio_owner"]
    names = {True: "operator", False: "host"}
    assert found["severity"] == "block"
    assert found["fact"] == (
        f"katagpu_vfio_owner is {names[wanted]}, and the GPU Operator of this cluster is installed for {names[now]}."
    )
    assert (
        f"set katagpu_vfio_owner: {names[now]} again" in found["fix"] and "helm uninstall gpu-operator" in found["fix"]
    )


@pytest.mark.parametrize("owner", [True, False])
def test_the_owner_in_use_and_a_first_installation_are_no_change(owner: bool) -> None:
    assert "vfio_owner" not in ids(ask(cluster(owner, PASSED_THROUGH), helm=[chart(owner)]))
    assert "vfio_owner" not in ids(ask(api(node("a"), node("b", PASSED_THROUGH)), helm=[chart(owner)]))
    assert "vfio_owner" not in ids(ask(cluster(owner, PASSED_THROUGH)))


def test_without_a_node_whose_gpus_are_passed_through_the_change_takes_nothing() -> None:
    assert "vfio_owner" not in ids(ask(cluster(True, {}), helm=[chart(False)]))
    for labels in ({DEPLOY: "true"}, PASSED_THROUGH):
        foreign = api(node("a"), node("b"), node("c", labels), **POLICY)
        assert "vfio_owner" in ids(ask(foreign, helm=[chart(False)])), "also where nobody named the node"
    assert "vfio_owner" not in ids(ask(cluster(True, {DEPLOY: "false"}), helm=[chart(False)]))
