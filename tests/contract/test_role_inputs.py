# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role inputs: specified, defaulted, documented and prefixed alike."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.contract import product

WITH_INPUTS = [role for role in product.ROLES if role != "common"]


def is_static(value: Any) -> bool:
    return not any("{{" in text for text in product.strings(value))


def validator_spec(options: dict[str, Any]) -> dict[str, Any]:
    kept = ("type", "elements", "choices", "default", "required")
    spec: dict[str, Any] = {}
    for name, option in options.items():
        spec[name] = {key: option[key] for key in kept if key in option}
        if "options" in option:
            spec[name]["options"] = validator_spec(option["options"])
    return spec


def test_there_are_roles() -> None:
    assert {"preflight", "host_iommu", "host_vfio", "gpu_operator", "verify", "common"} <= set(product.ROLES)


@pytest.mark.parametrize("role", product.ROLES)
def test_every_entry_point_is_specified(role: str) -> None:
    files = {path.stem for path in product.role_file(role, "tasks").glob("*.yml")}
    points = product.entry_points(role)
    assert "main" in points
    assert set(points) <= files, "an entry point has no task file"
    included = {
        task["ansible.builtin.include_role"]["tasks_from"]
        for path in (*product.TASK_FILES, *product.PLAYBOOKS)
        for task in product.tasks(path)
        if isinstance(task.get("ansible.builtin.include_role"), dict)
        and task["ansible.builtin.include_role"].get("name") == f"katagpu.cluster.{role}"
        and "tasks_from" in task["ansible.builtin.include_role"]
    }
    assert included <= set(points), "an entry point is used and has no argument spec"


@pytest.mark.parametrize("role", product.ROLES)
def test_every_entry_point_is_complete(role: str) -> None:
    for name, point in product.entry_points(role).items():
        missing = {"short_description", "description", "author", "version_added", "options"} - set(point)
        assert not missing, f"{role}/{name}"


@pytest.mark.parametrize("role", WITH_INPUTS)
def test_specified_is_what_has_a_default(role: str) -> None:
    assert set(product.entry_points(role)["main"]["options"]) == set(product.defaults(role))


@pytest.mark.parametrize("role", WITH_INPUTS)
def test_static_defaults_are_the_documented_ones(role: str) -> None:
    options = product.entry_points(role)["main"]["options"]
    for name, value in product.defaults(role).items():
        if is_static(value):
            assert options[name].get("default") == value, name
        else:
            assert "default" not in options[name], f"{name}: its default is computed"


@pytest.mark.parametrize("role", product.ROLES)
def test_static_defaults_pass_the_spec(role: str) -> None:
    """Ansible checks choices even of a null, so an option that may be null cannot have choices."""
    static = {name: value for name, value in product.defaults(role).items() if is_static(value)}
    for point in product.entry_points(role).values():
        spec = validator_spec(point["options"])
        given = {name: value for name, value in static.items() if name in spec}
        unset = {name: {**option, "required": False} for name, option in spec.items()}
        assert ArgumentSpecValidator(unset).validate(given).error_messages == []


@pytest.mark.parametrize("role", product.ROLES)
def test_inputs_carry_a_prefix(role: str) -> None:
    for point in product.entry_points(role).values():
        for name in point["options"]:
            assert name.startswith((f"{role}_", "katagpu_")), name
    assert all(name.startswith(f"{role}_") for name in product.defaults(role))


@pytest.mark.parametrize("role", product.ROLES)
def test_readme_names_every_input(role: str) -> None:
    readme = product.role_file(role, "README.md").read_text(encoding="utf-8")
    options = product.entry_points(role)["main"]["options"]

    def names(entries: dict[str, Any]) -> list[str]:
        return [name for key, entry in entries.items() for name in (key, *names(entry.get("options") or {}))]

    assert [name for name in names(options) if f"`{name}`" not in readme] == []
    titles = ("Outcome", "What it changes", "Requirements", "Check mode", "Idempotence", "Roll-back", "Example")
    assert [title for title in titles if f"\n## {title}\n" not in readme] == []


def test_collection_variables_are_documented_once() -> None:
    documented = set(product.entry_points("common")["main"]["options"])
    used = {
        name
        for role in product.ROLES
        for point in product.entry_points(role).values()
        for name in point["options"]
        if name.startswith("katagpu_")
    }
    assert used <= documented


def test_every_host_input_reaches_the_planner() -> None:
    from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import desired

    mapping = product.load(product.role_file("common", "vars/main.yml"))["__common_desired"]
    assert list(mapping) == list(desired.Desired.__dataclass_fields__)
    inputs = {
        *product.defaults("host_iommu"),
        *product.defaults("host_vfio"),
        "katagpu_vfio_owner",
        "katagpu_confidential",
    }
    inputs |= set(product.defaults("kubelet")) - {"kubelet_kubeadm_config_map"}
    arrived = {text.split("|")[0].split("{{")[1].strip() for text in mapping.values()}
    assert inputs <= arrived, f"does not reach the planner: {sorted(inputs - arrived)}"
    assert arrived - inputs == {"gpu_operator_kata_manager.artifacts_dir", "gpu_operator_values.ccManager"}


def test_every_part_of_the_iommu_plan_is_applied() -> None:
    """A part that no task takes would stay in the plan for ever."""
    planner = product.REPOSITORY / "plugins/plugin_utils/_assess/iommu.py"
    parts = set(re.findall(r'answer\.plan\["(\w+)"\] = ', planner.read_text(encoding="utf-8"))) - {"reboot"}
    applied = " ".join(product.strings(product.load(product.role_file("host_iommu", "tasks/apply.yml"))))
    assert {"kernel_cmdline", "files", "load_now"} <= parts
    assert [part for part in sorted(parts) if f"__host_iommu_plan.{part}" not in applied] == []
