# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's kubelet, read by the real reader and judged with the needs of a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet.facts import PENDING
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.unit.assess_host import RELEASE, gpu, ids, judge, machine
from tests.unit.plugins.module_utils._kubelet.test_kubelet_facts import group, process

NEEDS = _releases.lookup("26.7")["kubelet"]
CURRENT = {**RELEASE, "kubelet": NEEDS}
CONFIG = "/var/lib/kubelet/config.yaml"
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
GOOD = HEAD + "runtimeRequestTimeout: 25m\nfeatureGates:\n  KubeletPodResourcesGet: true\n"
RUNNING = {**group("kubelet.service", 8), **process(8, "kubelet", 7, f"kubelet --config={CONFIG}")}
KUBEADM = {**RUNNING, "/etc/kubernetes/kubelet.conf": "", CONFIG: HEAD}


def assess(tmp_path: Path, files: dict[str, str], version: str = "v1.33.4", **given: Any) -> dict[str, Any]:
    node = {"labels": {}, "kubelet": version}
    described = machine(gpu(group="12", driver="vfio-pci"), files=files)
    return judge(described, tmp_path, **{"release": CURRENT, "cluster_node": node, **given})


def kubelet(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in answer["findings"] if item["id"][:3] in ("D03", "D04", "D13", "kub")}


def v10(answer: dict[str, Any]) -> str:
    return str({item["id"]: item["result"] for item in answer["checks"]}["V10"])


def test_what_is_missing_is_planned_announced_and_needs_a_restart(tmp_path: Path) -> None:
    answer = assess(tmp_path, KUBEADM)
    config = {"runtimeRequestTimeout": "20m", "featureGates": {"KubeletPodResourcesGet": True}}
    assert answer["plan"]["kubelet"] == {"config": config}
    assert ids(answer, "will_be_fixed_by") == ["D03"] and ids(answer, "will_be_fixed_by", "warn") == ["D13"]
    assert not answer["summary"]["blocked"] and not answer["summary"]["reboot_needed"]
    assert answer["summary"]["restart_needed"] and answer["record"]["restart_needed"]
    assert answer["summary"]["restart"]["unit"] == "kubelet.service" and not answer["summary"]["restart"]["takes_api"]
    assert answer["record"]["kubelet"] == {"kubeadm": config}


def test_a_kubelet_that_has_it_is_left_alone(tmp_path: Path) -> None:
    answer = assess(tmp_path, {**KUBEADM, CONFIG: GOOD}, verify=True)
    assert answer["plan"]["kubelet"] == {} and kubelet(answer) == {} and not answer["summary"]["restart_needed"]
    assert v10(answer) == "passed"


def test_a_file_that_the_kubelet_has_not_read_needs_a_restart(tmp_path: Path) -> None:
    noted = {"pid": "8", "started": "7", "path": CONFIG, "backup": CONFIG + ".8~"}
    answer = assess(tmp_path, {**KUBEADM, CONFIG: GOOD, PENDING: json.dumps(noted)}, verify=True)
    assert answer["plan"]["kubelet"] == {} and list(kubelet(answer)) == ["kubelet_restart"]
    assert answer["summary"]["restart"]["backup"] == CONFIG + ".8~"
    assert v10(answer) == "failed"


@pytest.mark.parametrize(("version", "gates"), [("v1.33.9", True), ("v1.34.0", False), ("v1.36.1+k3s1", False)])
def test_the_gate_is_set_only_where_it_is_off(tmp_path: Path, version: str, gates: bool) -> None:
    planned = assess(tmp_path, KUBEADM, version)["plan"]["kubelet"]["config"]
    assert ("featureGates" in planned) is gates and planned["runtimeRequestTimeout"] == "20m"


def test_a_gate_is_never_set_on_a_kubelet_that_may_not_know_it(tmp_path: Path) -> None:
    answer = assess(tmp_path / "a", KUBEADM, version="")
    assert answer["plan"]["kubelet"]["config"] == {"runtimeRequestTimeout": "20m"}
    assert kubelet(answer)["kubelet_version"]["severity"] == "warn"
    old = assess(tmp_path / "b", KUBEADM, version="v1.26.3")
    assert (
        "v1.26.3 and has no feature gate KubeletPodResourcesGet" in kubelet(old)["D03"]["fact"]
        and old["summary"]["blocked"]
    )


def test_confidential_classes_need_one_more_gate(tmp_path: Path) -> None:
    planned = assess(tmp_path, KUBEADM, "v1.35.0", desired={"confidential": "snp"})["plan"]["kubelet"]
    assert planned["config"]["featureGates"] == {"RuntimeClassInImageCriApi": True}


