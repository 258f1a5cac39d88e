# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's charts, kustomizations, stand-ins and node behaviours against the fact tables."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import paths
from tests.lab.node.behaviours import coco, driver_manager, kata_manager, sysfs, validators
from tests.lab.standins import coco_operator, facts, gpu_objects, gpu_operator

REPO = Path(__file__).resolve().parents[2]
UPSTREAM = REPO / "tests" / "lab" / "upstream"
CHART = UPSTREAM / "charts" / "gpu-operator-v23.9.2"
COCO = UPSTREAM / "coco-operator-v0.7.0" / "config"
GPU, CC = facts.GPU_OPERATOR, facts.COCO_OPERATOR
TABLES = sorted(path.stem for path in facts.TABLES.glob("*.yml"))
SOURCES = [*(REPO / "tests/lab/standins").glob("*.py"), *(REPO / "tests/unit/lab").glob("test_standins*.py")]


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def tool(name: str, pattern: str) -> str:
    """A command of the lab's cache or of the machine; these tests skip loudly without one."""
    cached = sorted(paths.BIN.glob(pattern))
    found = str(cached[-1]) if cached else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed and not in the lab's cache")
    return found


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


def test_rows_of_the_operands_agree_with_each_other() -> None:
    """A slip in the table itself: the stand-in is built from it and would follow."""
    deploy = {key for keys in facts.value(GPU, "nodes.deploy-labels").values() for key in keys}
    for one in gpu_objects.operand_rows(GPU):
        assert one["labels"]["app"] == one["name"]
        assert one["pod_labels"].get("app", one["pod_labels"].get("name")) == one["name"]
        assert one["selector"].items() <= one["pod_labels"].items()
        assert list(one["node_selector"].values()) == ["true"]
        assert set(one["node_selector"]) <= deploy | {"nvidia.com/gpu.deploy.mig-manager"}
        assert set(one["pre_stop"]) <= set(one["containers"])
    by_name = {one["name"] for one in gpu_objects.operand_rows(GPU) if "name" in one["pod_labels"]}
    assert by_name == {"nvidia-vfio-manager", "nvidia-kata-manager"}


# The chart


def leaves(values: Any, prefix: str = "") -> set[str]:
    if not isinstance(values, dict) or not values:
        return {prefix}
    return {leaf for key, value in values.items() for leaf in leaves(value, f"{prefix}.{key}" if prefix else key)}


def test_value_keys_of_the_chart_are_upstreams() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    expected = set(facts.value(GPU, "values.keys"))
    blocks = {key.partition(".")[0] for key in expected}
    have = leaves({key: value for key, value in values.items() if key in blocks})
    assert expected - have == set(), "keys that upstream has"
    assert have - expected == set(), "keys that upstream does not have"
    assert values["kataManager"] == facts.value(GPU, "values.kata-manager")


def test_identity_of_the_chart_and_its_subchart() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert {key: chart[key] for key in facts.value(GPU, "chart.identity")} == facts.value(GPU, "chart.identity")
    fact = facts.value(GPU, "chart.nfd")
    dependency = chart["dependencies"][0]
    assert {key: dependency[key] for key in dependency} == {key: fact[key] for key in dependency}


def at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    for key in path.split("."):
        schema = schema["properties"][key]
    return schema


