# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's chart of kata-deploy against the fact table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts, _releases
from tests.contract.lab_charts import CHARTS, helm, leaves, only, render, values
from tests.lab.standins import facts

T = facts.KATA_DEPLOY
CHART = "kata-deploy-4.0.0"
GPU_SHIMS = ("qemu-nvidia-gpu", "qemu-nvidia-gpu-snp", "qemu-nvidia-gpu-tdx")
SETTINGS = ("shims.disableAll=true", *(f"shims.{shim}.enabled=true" for shim in GPU_SHIMS))


def made(*settings: str) -> list[dict[str, Any]]:
    return render(CHART, "kata-deploy", "kata-system", *SETTINGS, *settings)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


def test_identity_and_value_keys() -> None:
    """chart.identity, values.keys, values.not-there"""
    chart = yaml.safe_load((CHARTS / CHART / "Chart.yaml").read_text(encoding="utf-8"))
    identity = facts.value(T, "chart.identity")
    assert {key: chart[key] for key in identity} == identity
    have = leaves({key: value for key, value in values(CHART).items() if key != "shims"})
    assert have == set(facts.value(T, "values.keys"))
    assert not {*facts.value(T, "values.not-there")} & {*have, *values(CHART)}


def test_shims_and_their_keys() -> None:
    """values.shims, values.shim-keys, values.arches, classes.gpu-selectors"""
    shims = {key: value for key, value in values(CHART)["shims"].items() if key != "disableAll"}
    assert sorted(shims) == facts.value(T, "values.shims")
    for shim, keys in facts.value(T, "values.shim-keys").items():
        assert sorted(leaves(shims[shim])) == keys
    for shim, arches in facts.value(T, "values.arches").items():
        assert shims[shim]["supportedArches"] == arches
        selector = facts.value(T, "classes.gpu-selectors")[shim]
        assert shims[shim]["runtimeClass"]["nodeSelector"] == selector


def test_classes_are_made_by_the_chart() -> None:
    """classes.maker, classes.labels, classes.node-selector, classes.overhead"""
    found = [one for one in made() if one["kind"] == "RuntimeClass"]
    assert sorted(one["metadata"]["name"] for one in found) == [f"kata-{shim}" for shim in GPU_SHIMS]
    for item in found:
        shim = item["metadata"]["name"].removeprefix("kata-")
        assert item["handler"] == item["metadata"]["name"]
        assert item["metadata"]["labels"] == facts.value(T, "classes.labels")
        assert item["overhead"]["podFixed"] == facts.value(T, "classes.overhead")[shim]
        selector = facts.value(T, "classes.node-selector") | facts.value(T, "classes.gpu-selectors")[shim]
        assert item["scheduling"]["nodeSelector"] == selector


def test_without_disable_all_every_shim_gets_a_class() -> None:
    """values.shim-keys: only what says enabled false stays out."""
    objects = render(CHART, "kata-deploy", "kata-system")
    names = {one["metadata"]["name"] for one in objects if one["kind"] == "RuntimeClass"}
    assert names == {f"kata-{shim}" for shim in facts.value(T, "values.shims")} - {"kata-remote"}


def test_overhead_and_selectors_can_be_changed() -> None:
    """classes.overhead"""
    shim = "shims.qemu-nvidia-gpu.runtimeClass"
    objects = made(f"{shim}.overhead.memory=1Gi", f"{shim}.nodeSelector.nvidia\\.com/cc\\.ready\\.state=null")
    item = only(objects, "RuntimeClass", "kata-qemu-nvidia-gpu")
    assert item["overhead"]["podFixed"] == {"memory": "1Gi", "cpu": "1.0"}
    assert item["scheduling"]["nodeSelector"] == facts.value(T, "classes.node-selector")
    item = only(made(f"{shim}.overheadEnabled=false"), "RuntimeClass", "kata-qemu-nvidia-gpu")
    assert "overhead" not in item
    assert not [one for one in made("runtimeClasses.enabled=false") if one["kind"] == "RuntimeClass"]


