# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the repository as data, for the tests of its own contracts."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent.name for path in REPOSITORY.glob("roles/*/meta/main.yml"))
PLAYBOOKS = sorted([*REPOSITORY.glob("playbooks/*.yml"), *REPOSITORY.glob("playbooks/phases/*.yml")])
TASK_FILES = sorted(REPOSITORY.glob("roles/*/tasks/*.yml"))

# Keys of a task that are not its module.
_KEYWORDS = """action always any_errors_fatal args async become become_exe become_flags become_method become_user block
changed_when check_mode collections connection debugger delay delegate_facts delegate_to diff environment failed_when
ignore_errors ignore_unreachable local_action loop loop_control module_defaults name no_log notify poll port register
remote_user rescue retries run_once tags throttle timeout until vars when"""
KEYWORDS = frozenset(_KEYWORDS.split())


@lru_cache(maxsize=None)
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def role_file(role: str, name: str) -> Path:
    return REPOSITORY / "roles" / role / name


def entry_points(role: str) -> dict[str, Any]:
    return dict(load(role_file(role, "meta/argument_specs.yml"))["argument_specs"])


def defaults(role: str) -> dict[str, Any]:
    return dict(load(role_file(role, "defaults/main.yml")) or {})


def _flat(entries: Any) -> Iterator[dict[str, Any]]:
    for entry in entries or []:
        yield entry
        for part in ("block", "rescue", "always"):
            yield from _flat(entry.get(part))


def tasks(path: Path) -> list[dict[str, Any]]:
    """Every task of a role's task file, or of every play of a playbook, blocks included."""
    found: list[dict[str, Any]] = []
    for entry in load(path) or []:
        if "hosts" in entry:
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                found.extend(_flat(entry.get(part)))
        else:
            found.extend(_flat([entry]))
    return found


def module_of(task: dict[str, Any]) -> str | None:
    names = [key for key in task if key not in KEYWORDS and not key.startswith("with_")]
    assert len(names) <= 1, f"more than one module in task {task.get('name')}: {names}"
    return names[0] if names else None


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from strings(key)
            yield from strings(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from strings(entry)


def _assigned(node: ast.AST) -> str:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def code_strings(path: Path) -> list[str]:
    """String constants of a Python file, without docstrings and Ansible's documentation variables."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                left_out.add(id(first.value))
        if _assigned(node) in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            left_out.update(id(child) for child in ast.walk(node))
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out
    ]


def documentation(path: Path) -> dict[str, Any]:
    """The DOCUMENTATION of a plugin file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and _assigned(node) == "DOCUMENTATION" and isinstance(node.value, ast.Constant):
            return dict(yaml.safe_load(str(node.value.value)))
    return {}


def fragment_options(path: Path) -> dict[str, Any]:
    """Options that a documentation fragment adds."""
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and _assigned(node) == "DOCUMENTATION" and isinstance(node.value, ast.Constant):
            found.update(yaml.safe_load(str(node.value.value)).get("options") or {})
    return found


@lru_cache(maxsize=None)
def tracked() -> tuple[Path, ...]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return tuple(path for name in names if name and (path := REPOSITORY / name).is_file())


def tracked_text() -> Iterator[tuple[str, str]]:
    for path in tracked():
        try:
            yield str(path.relative_to(REPOSITORY)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


# Where the functions that make findings take the id.
_PLACE_OF_ID = {"Finding": 0, "finding": 0, "Refusal": 0, "BmcError": 0, "stop": 1, "to_come": 1, "refused": 2}


def _name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else str(getattr(function, "id", ""))


def finding_ids(wanted: Callable[[Path], bool] = lambda path: True) -> set[str]:
    """Ids of the failure catalogue in the code, and words that findings are made with."""
    found: set[str] = set()
    for path in sorted(filter(wanted, (REPOSITORY / "plugins").rglob("*.py"))):
        for text in code_strings(path):
            found |= {text} if re.fullmatch(r"[A-F][0-9]{2}", text) else set(re.findall(r"\[([A-F][0-9]{2})\]\[", text))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = _PLACE_OF_ID.get(_name_of(node.func), -1) if isinstance(node, ast.Call) else -1
            if isinstance(node, ast.Call) and place >= 0:
                found |= {str(part.value) for part in node.args[place : place + 1] if isinstance(part, ast.Constant)}
    return found
