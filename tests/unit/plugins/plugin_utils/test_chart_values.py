# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _chart_values, _releases

CURRENT, LEGACY = _releases.lookup("26.7"), _releases.lookup("23.9")


@pytest.mark.parametrize("release", [CURRENT, LEGACY], ids=["26.7", "23.9"])
def test_what_the_releases_set_themselves_is_right(release: dict[str, Any]) -> None:
    assert _chart_values.judge(release, None) == []
    assert (
        _chart_values.judge(release, {"driver": {"enabled": False}, "daemonsets": {"updateStrategy": "OnDelete"}}) == []
    )
    for path, allowed in release["gpu_operator"]["enums"].items():
        assert all(isinstance(value, str) for value in allowed), f"{path}: on and off are booleans without quotes"


@pytest.mark.parametrize(
    ("release", "values", "kata_manager", "part"),
    [
        (CURRENT, {"kataManager": {"enabled": True}}, None, "installs Kata by kata-deploy"),
        (CURRENT, {}, {"artifacts_dir": "/opt/x"}, "installs Kata by kata-deploy"),
        (LEGACY, {"sandboxWorkloads": {"mode": "kata"}}, None, "the chart of the release 23.9 has no such key"),
        (CURRENT, {"sandboxWorkloads": {"mode": "kubevirt"}}, None, "The operator would deploy other operands"),
        (CURRENT, {"sandboxWorkloads": {"mode": "katas"}}, None, "set one of kubevirt, kata"),
        (
            CURRENT,
            {"sandboxWorkloads": {"defaultWorkload": "vm-passthough"}},
            None,
            "set one of container, vm-passthrough",
        ),
        (CURRENT, {"ccManager": {"defaultMode": "ppcie"}}, None, "set one of on, off, devtools"),
        (LEGACY, {"ccManager": {"defaultMode": False}}, None, "is False"),
        (CURRENT, {"daemonsets": {"updateStrategy": "Rolling"}}, None, "set one of RollingUpdate, OnDelete"),
        (LEGACY, {"sandboxWorkloads": {"enabled": False}}, None, "take every node for a container node"),
        (CURRENT, {"vfioManager": {"enabled": False}}, None, "Without nvidia-vfio-manager no GPU"),
        (CURRENT, {"ccManager": {"enabled": False}}, None, "Without nvidia-cc-manager no GPU"),
        (LEGACY, {"kataManager": {"enabled": False}}, None, "Without nvidia-kata-manager no GPU"),
        (CURRENT, ["kataManager"], None, "gpu_operator_values must be a dictionary"),
        (CURRENT, {"driver": True}, None, "gpu_operator_values.driver must be a dictionary"),
        (CURRENT, {"ccManager": "on"}, None, "gpu_operator_values.ccManager must be a dictionary"),
        (CURRENT, {"nfd": "off"}, None, "gpu_operator_values.nfd must be a dictionary"),
        (CURRENT, {}, "yes", "gpu_operator_kata_manager must be a dictionary"),
    ],
)
def test_what_cannot_work_is_refused(release: dict[str, Any], values: Any, kata_manager: Any, part: str) -> None:
    messages = [finding.message() for finding in _chart_values.judge(release, values, kata_manager)]
    assert any(part in message for message in messages), messages


@pytest.mark.parametrize("release", [CURRENT, LEGACY], ids=["26.7", "23.9"])
def test_the_default_workload_needs_its_variable(release: dict[str, Any]) -> None:
    def judged(value: str, variable: str | None = None) -> list[str]:
        values = {"sandboxWorkloads": {"defaultWorkload": value}}
        return [finding.message() for finding in _chart_values.judge(release, values, None, variable)]

    (message,) = judged("vm-passthrough")
    assert "katagpu_default_workload is not set" in message
    assert "set katagpu_default_workload: vm-passthrough if you mean it" in message
    assert judged("vm-passthrough", "vm-passthrough") == []
    assert judged("container") == []
    (contradiction,) = judged("container", "vm-passthrough")
    assert "katagpu_default_workload is vm-passthrough" in contradiction
    (other,) = judged("vm-vgpu")
    assert "vm-vgpu if you mean it" not in other


def test_a_kata_manager_that_is_switched_off_is_no_wish() -> None:
    assert _chart_values.judge(CURRENT, {}, {"enabled": False}) == []
    assert _chart_values.judge(LEGACY, {"kataManager": {"enabled": True}}, {"artifacts_dir": "/opt/x"}) == []


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"shims": {"qemu-nvidia-gpu": {"enabled": False}}}, "RuntimeClass kata-qemu-nvidia-gpu"),
        ({"runtimeClasses": {"enabled": False}}, "RuntimeClass kata-qemu-nvidia-gpu"),
        ({"env": {"multiInstallSuffix": "x"}}, "kata_deploy_values.env.multiInstallSuffix is set"),
        ({"deploymentMode": "job", "job": {"nodes": ["other"]}}, "kata_deploy_values.job.nodes is set"),
        ({"shims": True}, "kata_deploy_values.shims must be a dictionary"),
    ],
)
def test_values_of_kata_deploy_that_cannot_work_are_refused(values: dict[str, Any], part: str) -> None:
    messages = [finding.message() for finding in _chart_values.judge_kata_deploy(CURRENT, values)]
    assert any(part in message for message in messages), messages


def test_other_values_of_kata_deploy_are_the_users_business() -> None:
    values = {"debug": True, "deploymentMode": "job", "shims": {"qemu-nvidia-gpu-snp": {"enabled": True}}}
    assert _chart_values.judge_kata_deploy(CURRENT, values) == []
    assert _chart_values.judge_kata_deploy(CURRENT, None) == []
    assert _chart_values.judge_kata_deploy(LEGACY, {"shims": {}}) == []
