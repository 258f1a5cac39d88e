# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fnmatch

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases


def test_every_shipped_release_has_the_required_shape() -> None:
    for name, entry in _releases.load().items():
        assert _releases.validate(name, entry) == []


def test_the_default_exists() -> None:
    assert _releases.lookup("")["name"] == _releases.default_name()
    assert _releases.lookup(None)["name"] == _releases.default_name()


def test_only_what_is_complete_can_be_installed() -> None:
    releases = _releases.load()
    assert _releases.installable(releases) == ["26.7", "26.3", "25.3", "23.9"]
    refusal = _releases.refusal(_releases.lookup("25.10"), releases)
    assert "25.10 is recognised, but not installed" in refusal
    assert "Supported today: 26.7, 26.3, 25.3, 23.9" in refusal
    planned = _releases.lookup("25.10", {"25.10": {"support": {"level": "planned"}}})
    assert "25.10 is planned" in _releases.refusal(planned, releases)


def test_a_release_that_nobody_validated_needs_consent() -> None:
    releases, legacy = _releases.load(), _releases.lookup("25.3")
    assert "set katagpu_release_consent: '25.3'" in _releases.refusal(legacy, releases)
    assert "katagpu_release_consent" in _releases.refusal(legacy, releases, "23.9")
    assert _releases.refusal(legacy, releases, "25.3") == ""
    assert _releases.refusal(_releases.lookup("26.3"), releases) == ""


def test_shipped_entries_that_start_from_another_are_written_out() -> None:
    current, other = _releases.lookup("26.7"), _releases.lookup("26.3")
    assert "based_on" not in other and other["operands"] == current["operands"]
    assert other["gpu_operator"]["chart_version"] == "v26.3.3" and other["vfio"]["at_stop"] == "nothing"
    assert _releases.lookup("25.3")["runtime_classes"]["gpu"] == "kata-nvidia-gpu"


def test_unknown_releases_are_refused_with_the_known_ones() -> None:
    with pytest.raises(KatagpuError, match=r"'23.8' is unknown. Installable: 26.7, 26.3, 25.3, 23.9"):
        _releases.lookup("23.8")


def test_a_number_of_the_inventory_is_the_same_release() -> None:
    assert _releases.lookup(23.9)["name"] == "23.9"


def test_user_changes_are_merged_key_by_key() -> None:
    change = {"23.9": {"gpu_operator": {"namespace": "nvidia"}, "architectures": ["amd64", "arm64"]}}
    release = _releases.lookup("23.9", change)
    assert release["gpu_operator"]["namespace"] == "nvidia"
    assert release["gpu_operator"]["chart_version"] == "v23.9.2"
    assert release["architectures"] == ["amd64", "arm64"]
    assert _releases.lookup("23.9")["gpu_operator"]["namespace"] == "gpu-operator"


def test_a_release_of_ones_own_may_start_from_another() -> None:
    release = _releases.lookup("mine", {"mine": {"based_on": "23.9", "title": "Mine"}})
    assert release["title"] == "Mine"
    assert release["coco_operator"]["version"] == "v0.7.0"
    assert "based_on" not in release


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"mine": {"title": "x"}}, "mine.support is missing"),
        ({"mine": "x"}, "must be a mapping"),
        ({"mine": {"based_on": "none"}}, "is unknown"),
        ({"23.9": {"support": {"level": "yes"}}}, "23.9.support.level must be one of install"),
        ({"23.9": {"workload": {"memory_mib": "16384"}}}, "23.9.workload.memory_mib must be a number"),
        ({"23.9": {"workload": {"max_gpus": True}}}, "23.9.workload.max_gpus must be a number"),
        ({"23.9": {"operands": {"kata": [{"daemonset": "x"}]}}}, "operands.kata\\[0\\].deploy_label is missing"),
        ({"23.9": {"gpu_operator": {"crds": "x"}}}, "gpu_operator.crds must be a list"),
        ({"23.9": {"install_order": ["gpu_operator", "kata_deploy"]}}, "there is no 23.9.kata_deploy"),
        ({"23.9": {"gpu_operator": {"chart_version": "v27.1.0"}}}, "would not recognise itself"),
        ({"23.9": {"kubernetes": None}}, "23.9.kubernetes must be a mapping"),
    ],
)
def test_mistakes_are_named_by_their_path(change: dict[str, object], part: str) -> None:
    with pytest.raises(KatagpuError, match=part):
        _releases.lookup("23.9", change)


def test_23_9_has_the_true_pod_selectors() -> None:
    """The DaemonSets of kata-manager and vfio-manager select by name, the others by app (trace of the v23.9.2 controller)."""
    operands = {item["daemonset"]: item for item in _releases.lookup("23.9")["operands"]["kata"]}
    assert operands["nvidia-kata-manager"]["pod_selector"] == {"name": "nvidia-kata-manager"}
    assert operands["nvidia-vfio-manager"]["pod_selector"] == {"name": "nvidia-vfio-manager"}
    assert "app" in operands["nvidia-sandbox-device-plugin-daemonset"]["pod_selector"]


def test_every_part_that_is_installed_is_described() -> None:
    for name in _releases.installable(_releases.load()):
        release = _releases.lookup(name)
        assert [part for part in release["install_order"] if part not in release] == []
        assert release["install_order"].count("gpu_operator") == 1


def test_26_7_installs_the_gpu_operator_first() -> None:
    """kata-deploy makes its NodeFeatureRules only where the CRD of Node Feature Discovery is there already."""
    assert _releases.lookup("26.7")["install_order"] == ["gpu_operator", "kata_deploy"]


def test_23_9_recognises_the_artifacts_of_the_documentation() -> None:
    names = [
        "configuration-nvidia-gpu-qemu.toml",
        "kata-ubuntu-jammy-nvidia-gpu.initrd",
        "vmlinuz-5.19.2-109-nvidia-gpu",
    ]
    patterns = _releases.lookup("23.9")["artifacts"]["patterns"]
    assert all(any(fnmatch.fnmatch(name, pattern) for name in names) for pattern in patterns)