def test_wishes_of_the_user_win_and_stay_with_the_host(tmp_path: Path) -> None:
    desired = {"kubelet_config": {"runtimeRequestTimeout": "40m", "maxPods": 9}}
    answer = assess(tmp_path, KUBEADM, "v1.34.0", desired=desired)
    assert answer["plan"]["kubelet"]["config"] == desired["kubelet_config"]
    assert answer["record"]["kubelet"] == {"kubeadm": {"runtimeRequestTimeout": "20m"}}
    wrong = assess(tmp_path / "b", KUBEADM, desired={"kubelet_config": {"kind": "x"}})
    assert ids(wrong) == ["wish"] and "config.kind is what the file is" in wrong["summary"]["messages"][0]


def test_a_release_that_needs_nothing_judges_nothing(tmp_path: Path) -> None:
    answer = assess(tmp_path, {**KUBEADM, CONFIG: "a: 1\na: 2\n"}, release=RELEASE, verify=True)
    assert "kubelet" not in RELEASE and kubelet(answer) == {} and answer["plan"]["kubelet"] == {}
    assert "V10" not in {item["id"] for item in answer["checks"]}


def test_a_host_without_a_configuration_is_warned_about_and_not_changed(tmp_path: Path) -> None:
    answer = assess(tmp_path, {}, verify=True)
    finding = kubelet(answer)["kubelet_config"]
    assert (finding["severity"], finding["state"]) == ("warn", "open") and CONFIG in finding["evidence"]
    assert answer["plan"]["kubelet"] == {} and not answer["summary"]["blocked"]
    assert not answer["summary"]["restart_needed"] and answer["record"]["kubelet"] == {}
    assert v10(answer) == "skipped"


def test_a_broken_file_blocks(tmp_path: Path) -> None:
    answer = assess(tmp_path, {**KUBEADM, CONFIG: GOOD + "featureGates: {}\n"})
    finding = kubelet(answer)["kubelet_config"]
    assert finding["severity"] == "block" and answer["summary"]["blocked"] and answer["plan"]["kubelet"] == {}
    assert f"{CONFIG} line 6: the key featureGates is there already, in line 4" in finding["message"]


def test_flags_that_contradict_are_told_and_the_rest_is_planned(tmp_path: Path) -> None:
    files = {**KUBEADM, **process(8, "kubelet", 7, f"kubelet --config={CONFIG} --runtime-request-timeout=2m")}
    answer = assess(tmp_path, files, verify=True)
    # One thing is still to be written; the contradiction alone is a warning and fails no check.
    assert v10(answer) == "failed"
    gate = HEAD + "featureGates:\n  KubeletPodResourcesGet: true\n"
    assert v10(assess(tmp_path / "gate", {**files, CONFIG: gate}, verify=True)) == "passed"
    finding = kubelet(answer)["D13"]
    assert (finding["severity"], finding["state"]) == ("warn", "open") and "command line" in finding["fact"]
    assert answer["plan"]["kubelet"]["config"] == {"featureGates": {"KubeletPodResourcesGet": True}}


def test_another_root_folder_blocks_until_it_is_accepted(tmp_path: Path) -> None:
    files = {**KUBEADM, CONFIG: GOOD, **process(8, "kubelet", 7, f"kubelet --config={CONFIG} --root-dir=/data/k")}
    answer = assess(tmp_path / "a", files)
    assert ids(answer) == ["D04"] and "/data/k/pod-resources/kubelet.sock" in kubelet(answer)["D04"]["fix"]
    assert not assess(tmp_path / "b", files, accepted={"D04": "set"})["summary"]["blocked"]


def test_k0s_is_named_and_refused(tmp_path: Path) -> None:
    files = {**group("k0sworker.service", 8), **process(8, "kubelet", 7, "kubelet --root-dir=/var/lib/k0s/kubelet")}
    answer = assess(tmp_path, files)
    assert ids(answer) == ["kubelet_distribution", "D04"] and answer["plan"]["kubelet"] == {}


def test_a_k3s_server_takes_the_api_with_it(tmp_path: Path) -> None:
    files = {**group("k3s.service", 8), **process(8, "k3s-server", 7)}
    answer = assess(tmp_path, files)
    assert answer["summary"]["restart"]["takes_api"] and answer["summary"]["restart"]["unit"] == "k3s.service"
    assert answer["record"]["kubelet"] == {}
