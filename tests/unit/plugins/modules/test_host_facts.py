# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.katagpu.cluster.plugins.modules import host_facts
from tests.unit import machines
from tests.unit.plugins.module_utils._vfio import vfio_support as support


def call(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        host_facts.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_reads_a_host_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = support.build(tmp_path)
    before = support.snapshot(root)
    result = call(capsys, root=root.root, artifacts_dirs=["/opt/artifacts"])
    assert result["changed"] is False and support.snapshot(root) == before
    facts = result["facts"]
    assert facts["schema"] == 1 and facts["platform"]["kernel"] == "6.12.0-test"
    assert facts["vfio"]["critical"][support.NVME] == ["holds /", "holds /boot"]
    assert facts["artifacts"] == {"/opt/artifacts": None}
    returned = set(yaml_keys())
    assert returned == set(facts), "the documentation names exactly what is returned"


def yaml_keys() -> list[str]:
    import yaml

    return list(yaml.safe_load(host_facts.RETURN)["facts"]["contains"])


@pytest.mark.parametrize("name", machines.names())
def test_every_known_machine_can_be_read(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    machines.build(name, tmp_path)
    facts = call(capsys, root=str(tmp_path))["facts"]
    assert len(facts["pci"]["devices"]) == len(machines.load(name)["pci"])