def test_schema_of_cluster_policy() -> None:
    crd = documents(CHART / "crds/nvidia.com_clusterpolicies_crd.yaml")[0]["spec"]
    fact = facts.value(GPU, "crd.cluster-policy")
    assert (crd["group"], crd["scope"], crd["names"]["plural"]) == (fact["group"], fact["scope"], fact["plural"])
    top = crd["versions"][0]["schema"]["openAPIV3Schema"]
    assert sorted(top["properties"]["spec"]["required"]) == fact["required"]
    for path, values in facts.value(GPU, "crd.enums").items():
        assert at(top, path if path.startswith("status.") else f"spec.{path}")["enum"] == values, path
    assert sorted(at(top, "status")["properties"]) == facts.value(GPU, "status.no-observed-generation")
    classes = at(top, "spec.kataManager.config.runtimeClasses")["items"]
    assert classes["properties"]["artifacts"]["required"] == facts.value(GPU, "crd.kata-manager.artifacts-url-required")


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    command = [tool("helm", "helm-*/helm"), "template", "gpu-operator", str(CHART), "--namespace", "gpu-operator"]
    command += ["--set", "sandboxWorkloads.enabled=true", "--set", "kataManager.enabled=true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def observed_form(item: dict[str, Any]) -> dict[str, Any]:
    """A DaemonSet in the words of the fact table."""
    spec, pod = item["spec"], item["spec"]["template"]["spec"]
    hooks = {
        one["name"]: one["lifecycle"]["preStop"]["exec"]["command"] for one in pod["containers"] if one.get("lifecycle")
    }
    return {
        "name": item["metadata"]["name"],
        "labels": item["metadata"]["labels"],
        "selector": spec["selector"]["matchLabels"],
        "pod_labels": spec["template"]["metadata"]["labels"],
        "node_selector": pod.get("nodeSelector", {}),
        "init_containers": [one["name"] for one in pod.get("initContainers", [])],
        "containers": [one["name"] for one in pod["containers"]],
        "tolerations": [{key: value for key, value in one.items() if value} for one in pod.get("tolerations", [])],
        "update_strategy": spec.get("updateStrategy", {"type": "RollingUpdate"})["type"],
        "host_pid": pod.get("hostPID", False),
        "host_network": pod.get("hostNetwork", False),
        "priority_class": pod.get("priorityClassName"),
        "runtime_class": pod.get("runtimeClassName"),
        "grace_seconds": pod.get("terminationGracePeriodSeconds", 30),
        "pre_stop": hooks,
    }


def test_daemonsets_are_those_that_the_real_controller_made(rendered: list[dict[str, Any]]) -> None:
    policy = next(one for one in rendered if one["kind"] == "ClusterPolicy")
    policy["metadata"]["uid"] = "u"
    node = {"metadata": {"name": "n", "labels": {"feature.node.kubernetes.io/pci-10de.present": "true"}}}
    seen = gpu_operator.GpuState(table=GPU, policy=policy, nodes=[node], namespace="gpu-operator", now="now")
    made = [
        one.body
        for one in gpu_operator.reconcile(seen)
        if isinstance(one, gpu_operator.Create) and one.body["kind"] == "DaemonSet"
    ]
    made += [one for one in rendered if one["kind"] == "DaemonSet"]
    expected = {
        one["name"]: one for one in facts.prefixed(GPU, "daemonset.") if isinstance(one, dict) and "name" in one
    }
    assert sorted(one["metadata"]["name"] for one in made) == sorted(expected)
    for item in made:
        form = observed_form(item)
        fact = {key: value for key, value in expected[form["name"]].items() if key in form}
        assert form == fact, form["name"]
        assert item["spec"]["template"]["spec"]["serviceAccountName"]


def test_operator_deployment_and_policy_name(rendered: list[dict[str, Any]]) -> None:
    fact = facts.value(GPU, "deployment.gpu-operator")
    found = next(one for one in rendered if one["kind"] == "Deployment" and one["metadata"]["name"] == fact["name"])
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert fact["pod_labels"].items() <= labels.items()
    assert [one["name"] for one in found["spec"]["template"]["spec"]["containers"]] == fact["containers"]
    policies = [one["metadata"]["name"] for one in rendered if one["kind"] == "ClusterPolicy"]
    assert policies == [facts.value(GPU, "crd.cluster-policy")["name"]]


def test_nfd_can_be_left_out(rendered: list[dict[str, Any]]) -> None:
    command = [tool("helm", "helm-*/helm"), "template", "x", str(CHART), "--set", "nfd.enabled=false"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "node-feature-discovery-worker" not in done.stdout
    assert any(one["kind"] == "DaemonSet" for one in rendered)


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
