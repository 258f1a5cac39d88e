# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.katagpu.cluster.plugins.modules import vfio_binding
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import AUDIO, GPU


def call(capsys: pytest.CaptureFixture[str], root: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    arguments = {"root": str(root), **options, "_ansible_check_mode": check, "_ansible_diff": True}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        vfio_binding.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(support.build(tmp_path).root)


def test_check_real_check_real(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"addresses": [GPU], "members": "same_slot"}
    before = support.snapshot(support.HostRoot(str(tree)))
    would = call(capsys, tree, check=True, **options)
    assert would["changed"] and support.snapshot(support.HostRoot(str(tree))) == before
    did = call(capsys, tree, **options)
    assert did["changed"] and did["reboot_required"] and did["diff"] == would["diff"]
    assert did["commands"] == [["udevadm", "control", "--reload"]]
    assert not call(capsys, tree, check=True, **options)["changed"]
    assert not call(capsys, tree, **options)["changed"]


def test_state_restored_leaves_no_file(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, tree, addresses=[GPU, AUDIO])
    assert call(capsys, tree, addresses=[GPU, AUDIO], state="restored")["changed"]
    assert not (tree / support.RULES).exists() and not (tree / support.MODULES_LOAD).exists()
    assert not call(capsys, tree, addresses=[GPU, AUDIO], state="restored")["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_refusals_are_the_failure(tree: Path, capsys: pytest.CaptureFixture[str], check: bool) -> None:
    before = support.snapshot(support.HostRoot(str(tree)))
    result = call(capsys, tree, check=check, addresses=[GPU, support.NVME])
    assert result["failed"] and {entry["id"] for entry in result["refusals"]} == {"A05", "A07"}
    assert result["msg"].count("Nothing was changed.") == 2
    assert support.snapshot(support.HostRoot(str(tree))) == before


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "No device is selected"),
        ({"addresses": ["1:2"]}, "is not a PCI address"),
        ({"addresses": [GPU], "members": "all"}, "none of its values"),
        ({"addresses": [GPU], "persistent": False}, "would do nothing"),
        ({"addresses": [GPU], "driver": "nvidia"}, "not a driver of the VFIO family"),
    ],
)
def test_bad_input(tree: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], word: str) -> None:
    result = call(capsys, tree, **options)
    assert result["failed"] and word in result["msg"] and "Fix:" in result["msg"]
