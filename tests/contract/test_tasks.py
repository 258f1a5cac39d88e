# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that hold for every task, in roles and playbooks."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tests.contract import product

FILES = [*product.TASK_FILES, *product.PLAYBOOKS]
IDS = [str(path.relative_to(product.REPOSITORY)) for path in FILES]
every_file = pytest.mark.parametrize("path", FILES, ids=IDS)

BANNED_MODULES = ("ansible.builtin.shell", "ansible.builtin.raw", "ansible.builtin.pause")
BANNED_KEYWORDS = ("ignore_errors", "ignore_unreachable")
CONTROLLER_VARIABLES = {"ansible_connection", "ansible_become", "ansible_python_interpreter"}


def role_of(path: Path) -> str:
    return path.parent.parent.name if path in product.TASK_FILES else ""


def included_role(task: dict[str, Any]) -> str:
    for module in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
        if module in task:
            return str(task[module]["name"])
    return ""


def is_fixed_sleep(task: dict[str, Any]) -> bool:
    module = product.module_of(task)
    if module in ("ansible.builtin.wait_for", "ansible.builtin.wait_for_connection"):
        arguments = task[module] or {}
        return bool(arguments.get("delay")) or not set(arguments) - {"timeout", "delay"}
    if module == "ansible.builtin.command":
        return any(re.match(r"(\S*/)?sleep\b", text) for text in product.strings(task[module]))
    return (
        any(task.get(module or "", {}).get(key) for key in ("post_reboot_delay", "pre_reboot_delay"))
        if module == "ansible.builtin.reboot"
        else False
    )


@every_file
def test_modules_have_full_names(path: Path) -> None:
    for task in product.tasks(path):
        module = product.module_of(task)
        assert module is None or module.count(".") >= 2, f"{task.get('name')}: {module}"


@every_file
def test_tasks_have_names(path: Path) -> None:
    for task in product.tasks(path):
        assert str(task.get("name", ""))[:1].isupper(), task


@every_file
def test_nothing_banned(path: Path) -> None:
    for task in product.tasks(path):
        assert product.module_of(task) not in BANNED_MODULES, task["name"]
        assert not set(BANNED_KEYWORDS) & set(task), task["name"]
        assert not is_fixed_sleep(task), task["name"]


def shows_what_others_keep(task: dict[str, Any]) -> bool:
    """Environments of pods and values of charts may hold secrets. A pod that is asked for by name is ours."""
    module = product.module_of(task)
    if module == "kubernetes.core.helm":
        shown = True
    else:
        asked = task.get("kubernetes.core.k8s_info") or {}
        kinds = set(product.strings([asked.get("kind", ""), task.get("loop", [])]))
        shown = bool(kinds & {"Pod", "Secret", "ConfigMap"}) and "name" not in asked
    return shown and task.get("no_log") is not True


@every_file
def test_secrets_of_others_are_not_printed(path: Path) -> None:
    assert [task["name"] for task in product.tasks(path) if shows_what_others_keep(task)] == []


@every_file
def test_roles_have_full_names(path: Path) -> None:
    for task in product.tasks(path):
        name = included_role(task)
        if name == "katagpu.cluster.{{ __cluster_part }}":
            # The parts of the stack, in the order of the release.
            data = product.load(product.REPOSITORY / "plugins/plugin_utils/_release_data/releases.yml")
            parts = {part for release in data["releases"].values() for part in release.get("install_order", [])}
            assert parts and parts <= set(product.ROLES)
            continue
        if name == "katagpu.cluster.{{ node_maintenance_roll.role }}":
            continue  # See test_a_roll_names_a_role_that_knows_one_node.
        assert not name or name.removeprefix("katagpu.cluster.") in product.ROLES, name


def test_a_roll_names_a_role_that_knows_one_node() -> None:
    rolls = [
        task["vars"]["node_maintenance_roll"]
        for path in product.TASK_FILES
        for task in product.tasks(path)
        if (task.get("ansible.builtin.include_role") or {}).get("tasks_from") == "roll"
    ]
    assert {roll["role"] for roll in rolls} == {"coco_operator", "gpu_operator", "kata_deploy"}
    for roll in rolls:
        assert (product.REPOSITORY / "roles" / roll["role"] / "tasks" / f"{roll['tasks']}.yml").is_file()


