# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's charts, kustomizations, stand-ins and node behaviours against the fact tables."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.lab_charts import tool
from tests.lab.node.behaviours import coco, driver_manager, kata_manager, sysfs, validators
from tests.lab.standins import coco_operator, facts, gpu_labels, gpu_objects

REPO = Path(__file__).resolve().parents[2]
UPSTREAM = REPO / "tests" / "lab" / "upstream"
COCO = UPSTREAM / "coco-operator-v0.7.0" / "config"
GPU, CC = facts.GPU_OPERATOR, facts.COCO_OPERATOR
TABLES = sorted(path.stem for path in facts.TABLES.glob("*.yml"))
SOURCES = [
    *(REPO / "tests/lab/standins").glob("*.py"),
    *(REPO / "tests/unit/lab").glob("test_standins*.py"),
    *(REPO / "tests/unit/lab").glob("test_kata*.py"),
    REPO / "tests/unit/lab/test_behaviours_26.py",
]


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


# The tables themselves


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_a_fact_and_a_source(table: str) -> None:
    content = yaml.safe_load((facts.TABLES / f"{table}.yml").read_text(encoding="utf-8"))
    ids = [row["id"] for row in content["rows"]]
    assert len(ids) == len(set(ids)) and ids
    for row in content["rows"]:
        assert row["fact"].endswith("."), row["id"]
        assert set(row) <= {"id", "fact", "value", "source", "observed"}, row["id"]
        assert set(row["source"]) == {"repository", "file", "tag"} and all(row["source"].values()), row["id"]


def test_rows_that_the_stand_ins_cite_in_words_exist() -> None:
    known = {row for table in TABLES for row in facts.rows(table)}
    families = {row.partition(".")[0] for row in known}
    cited: dict[str, Path] = {}
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        # Comments and doc strings name rows after "row" or "Rows"; test doc strings begin with them.
        for chunk in re.findall(r"[Rr]ows? ([^()\"\n]+)|\"\"\"([a-z-]+\.[^\"]*)\"\"\"", text):
            for word in re.findall(r"\b[a-z-]+\.[a-z-]+(?:\.[a-z-]+)*\b", " ".join(chunk)):
                if word.partition(".")[0] in families:
                    cited[word] = source
    assert len(cited) > 30
    assert {word: source.name for word, source in cited.items() if word not in known} == {}


@pytest.mark.parametrize(
    ("table", "by_name"),
    [
        (facts.GPU_OPERATOR, {"nvidia-vfio-manager", "nvidia-kata-manager"}),
        (facts.GPU_OPERATOR_26, {"nvidia-vfio-manager", "nvidia-cc-manager"}),
    ],
)
def test_rows_of_the_operands_agree_with_each_other(table: str, by_name: set[str]) -> None:
    """A slip in the table itself: the stand-in is built from it and would follow."""
    known = gpu_labels.every_label(table) | {"nvidia.com/mps.capable"}
    for one in gpu_objects.operand_rows(table):
        assert one["labels"]["app"] == one["name"]
        assert one["pod_labels"].get("app", one["pod_labels"].get("name")) == one["name"]
        assert one["selector"].items() <= one["pod_labels"].items()
        assert set(one["node_selector"].values()) == {"true"}
        assert set(one["node_selector"]) <= known
        assert set(one["pre_stop"]) <= set(one["containers"])
    assert {one["name"] for one in gpu_objects.operand_rows(table) if "name" in one["pod_labels"]} == by_name


@pytest.mark.parametrize("table", sorted(facts.GPU_OPERATORS.values()))
def test_states_of_a_table_agree_with_each_other(table: str) -> None:
    order = facts.value(table, "states.order")
    named = {one["state"] for one in gpu_objects.operand_rows(table)} | set(facts.value(table, "states.sandbox"))
    named |= {*facts.value(table, "states.enabled-by"), *facts.find(table, "states.mode", {})}
    assert named | set(facts.find(table, "states.never", {})) <= set(order)
    modes = set(facts.find(table, "states.mode", {}).values())
    assert modes <= set(facts.value(table, "crd.enums").get("sandboxWorkloads.mode", []))
    assert set(facts.find(table, "nodes.mode-labels", {})) == modes


# The kustomizations


