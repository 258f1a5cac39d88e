# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release data against the facts about the very chart versions it installs: charts take unknown keys silently."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts, _owner, _releases
from tests.contract import product
from tests.contract.lab_charts import leaves
from tests.lab.standins import facts

RELEASES = _releases.load()
INSTALLABLE = _releases.installable(RELEASES)
CURRENT = [name for name in INSTALLABLE if "kata_deploy" in RELEASES[name]]
CHARTED = [
    (name, part)
    for name, release in RELEASES.items()
    for part in ("gpu_operator", "kata_deploy")
    if "chart_version" in release.get(part, {})
]
# Below these keys a chart takes anything.
FREE = ("nodeSelector", "tolerations")


def table(release: dict[str, Any], part: str) -> str:
    return f"{part}_{release[part]['chart_version'].replace('.', '_')}"


def given(release: dict[str, Any], part: str, confidential: dict[str, str] | None = None) -> dict[str, Any]:
    """The values that a role hands to Helm when the user sets none."""
    if part == "gpu_operator":
        return dict(release[part]["values"])
    toleration = {"key": "a", "operator": "Exists"}
    selector = release[part]["node_selector"]
    return _charts.kata_deploy_values(release, "k8s", selector, [toleration], {}, confidential=confidential)


def known(name: str) -> set[str]:
    shims = facts.find(name, "values.shim-keys", {})
    of_shims = {f"shims.{shim}.{key}" for shim, keys in shims.items() for key in keys}
    return {*facts.value(name, "values.keys"), *of_shims, *(["shims.disableAll"] if shims else [])}


def unknown(values: dict[str, Any], keys: set[str]) -> set[str]:
    return {path for path in leaves(values) - keys if not path.startswith(tuple(f"{key}." for key in FREE))}