@pytest.mark.parametrize("path", product.PLAYBOOKS, ids=[path.name for path in product.PLAYBOOKS])
def test_playbooks_are_named_and_imported_by_full_name(path: Path) -> None:
    assert re.fullmatch(r"[a-z_]+", path.stem)
    for play in product.load(path):
        assert "roles" not in play
        if "ansible.builtin.import_playbook" in play:
            target = play["ansible.builtin.import_playbook"].removeprefix("katagpu.cluster.")
            assert (product.REPOSITORY / "playbooks" / (target.replace(".", "/") + ".yml")).is_file(), target
        else:
            assert play["gather_facts"] is False
        assert "import_playbook" not in play


@pytest.mark.parametrize("path", product.TASK_FILES, ids=IDS[: len(product.TASK_FILES)])
def test_internal_variables_carry_the_role(path: Path) -> None:
    internal = f"__{role_of(path)}_"
    for task in product.tasks(path):
        names = [task[key] for key in ("register",) if key in task]
        names += [task["loop_control"]["loop_var"]] if "loop_var" in task.get("loop_control", {}) else []
        assert all(name.startswith(internal) for name in names), (task["name"], names)
        if "loop" in task:
            assert "loop_var" in task.get("loop_control", {}), f"{task['name']}: a loop variable of its own"
        facts = set(task.get("ansible.builtin.set_fact") or {}) - {"cacheable"}
        assert all(name.startswith((internal, "katagpu_")) for name in facts), (task["name"], facts)
        # Its own inputs for a task file of its own, and what was read of the host.
        allowed = [internal, f"{role_of(path)}_", "katagpu_"]
        if included_role(task):
            other = included_role(task).removeprefix("katagpu.cluster.")
            allowed += [f"{other}_", f"__{other}_"]
        own = set(task.get("vars") or {}) - CONTROLLER_VARIABLES
        assert all(name.startswith(tuple(allowed)) for name in own), (task["name"], own)


@every_file
def test_plays_on_localhost_connect_locally(path: Path) -> None:
    """An inventory-wide ansible_become beats the keyword of a play, so these are variables."""
    for entry in product.load(path):
        if entry.get("hosts") == "localhost" or entry.get("delegate_to") == "localhost":
            assert set(entry.get("vars") or {}) >= CONTROLLER_VARIABLES, entry["name"]
            assert entry["vars"]["ansible_connection"] == "local" and entry["vars"]["ansible_become"] is False


@lru_cache(maxsize=None)
def options_of(module: str) -> frozenset[str]:
    """Documented options of one of our modules, with those of its fragments."""
    folder = product.REPOSITORY / "plugins"
    document = product.documentation(folder / "modules" / f"{module}.py")
    names = {*(document.get("options") or {})}
    for option in (document.get("options") or {}).values():
        names.update(option.get("aliases") or [])
    for fragment in document.get("extends_documentation_fragment") or []:
        name = fragment.removeprefix("katagpu.cluster.").split(".")[0]
        names |= set(product.fragment_options(folder / "doc_fragments" / f"{name}.py"))
    return frozenset(names)


@every_file
def test_our_modules_get_options_that_they_have(path: Path) -> None:
    for task in product.tasks(path):
        module = product.module_of(task) or ""
        if module.startswith("katagpu.cluster."):
            known = options_of(module.removeprefix("katagpu.cluster."))
            assert set(task[module] or {}) <= known, (task["name"], set(task[module]) - known)


def test_the_checks_can_fail() -> None:
    assert is_fixed_sleep({"name": "x", "ansible.builtin.wait_for": {"timeout": 30}})
    assert is_fixed_sleep({"name": "x", "ansible.builtin.command": {"argv": ["sleep", "5"]}})
    assert is_fixed_sleep({"name": "x", "ansible.builtin.reboot": {"post_reboot_delay": 30}})
    assert not is_fixed_sleep({"name": "x", "ansible.builtin.wait_for": {"path": "/x", "timeout": 30}})