def kustomized(directory: Path) -> list[dict[str, Any]]:
    command = [tool("kubectl", "kubernetes-*/kubectl"), "kustomize", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def name_of(item: dict[str, Any]) -> str:
    metadata = item["metadata"]
    return "/".join(part for part in (item["kind"], metadata.get("namespace", ""), metadata["name"]) if part)


def test_release_yields_upstreams_objects() -> None:
    made = {name_of(one): one for one in kustomized(COCO / "release")}
    assert sorted(made) == sorted(facts.value(CC, "release.objects"))
    fact = facts.value(CC, "deployment")
    deployment = made[f"Deployment/{fact['namespace']}/{fact['name']}"]
    containers = deployment["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["image"] for one in containers} == fact["containers"]
    service = facts.value(CC, "service.metrics")
    assert made[f"Service/{fact['namespace']}/{service['name']}"]["spec"]["ports"][0]["port"] == service["port"]


def test_schema_of_ccruntime() -> None:
    crd = documents(COCO / "release/crd.yaml")[0]["spec"]
    fact = facts.value(CC, "crd")
    assert (crd["group"], crd["scope"], crd["names"]["shortNames"]) == (
        fact["group"],
        fact["scope"],
        fact["shortNames"],
    )
    version = crd["versions"][0]
    assert (version["name"], sorted(version["subresources"])) == (fact["version"], fact["subresources"])
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields = facts.value(CC, "crd.spec")
    assert sorted(spec["properties"]) == fields["spec"] and sorted(spec["required"]) == fields["required"]["spec"]
    config = spec["properties"]["config"]
    assert (
        sorted(config["properties"]) == fields["config"] and sorted(config["required"]) == fields["required"]["config"]
    )
    enums = facts.value(CC, "crd.enums")
    assert spec["properties"]["runtimeName"]["enum"] == enums["runtimeName"]
    assert config["properties"]["installType"]["enum"] == enums["installType"]


def test_sample_runtime() -> None:
    (made,) = kustomized(COCO / "samples/ccruntime/default")
    fact = facts.value(CC, "sample")
    spec, config = made["spec"], made["spec"]["config"]
    assert made["metadata"]["name"] == fact["name"]
    assert (spec["runtimeName"], spec["ccNodeSelector"]) == (fact["runtimeName"], fact["ccNodeSelector"])
    for key in ("runtimeClassNames", "installDoneLabel", "uninstallDoneLabel", "payloadImage"):
        assert config[key] == fact[key], key
    assert config["preInstall"]["image"] == config["postUninstall"]["image"] == fact["hookImage"]
    made["metadata"]["uid"] = "u"
    body = coco_operator.coco_objects.daemonset("install", made, "x")
    assert (
        body["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
        == (facts.value(CC, "host.install")["cleanup_command"])
    )


# Constants of the node behaviours, which run in a guest without these tables


def test_constants_of_the_behaviours_are_facts() -> None:
    evicts = facts.value(GPU, "driver-manager.evicts")
    assert [f"{driver_manager.DEPLOY}{name}" for name in driver_manager.EVICTED] == evicts["labels"]
    assert evicts["paused"] == driver_manager.PAUSED
    assert evicts["pods"].items() <= driver_manager.EVICTED.items()
    assert facts.value(GPU, "driver-manager.host-driver")["sleep"] == driver_manager.HOST_DRIVER_SLEEP_SECONDS
    assert {f"0x{code}" for code in sysfs.GPU_CLASSES} == set(facts.value(GPU, "vfio-manager.binds"))
    workload = facts.value(GPU, "nodes.workload-label")
    assert (validators.WORKLOAD_LABEL, list(validators.WORKLOADS)) == (workload["key"], workload["values"])
    assert f"/var/run/{kata_manager.CDI_FILE}" == facts.value(facts.KATA_MANAGER, "cdi.file")["path"]
    assert list(kata_manager.MODULES) == facts.value(facts.KATA_MANAGER, "modules")
    assert facts.value(GPU, "daemonset.kata-manager.env")["config_map"] == kata_manager.CONFIG_MAP
    assert facts.value(GPU, "values.kata-manager")["config"]["artifactsDir"] == kata_manager.ARTIFACTS_DIR
    assert facts.value(CC, "host.containerd-version") == coco.VERSION
    assert list(coco.HANDLERS) == facts.value(CC, "sample")["runtimeClassNames"]
    assert gpu_objects.kata_config(GPU, {"kataManager": {}})["artifactsDir"] == kata_manager.ARTIFACTS_DIR


def test_the_node_agent_needs_no_library() -> None:
    """It runs in a guest with Python alone."""
    for path in (REPO / "tests/lab/node").rglob("*.py"):
        for module in re.findall(r"(?m)^(?:import|from) ([a-z_]+)", path.read_text(encoding="utf-8")):
            assert module not in ("yaml", "kubernetes", "tests", "requests"), f"{path}: {module}"
