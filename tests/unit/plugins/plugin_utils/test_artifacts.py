# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _artifacts, _releases
from tests.conftest import COLLECTIONS


def test_26_7_needs_two_charts_and_no_manifest() -> None:
    listed = _artifacts.artifacts(_releases.lookup("26.7"))
    assert listed["charts"] == [
        {
            "part": "gpu_operator",
            "chart": "gpu-operator",
            "version": "v26.7.0",
            "repository": "https://helm.ngc.nvidia.com/nvidia",
        },
        {
            "part": "kata_deploy",
            "chart": "oci://ghcr.io/kata-containers/kata-deploy-charts/kata-deploy",
            "version": "4.0.0",
        },
    ]
    assert listed["manifests"] == listed["guest_artifacts"] == []
    assert [image["digest"] for image in listed["images"] if image["image"].endswith("k8s-cc-manager:v0.4.3")] == [
        "sha256:61fe0f5c45f240094667d2e63e770710450fd2fd768745ab899531284d197a65"
    ]


def test_23_9_needs_manifests_and_guest_artifacts_too() -> None:
    listed = _artifacts.artifacts(_releases.lookup("23.9"))
    assert [chart["part"] for chart in listed["charts"]] == ["gpu_operator"]
    assert {entry["variable"] for entry in listed["manifests"]} == {"coco_operator_ref", "coco_operator_runtime_ref"}
    assert all(entry["kustomization"].endswith("?ref=v0.7.0") for entry in listed["manifests"])
    assert [entry["runtime_class"] for entry in listed["guest_artifacts"]] == [
        "kata-qemu-nvidia-gpu",
        "kata-qemu-nvidia-gpu-snp",
    ]


@pytest.mark.parametrize("name", ["26.7", "23.9"])
def test_the_sample_workload_is_in_the_list(name: str) -> None:
    release = _releases.lookup(name)
    images = {image["image"]: image["part"] for image in _artifacts.artifacts(release)["images"]}
    assert images[release["workload"]["image"]] == "verify"


def test_a_release_with_another_pin_is_told_that_the_images_may_not_fit() -> None:
    change = {"mine": {"based_on": "26.7", "gpu_operator": {"chart_version": "v26.7.9"}}}
    listed = _artifacts.artifacts(_releases.lookup("mine", change))
    assert listed["charts"][0]["version"] == "v26.7.9"
    assert len(listed["warnings"]) == 1 and "v26.7.0" in listed["warnings"][0] and "v26.7.9" in listed["warnings"][0]


def test_a_release_that_is_not_installed_has_no_list() -> None:
    with pytest.raises(
        KatagpuError, match=r"'25.10' is not installed by this collection.*Installable: 26.7, 26.3, 25.3, 23.9"
    ):
        _artifacts.artifacts(_releases.lookup("25.10"))


def test_the_filter_says_that_it_was_the_filter() -> None:
    plugin = importlib.import_module("ansible_collections.katagpu.cluster.plugins.filter.release_artifacts")
    assert list(plugin.FilterModule().filters()) == ["release_artifacts"]
    with pytest.raises(AnsibleFilterError, match=r"^release_artifacts: "):
        plugin.FilterModule().filters()["release_artifacts"](_releases.lookup("25.10"))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"downloads": {"images": "x"}}, "26.7.downloads.images must be a list"),
        ({"downloads": {"images": [{"image": "x"}]}}, r"26.7.downloads.images\[0\].part is missing"),
        (
            {"downloads": {"images": [{"image": "x", "part": "kata_deploy", "nodes": "some"}]}},
            r"26.7.downloads.images\[0\].nodes must be one of",
        ),
    ],
)
def test_mistakes_in_a_list_of_ones_own_are_named(change: dict[str, object], part: str) -> None:
    with pytest.raises(KatagpuError, match=part):
        _releases.lookup("26.7", {"26.7": change})


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Without an inventory, as a user would before there are any hosts."""
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "katagpu.cluster.artifacts", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"},
    )


def test_the_playbook_shows_and_writes_the_list_without_hosts(tmp_path: Path) -> None:
    target = tmp_path / "artifacts.yml"
    arguments = ("-e", "katagpu_release=23.9", "-e", f"katagpu_artifacts_file={target}")
    done = play(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "image: quay.io/brancz/kube-rbac-proxy:v0.13.1" in done.stdout
    assert "instead_of: gcr.io/kubebuilder/kube-rbac-proxy:v0.13.1" in done.stdout
    assert yaml.safe_load(target.read_text(encoding="utf-8")) == _artifacts.artifacts(_releases.lookup("23.9"))
    assert "changed=0" in play(*arguments).stdout


def test_the_playbook_refuses_a_release_without_a_list() -> None:
    done = play("-e", "katagpu_release=25.10")
    assert done.returncode != 0
    assert "Installable: 26.7, 26.3, 25.3, 23.9" in " ".join((done.stdout + done.stderr).split())
