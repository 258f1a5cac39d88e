# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventories use variables that exist, with values of the right type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.contract import product
from tests.contract.test_role_inputs import validator_spec

EXAMPLES = sorted(path for path in (product.REPOSITORY / "inventories").glob("example_*") if path.is_dir())
CHART = product.REPOSITORY / "tests" / "lab" / "upstream" / "charts" / "gpu-operator-v23.9.2"
every_example = pytest.mark.parametrize("folder", EXAMPLES, ids=[path.name for path in EXAMPLES])


def inputs() -> dict[str, Any]:
    return {
        name: option for role in product.ROLES for name, option in product.entry_points(role)["main"]["options"].items()
    }


def variables(folder: Path) -> list[dict[str, Any]]:
    """Group variables, and the variables of each host."""
    found = [dict(product.load(path)) for path in sorted(folder.glob("group_vars/**/*.yml"))]
    for group in product.load(folder / "hosts.yml").values():
        found += [dict(entry or {}) for entry in group["hosts"].values()]
    return found


def test_there_are_examples() -> None:
    assert [path.name for path in EXAMPLES] == ["example_airgap", "example_mixed"]


@every_example
def test_variables_exist_and_fit(folder: Path) -> None:
    known = inputs()
    for found in variables(folder):
        ours = {name: value for name, value in found.items() if not name.startswith("ansible_")}
        assert set(ours) <= set(known)
        spec = validator_spec({name: {**known[name], "required": False} for name in ours})
        assert ArgumentSpecValidator(spec).validate(ours).error_messages == []


@every_example
def test_groups_are_ours_and_addresses_are_for_examples(folder: Path) -> None:
    hosts = product.load(folder / "hosts.yml")
    assert set(hosts) <= {"kata_nodes", "container_nodes"} and "kata_nodes" in hosts
    for group in hosts.values():
        for name, entry in group["hosts"].items():
            assert name.endswith(".example.com")
            address = (entry or {}).get("ansible_host", "192.0.2.1")
            assert re.match(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.", address), address


def test_chart_values_of_the_airgap_example_are_keys_of_the_chart() -> None:
    values = product.load(product.REPOSITORY / "inventories/example_airgap/group_vars/all/operators.yml")[
        "gpu_operator_values"
    ]
    chart = dict(product.load(CHART / "values.yaml"))
    subcharts = {path.name for path in (CHART / "charts").iterdir()}
    for name, entry in values.items():
        if name in subcharts:
            continue
        assert name in chart, name
        assert set(entry) <= set(chart[name]), (name, set(entry) - set(chart[name]))