def at(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def outside(values: dict[str, Any], enums: dict[str, list[str]]) -> dict[str, Any]:
    return {path: at(values, path) for path, allowed in enums.items() if at(values, path) not in (None, *allowed)}


# Keys and enumerations


@pytest.mark.parametrize(("name", "part"), CHARTED)
def test_every_chart_version_has_its_facts(name: str, part: str) -> None:
    assert facts.value(table(RELEASES[name], part), "values.keys")


@pytest.mark.parametrize(("name", "part"), [one for one in CHARTED if one[0] in INSTALLABLE])
def test_every_key_that_we_set_is_upstreams(name: str, part: str) -> None:
    release = RELEASES[name]
    keys, values = known(table(release, part)), given(release, part)
    assert values and unknown(values, keys) == set()
    if part == "gpu_operator":
        assert unknown(release["vfio"]["host_owner_values"], keys) == set()
        assert {f"{operand}.enabled" for operand in switches(release)} <= keys | BEYOND_THE_TABLE


@pytest.mark.parametrize(("name", "part"), [one for one in CHARTED if one[0] in INSTALLABLE])
def test_every_value_is_one_that_upstream_knows(name: str, part: str) -> None:
    release = RELEASES[name]
    row = "crd.enums" if part == "gpu_operator" else "values.enums"
    enums = facts.value(table(release, part), row)
    assert outside(given(release, part), enums) == {}
    for path, allowed in release[part].get("enums", {}).items():
        assert allowed == enums[path], path


def test_a_key_or_a_value_of_another_version_is_found() -> None:
    legacy = facts.GPU_OPERATOR
    values = {"sandboxWorkloads": {"enabled": True, "mode": "kata"}}
    assert unknown(values, known(legacy)) == {"sandboxWorkloads.mode"}
    assert unknown({"nfd": {"enabled": False}}, known(facts.KATA_DEPLOY)) == {"nfd.enabled"}
    enums = facts.value(facts.GPU_OPERATOR_26, "crd.enums")
    assert outside({"sandboxWorkloads": {"mode": "Kata"}}, enums) == {"sandboxWorkloads.mode": "Kata"}


# What the values lead to


@pytest.mark.parametrize("name", CURRENT)
def test_classes_of_the_release_are_those_of_its_shims(name: str) -> None:
    """values.shims, values.arches, classes.node-selector, classes.gpu-selectors, classes.overhead"""
    release = RELEASES[name]
    row = table(release, "kata_deploy")
    values = given(release, "kata_deploy")
    shims = [key for key, shim in values["shims"].items() if key != "disableAll" and shim["enabled"]]
    assert values["shims"]["disableAll"] is True and set(shims) <= set(facts.value(row, "values.shims"))
    assert [f"kata-{shim}" for shim in shims] == release["kata_deploy"]["runtime_classes"]
    assert release["runtime_classes"]["gpu"] in release["kata_deploy"]["runtime_classes"]
    for arch in release["architectures"]:
        assert values["defaultShim"][arch] in shims
        assert all(arch in facts.value(row, "values.arches")[shim] for shim in shims)
    # A pod of the class fits the nodes that the readiness of the release calls ready.
    (shim,) = [one for one in shims if f"kata-{one}" == release["runtime_classes"]["gpu"]]
    selector = facts.value(row, "classes.node-selector") | facts.value(row, "classes.gpu-selectors")[shim]
    promised = release["kata_deploy"]["done_label"] | release["readiness"]["kata_labels"]
    assert selector.items() <= promised.items()
    overhead = facts.value(row, "classes.overhead")[shim]["memory"]
    assert overhead == f"{release['guest']['overhead_mib']}Mi"


@pytest.mark.parametrize("name", CURRENT)
def test_variants_of_the_release_are_those_of_the_chart(name: str) -> None:
    """values.shims, values.shim-keys, values.arches, values.snapshotter, classes.gpu-selectors, classes.overhead, nfd.rule"""
    release = RELEASES[name]
    row = table(release, "kata_deploy")
    confidential = release["confidential"]
    plain, both = given(release, "kata_deploy"), given(release, "kata_deploy", {"a": "snp", "b": "tdx"})
    assert plain == given(release, "kata_deploy", {}) and both != plain
    assert both["snapshotter"]["setup"] == [confidential["snapshotter"]] == facts.value(row, "values.snapshotter")
    # The chart names a key of the TDX shim nowhere else, and it has those of the SNP shim.
    paths = {path.replace("gpu-tdx", "gpu-snp") for path in leaves(both)}
    assert {path for path in paths - known(row) if not path.startswith(FREE)} == set()
    assert set(confidential["variants"]) == {"snp", "tdx"}
    for mode, variant in confidential["variants"].items():
        shim = variant["shim"]
        assert variant["runtime_class"] == f"kata-{shim}" and shim in facts.value(row, "values.shims")
        assert both["shims"][shim] == {"enabled": True}
        assert set(release["architectures"]) <= set(facts.value(row, "values.arches")[shim])
        # A pod of the class fits the nodes that are called ready for it.
        selector = facts.value(row, "classes.node-selector") | facts.value(row, "classes.gpu-selectors")[shim]
        promised = release["kata_deploy"]["done_label"] | confidential["ready"] | variant["node_labels"]
        assert selector.items() <= promised.items()
        assert facts.value(row, "classes.overhead")[shim]["memory"] == f"{release['guest']['overhead_mib']}Mi"
        assert variant["key_resource"] == facts.value(row, "nfd.rule")["resources"][mode]
        assert variant["node_labels"] == facts.value(row, "nfd.rule")["labels"][mode]
        assert variant["key_controller"] == facts.value(row, "nfd.rule")["controllers"][mode]


@pytest.mark.parametrize("name", CURRENT)
def test_the_mode_of_the_gpus_is_one_of_the_cc_manager(name: str) -> None:
    """mode.label, mode.host, state.labels, capable.devices"""
    confidential, manager = RELEASES[name]["confidential"], facts.CC_MANAGER
    state, mode = facts.value(manager, "state.labels"), facts.value(manager, "mode.label")
    (value,) = confidential["labels"].values()
    assert confidential["labels"] == {mode["label"]: value}
    assert confidential["ready"] == {state["state"]: value, state["ready"]: state["values"][value]}
    known = facts.value(manager, "capable.devices")
    assert all(device.startswith(tuple(confidential["gpus"]["capable"])) for device in known)
    assert not [device for device in known if device.startswith(tuple(confidential["gpus"]["incapable"]))]


@pytest.mark.parametrize("name", CURRENT)
def test_distributions_of_the_role_are_those_of_the_chart(name: str) -> None:
    choices = product.entry_points("kata_deploy")["main"]["options"]["kata_deploy_distribution"]["choices"]
    assert choices == facts.value(table(RELEASES[name], "kata_deploy"), "values.enums")["k8sDistribution"]


@pytest.mark.parametrize("name", [name for name in INSTALLABLE if "kata_manager" in RELEASES[name]])
def test_the_kata_manager_of_the_release_is_the_default_of_its_chart(name: str) -> None:
    """values.kata-manager"""
    row = table(RELEASES[name], "gpu_operator")
    manager = RELEASES[name]["kata_manager"]
    options = {"runtime_classes" if key == "classes" else key: value for key, value in manager.items()}
    values = _charts.kata_manager_values(options)
    fact = facts.value(row, "values.kata-manager")
    assert values == {key: fact[key] for key in values} and "config" in values
    assert unknown({"kataManager": values}, known(row)) == set()
    classes = [one["name"] for one in values["config"]["runtimeClasses"]]
    assert classes == RELEASES[name]["runtime_classes"]["operator"]


# Operands

# Blocks that the tables do not list key by key.
BEYOND_THE_TABLE = {f"{block}.enabled" for block in ("devicePlugin", "dcgmExporter", "gfd")}


def switches(release: dict[str, Any]) -> set[str]:
    operands = [one for workload in release["operands"].values() for one in workload]
    return {one["enabled_by"] for one in operands if "enabled_by" in one}


def switch(name: str, row: dict[str, Any]) -> str | None:
    """The block that switches an operand on: said by its row, or by its state."""
    by_state = facts.find(name, "states.enabled-by", {}).get(row.get("state"), [None])
    block: str | None = row.get("enabled_by") or by_state[0]
    return block


@pytest.mark.parametrize("name", INSTALLABLE)
def test_operands_are_those_of_the_assets(name: str) -> None:
    release = RELEASES[name]
    source = table(release, "gpu_operator")
    for operand in [*release["operands"]["kata"], *release["operands"]["container"]]:
        row = facts.value(source, f"daemonset.{operand['daemonset']}")
        assert operand["pod_selector"] == row["selector"], operand["daemonset"]
        assert {operand["deploy_label"]: "true"} == row["node_selector"], operand["daemonset"]
        assert operand.get("enabled_by") == switch(source, row), operand["daemonset"]
        assert row["tolerations"] == release["gpu_operator"]["tolerations"], operand["daemonset"]


@pytest.mark.parametrize("name", INSTALLABLE)
def test_the_owner_host_switches_off_the_vfio_manager_and_nothing_else(name: str) -> None:
    """states.enabled-by, states.disabled-deleted: the state of the vfio-manager, and no other of the same block."""
    release = RELEASES[name]
    assert "host" in release["vfio"]["owners"]
    (block,) = _owner.operands(release)
    operands = [one["daemonset"] for one in release["operands"]["kata"] if one.get("enabled_by") == block]
    assert operands == ["nvidia-vfio-manager"]
    source = table(release, "gpu_operator")
    states = facts.find(source, "states.enabled-by", {f"state-{operands[0].removeprefix('nvidia-')}": [block]})
    assert [state for state, (other, *_rest) in states.items() if other == block] == ["state-vfio-manager"]


@pytest.mark.parametrize(
    ("name", "plugin", "row"),
    [
        ("26.7", facts.KATA_PLUGIN, "scan.devices"),
        ("26.3", facts.KATA_PLUGIN, "scan.devices"),
        ("23.9", "kubevirt_gpu_device_plugin_v1_2_4", "scan.driver"),
    ],
)
def test_what_the_device_plugin_offers(name: str, plugin: str, row: str) -> None:
    assert RELEASES[name]["vfio"]["plugin_drivers"] == [facts.value(plugin, row)]


@pytest.mark.parametrize("name", INSTALLABLE)
def test_what_the_operator_calls_ready_and_what_it_leaves_behind(name: str) -> None:
    """ready.missing-daemonset, status.ready, crd.files, nodes.workload-label"""
    release = RELEASES[name]
    source = table(release, "gpu_operator")
    ready = facts.value(source, "ready.missing-daemonset")["ready"]
    assert release["readiness"]["missing_daemonset_counts_as_ready"] is ready
    policy, fact = release["readiness"]["cluster_policy"], facts.value(source, "status.ready")
    assert (policy["state"], policy["reason"]) == (fact["state"], fact["Ready"]["reason"])
    assert set(release["gpu_operator"]["crds"]) <= set(facts.find(source, "crd.files", release["gpu_operator"]["crds"]))
    label, workload = facts.value(source, "nodes.workload-label"), release["labels"]["workload"]
    assert (workload["key"], workload["allowed"]) == (label["key"], label["values"])


def test_the_gpus_with_confidential_computing_are_those_of_the_chart() -> None:
    rows = product.load(product.REPOSITORY / "tests" / "facts" / "k8s_cc_manager_v0_4_3.yml")["rows"]
    (devices,) = [row["value"] for row in rows if row["id"] == "capable.devices"]
    for name in ("23.9", "25.3"):
        assert _releases.lookup(name)["vfio"]["cc_devices"] == devices
