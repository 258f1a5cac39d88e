# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.unit.assess_host import GPU, gpu, ids, judge
from tests.unit.host_stages import ready

ON = {"enabled": True, "defaultMode": "on"}
H100 = "2331"


def found(tmp_path: Path, manager: Any, label: str = "", device: str = "2236", **more: Any) -> list[str]:
    labels = {"nvidia.com/gpu.workload.config": "vm-passthrough", **({"nvidia.com/cc.mode": label} if label else {})}
    description = ready(gpu(group="12", driver="vfio-pci", device=device))
    answer = judge(description, tmp_path, desired={"cc_manager": manager}, cluster_node={"labels": labels}, **more)
    return ids(answer)


@pytest.mark.parametrize("mode", ["on", "devtools"])
def test_a_gpu_that_cannot_is_refused(tmp_path: Path, mode: str) -> None:
    assert found(tmp_path / "mode", {**ON, "defaultMode": mode}) == ["cc_gpus"]
    assert found(tmp_path / "label", {**ON, "defaultMode": "off"}, label=mode) == ["cc_gpus"]


@pytest.mark.parametrize(
    ("manager", "label", "device"),
    [
        (ON, "", H100),
        (ON, "off", "2236"),
        ({"enabled": False, "defaultMode": "on"}, "on", "2236"),
        # The chart has the manager switched off, and its mode is off.
        ({"defaultMode": "on"}, "", "2236"),
        ({"enabled": True}, "", "2236"),
        (None, "on", "2236"),
    ],
)
def test_what_asks_for_nothing_or_can_be_is_not(tmp_path: Path, manager: Any, label: str, device: str) -> None:
    assert found(tmp_path, manager, label, device) == []


def test_the_message_names_the_gpu_and_the_way_out(tmp_path: Path) -> None:
    description = ready(gpu(group="12", driver="vfio-pci"))
    answer = judge(description, tmp_path, desired={"cc_manager": ON}, cluster_node={"labels": {}})
    (finding,) = [item for item in answer["findings"] if item["id"] == "cc_gpus"]
    assert f"{GPU} (10de:2236)" in finding["fact"] and "ccManager.defaultMode: on" in finding["fact"]
    assert "nvidia.com/cc.mode=off" in finding["fix"] and finding["acceptable"]


def test_where_the_release_writes_the_label_the_label_is_judged(tmp_path: Path) -> None:
    current = _releases.lookup("26.7")
    assert found(tmp_path, ON, release=current) == []
    assert current["labels"]["kata"] == {"nvidia.com/cc.mode": "off"}