def test_daemonset() -> None:
    """daemonset"""
    fact = facts.value(T, "daemonset")
    objects = made("nodeSelector.a=b", "tolerations[0].key=k", "tolerations[0].operator=Exists")
    item = only(objects, "DaemonSet", fact["name"])
    assert item["metadata"]["namespace"] == "kata-system"
    pod = item["spec"]["template"]["spec"]
    assert item["spec"]["template"]["metadata"]["labels"] == fact["pod_labels"]
    assert item["spec"]["selector"]["matchLabels"] == fact["pod_labels"]
    assert (pod["nodeSelector"], pod["tolerations"]) == ({"a": "b"}, [{"key": "k", "operator": "Exists"}])
    assert pod["terminationGracePeriodSeconds"] == fact["grace_seconds"]
    assert (pod["hostPID"], pod["priorityClassName"]) == (fact["host_pid"], fact["priority_class"])
    assert pod["serviceAccountName"] == fact["service_account"]
    (container,) = pod["containers"]
    assert (container["name"], container["image"]) == (fact["container"], fact["image"])
    assert container["readinessProbe"]["httpGet"] == fact["readiness"]
    startup = container["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] == fact["startup_budget_seconds"]
    given = environment(container)
    assert given["SHIMS_X86_64"] == " ".join(GPU_SHIMS) and "SHIMS_AARCH64" not in given
    assert given["SNAPSHOTTER_HANDLER_MAPPING_X86_64"] == "qemu-nvidia-gpu-snp:nydus,qemu-nvidia-gpu-tdx:nydus"


@pytest.mark.parametrize("asked", [{}, {"a": "snp"}, {"a": "snp", "b": "tdx", "c": "snp"}], ids=["none", "snp", "both"])
def test_classes_and_snapshotter_come_only_where_the_values_ask(asked: dict[str, str], tmp_path: Path) -> None:
    """values.snapshotter, classes.maker, classes.gpu-selectors: with the values that the role hands to Helm."""
    stack = _releases.lookup("26.7")
    file = tmp_path / "values.yaml"
    given = _charts.kata_deploy_values(stack, "k8s", {"a": "b"}, [], {}, confidential=asked)
    file.write_text(yaml.safe_dump(given), encoding="utf-8")
    done = helm("template", "kata-deploy", str(CHARTS / CHART), "--namespace", "kata-system", "--values", str(file))
    assert done.returncode == 0, done.stderr
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    shims = ["qemu-nvidia-gpu", *(f"qemu-nvidia-gpu-{mode}" for mode in sorted(set(asked.values())))]
    classes = sorted(one["metadata"]["name"] for one in objects if one["kind"] == "RuntimeClass")
    assert classes == [f"kata-{shim}" for shim in shims]
    (container,) = only(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    found = environment(container)
    assert found["SHIMS_X86_64"] == " ".join(shims)
    mapping = ",".join(f"{shim}:nydus" for shim in shims[1:])
    assert found.get("SNAPSHOTTER_HANDLER_MAPPING_X86_64", "") == mapping
    assert found.get("EXPERIMENTAL_SETUP_SNAPSHOTTER", "") == ("nydus" if asked else "")


def test_nothing_tolerates_or_selects_by_default() -> None:
    pod = only(made(), "DaemonSet")["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod and "tolerations" not in pod


@pytest.mark.parametrize(("distribution", "directory"), [("k8s", "/etc/containerd/"), ("k0s", "/etc/k0s/")])
def test_containerd_directory_follows_the_distribution(distribution: str, directory: str) -> None:
    pod = only(made(f"k8sDistribution={distribution}"), "DaemonSet")["spec"]["template"]["spec"]
    volume = next(one for one in pod["volumes"] if one["name"] == "containerd-conf")
    assert volume["hostPath"]["path"] == directory


def test_access_is_kept_and_a_hook_takes_it_away() -> None:
    """rbac.kept"""
    fact = facts.value(T, "rbac.kept")
    objects = made()
    kept = [
        one["metadata"]["name"]
        for one in objects
        if (one["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") == "keep"
    ]
    assert sorted(kept) == sorted(fact["names"])
    job = only(objects, "Job", fact["job"])
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-delete"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["name"] == fact["container"]
    assert set(fact["names"]) <= set(environment(container).values())


def test_job_mode_has_no_daemonset() -> None:
    """job.mode"""
    fact = facts.value(T, "job.mode")
    objects = made("deploymentMode=job", "job.nodeSelector.a=b")
    assert not [one for one in objects if one["kind"] == "DaemonSet"]
    install = only(objects, "Job", fact["install"])
    (container,) = install["spec"]["template"]["spec"]["containers"]
    assert container["name"] == fact["container"]
    selector = "--node-selector=a=b,!node-role.kubernetes.io/control-plane,!node-role.kubernetes.io/master"
    assert selector in container["command"]
    templates = only(objects, "ConfigMap", fact["templates"])["data"]
    for stage, names in fact["stages"].items():
        job = json.loads(templates[f"{stage}-job.yaml"])
        pod = job["spec"]["template"]["spec"]
        assert [one["name"] for one in [*pod["initContainers"], *pod["containers"]]] == names
        assert job["spec"]["template"]["metadata"]["labels"][fact["label"]] == stage
    cleanup = only(objects, "Job", fact["cleanup"])
    assert cleanup["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"


@pytest.mark.parametrize(
    "setting",
    ["node-feature-discovery.enabled=true", "verification.pod=x", "monitor.enabled=true", "deploymentMode=other"],
)
def test_what_the_lab_cannot_do_is_refused(setting: str) -> None:
    done = helm("template", "x", str(CHARTS / CHART), "--set", setting)
    assert done.returncode != 0 and ("lab" in done.stderr or "not known" in done.stderr)
