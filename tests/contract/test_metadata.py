# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata that says the same thing in two places says the same thing."""

from __future__ import annotations

import re

import pytest

from tests.contract import product

MODULES = sorted(path.stem for path in (product.REPOSITORY / "plugins" / "modules").glob("[a-z]*.py"))
ACTIONS = sorted(path.stem for path in (product.REPOSITORY / "plugins" / "action").glob("[a-z]*.py"))
FRAGMENT = "katagpu.cluster.kubernetes_auth"


def module_path(name: str) -> product.Path:
    return product.REPOSITORY / "plugins" / "modules" / f"{name}.py"


def test_dependencies_equal_requirements() -> None:
    galaxy = product.load(product.REPOSITORY / "galaxy.yml")["dependencies"]
    required = product.load(product.REPOSITORY / "requirements.yml")["collections"]
    assert {entry["name"]: entry["version"] for entry in required} == galaxy


def test_galaxy_is_complete() -> None:
    galaxy = product.load(product.REPOSITORY / "galaxy.yml")
    wanted = "namespace name version readme authors description license tags dependencies repository documentation homepage issues"
    assert set(wanted.split()) <= set(galaxy)
    assert (product.REPOSITORY / galaxy["readme"]).is_file()
    assert len(galaxy["tags"]) <= 20


def test_action_group_is_what_uses_the_cluster() -> None:
    groups = product.load(product.REPOSITORY / "meta" / "runtime.yml")["action_groups"]
    uses = {
        name
        for name in MODULES
        if FRAGMENT in (product.documentation(module_path(name)).get("extends_documentation_fragment") or [])
    }
    assert MODULES and set(groups["cluster"]) == uses


@pytest.mark.parametrize("name", MODULES)
def test_module_has_a_unit_test(name: str) -> None:
    """In a file of its name, or by name in a file for several."""
    unit = product.REPOSITORY / "tests" / "unit" / "plugins"
    files = [path for folder in ("modules", "action") for path in (unit / folder).glob("test_*.py")]
    quoted = re.compile(rf"""["'.]{name}\b|import [\w, ]*\b{name}\b""")
    assert [path for path in files if path.stem == f"test_{name}" or quoted.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", MODULES)
def test_module_is_documented_under_its_name(name: str) -> None:
    document = product.documentation(module_path(name))
    assert document["module"] == name
    assert "katagpu.cluster.attributes" in document["extends_documentation_fragment"]


@pytest.mark.parametrize("name", ACTIONS)
def test_action_plugin_has_its_module(name: str) -> None:
    assert name in MODULES


@pytest.mark.parametrize("role", product.ROLES)
def test_role_is_complete(role: str) -> None:
    for name in ("README.md", "meta/main.yml", "meta/argument_specs.yml", "defaults/main.yml", "tasks/main.yml"):
        assert product.role_file(role, name).is_file(), name
    assert product.load(product.role_file(role, "meta/main.yml"))["galaxy_info"]["role_name"] == role


def test_oldest_ansible_is_named_alike() -> None:
    runtime = product.load(product.REPOSITORY / "meta" / "runtime.yml")["requires_ansible"]
    oldest = {
        product.load(product.role_file(role, "meta/main.yml"))["galaxy_info"]["min_ansible_version"]
        for role in product.ROLES
    }
    assert len(oldest) == 1 and runtime == f">={oldest.pop()}.0"


def test_execution_environment_installs_what_the_controller_needs() -> None:
    environment = product.load(product.REPOSITORY / "meta" / "execution-environment.yml")
    files = environment["dependencies"]
    assert files["python"] == "requirements.txt" and files["system"] == "bindep.txt"
    assert all((product.REPOSITORY / name).is_file() for name in files.values())


def test_the_changelog_of_the_first_release_lists_what_there_is() -> None:
    """Made by antsibull-changelog when something is added or removed; nothing else would notice that it was not."""
    text = (product.REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8").replace("\\", "")
    filters = {path.stem for path in (product.REPOSITORY / "plugins" / "filter").glob("[a-z]*.py")}
    listed = re.findall(r"^\* katagpu\.cluster\.(\w+) - ", text, re.MULTILINE)
    assert sorted(listed) == sorted([*filters, *MODULES, *product.ROLES])
