# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The thin module as Ansible runs it, on a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.katagpu.cluster.plugins.modules import kubelet_file
from tests.unit.plugins.modules.test_kernel_cmdline import run

CONFIG = "/var/lib/kubelet/config.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var/lib/kubelet").mkdir(parents=True)
    (tmp_path / "var/lib/kubelet/config.yaml").write_text("kind: KubeletConfiguration\n")
    return tmp_path


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_it_reads_and_writes_what_is_unchanged(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    read = run(kubelet_file, capsys, root=str(root))
    assert not read["changed"] and read["kubelet"]["config_path"] == CONFIG and files(root) == before
    options = {"root": str(root), "path": CONFIG, "content": "new\n", "sha256": read["kubelet"]["config"]["sha256"]}
    checked = run(kubelet_file, capsys, **options, _ansible_check_mode=True)
    assert checked["changed"] and files(root) == before
    written = run(kubelet_file, capsys, **options)
    assert written["changed"] and written["sha256"] == checked["sha256"]
    assert Path(written["backup_file"]).read_text() == "kind: KubeletConfiguration\n"
    assert files(root)["var/lib/kubelet/config.yaml"] == b"new\n"
    after = files(root)
    assert not run(kubelet_file, capsys, **options)["changed"] and files(root) == after


def test_a_file_that_is_another_by_now_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    result = run(kubelet_file, capsys, root=str(root), path=CONFIG, content="new\n", sha256="0" * 64)
    assert "changed after it was read" in result["msg"] and files(root) == before
    assert "content" in run(kubelet_file, capsys, root=str(root), path=CONFIG)["msg"]


def test_a_new_file_gets_its_folder_and_mode(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({"root": str(root), "path": "/etc/a/b.conf", "content": "x", "mode": "0600"}), pytest.raises(
        SystemExit
    ):
        kubelet_file.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    target = root / "etc/a/b.conf"
    assert result["changed"] and result["backup_file"] == "" and target.stat().st_mode & 0o777 == 0o600
