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

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _chart_values, _releases
from tests.contract import product
from tests.contract.test_downloads import chart, named, rows
from tests.contract.test_role_inputs import validator_spec

EXAMPLES = sorted(path for path in (product.REPOSITORY / "inventories").glob("example_*") if path.is_dir())
AIRGAP = product.REPOSITORY / "inventories" / "example_airgap" / "group_vars" / "all" / "operators.yml"
MIRROR = "registry.example.com/"
# Read by deployments/gpu-operator/templates/clusterpolicy.yaml at v26.7.0, without a default in values.yaml.
WITHOUT_DEFAULT = ["dcgmExporter.imagePullSecrets"]
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


def unknown_keys(given: dict[str, Any], known: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys that the chart does not have. What is a list or a free mapping there is the user's."""
    found = []
    for key, value in given.items():
        if key not in known:
            found.append(f"{prefix}{key}")
        elif isinstance(value, dict) and isinstance(known[key], dict) and known[key]:
            found += unknown_keys(value, known[key], f"{prefix}{key}.")
    return found


def chart_values(part: str) -> dict[str, Any]:
    """Of the chart and, under their names, of the charts in it. The pull secrets of NFD are a key that the lab's has not."""
    folder = chart(part, _releases.default_name())
    values = dict(product.load(folder / "values.yaml"))
    for inner in folder.glob("charts/*"):
        inner_values = {"imagePullSecrets": [], **product.load(inner / "values.yaml")}
        values[inner.name] = _releases.merge(inner_values, values.get(inner.name, {}))
    return values


@every_example
def test_the_default_release_is_installed_without_being_named(folder: Path) -> None:
    assert all("katagpu_release" not in found for found in variables(folder))
    assert [True for path in folder.glob("group_vars/**/*.yml") if 'katagpu_release: "23.9"' in path.read_text("utf-8")]


@pytest.mark.parametrize("part", ["gpu_operator", "kata_deploy"])
def test_chart_values_of_the_airgap_example_are_keys_of_the_chart(part: str) -> None:
    values = product.load(AIRGAP)[f"{part}_values"]
    assert [key for key in unknown_keys(values, chart_values(part)) if key not in WITHOUT_DEFAULT] == []


def test_a_key_that_no_chart_has_is_found() -> None:
    assert unknown_keys({"ccManager": {"repositori": "x"}, "x": 1}, chart_values("gpu_operator")) == [
        "ccManager.repositori",
        "x",
    ]


def test_chart_values_of_the_airgap_example_are_not_refused() -> None:
    values = product.load(AIRGAP)["gpu_operator_values"]
    assert _chart_values.judge(_releases.lookup(""), values) == []


def test_the_airgap_example_leaves_no_image_and_no_chart_outside() -> None:
    """Each with the version of the release, so that only the registry is another one."""
    given, release = product.load(AIRGAP), _releases.lookup("")
    for row in rows(release["name"]):
        folder = chart(row["part"], release["name"])
        merged = _releases.merge(product.load(folder / "values.yaml"), given[f"{row['part']}_values"])
        nfd = given["gpu_operator_values"]["node-feature-discovery"]["image"]["repository"]
        for path in row["values"]:
            image = row["image"].removesuffix("-<os>")
            if path == "node-feature-discovery.image":
                assert nfd.startswith(MIRROR) and image.partition(":")[0].endswith(nfd.removeprefix(MIRROR))
                continue
            found = named(folder, merged)[path]
            assert found.startswith(MIRROR), path
            if not image.endswith(":latest"):
                assert image.partition("/")[2] == found.removeprefix(MIRROR), path
    assert release["workload"]["image"].partition("/")[2] == given["verify_workload_image"].removeprefix(MIRROR)
    for part in release["install_order"]:
        reference = given[f"{part}_chart_ref"]
        assert reference.startswith(("/", f"oci://{MIRROR}")), reference
        assert not given.get(f"{part}_chart_repo_url")
