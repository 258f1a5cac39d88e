# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifests of an inventory, as the playbook writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.docs import rbac
from tests.unit.roles import plays


def written(folder: Path, **given: Any) -> dict[str, str]:
    variables = {"katagpu_rbac_dir": str(folder / "rbac"), **given}
    plays.run(folder, [plays.include("common", "rbac")], {"localhost": variables})
    return {path.name: path.read_text(encoding="utf-8") for path in (folder / "rbac").iterdir()}


def test_without_variables_they_are_those_that_are_shipped(tmp_path: Path) -> None:
    assert written(tmp_path) == rbac.manifests()


def test_names_of_an_inventory_are_in_them(tmp_path: Path) -> None:
    group = {"kind": "Group", "name": "platform-team"}
    files = written(
        tmp_path,
        gpu_operator_namespace="nvidia",
        gpu_operator_name="one",
        verify_workload_namespace="samples",
        katagpu_rbac_subjects={"deployer": [group]},
    )
    items = yaml.safe_load(files["rbac-deployer.yml"])["items"]
    roles = {item["metadata"]["namespace"] for item in items if item["kind"] == "Role"}
    assert roles == {"nvidia", "kata-system", "samples", "default", "kube-system"}
    assert all(one["name"] == "platform-team" for item in items for one in item.get("subjects", ()))
    assert "one-node-feature-discovery" in files["rbac-deployer.yml"]


def test_who_runs_no_sample_workload_needs_no_rights_for_it(tmp_path: Path) -> None:
    assert set(written(tmp_path, verify_workload_enabled=False)) == {"rbac-reader.yml", "rbac-deployer.yml"}
