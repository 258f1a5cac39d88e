# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on hosts: Python 3.8 and its standard library; and that the planners are measured."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import ansible
import pytest

from tests.conftest import COLLECTIONS
from tests.contract.product import REPOSITORY
from tests.quality import planners

FOLDERS = ("plugins/module_utils", "plugins/modules")
# The client of the API is needed where the API is spoken to, which is the controller.
CLIENT = {"kubernetes", "urllib3", "yaml"}
CLIENTS = {"plugins/module_utils/_cluster/client.py"}
LOADER = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(len(sys.argv) - 1)
"""


def host_files() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def strangers(path: Path) -> set[str]:
    ours = ("ansible_collections.katagpu.cluster.plugins.module_utils", "ansible.module_utils")
    found = {name for name in imports(path) if not name.startswith(ours)}
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names


def test_host_code_needs_nothing_but_the_standard_library() -> None:
    found = {path.relative_to(REPOSITORY).as_posix(): strangers(path) for path in host_files()}
    assert {name: names for name, names in found.items() if names - (CLIENT if name in CLIENTS else set())} == {}


def test_host_code_has_no_syntax_and_no_library_that_python_3_8_lacks() -> None:
    command = ["vermin", "--quiet", "--target=3.8-", "--violations", "--no-tips", *FOLDERS]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def python_3_8() -> str | None:
    installed = sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python"))
    for command in [shutil.which("python3.8"), *map(str, installed)]:
        works = command and subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0
        if works:
            return command
    return None


def test_python_3_8_imports_host_code(tmp_path: Path) -> None:
    command = python_3_8()
    if command is None:
        pytest.skip("there is no Python 3.8 on this machine")
    # Only this package, because the libraries beside it are for another Python.
    (tmp_path / "ansible").symlink_to(Path(ansible.__file__).parent)
    files = [path for path in host_files() if path.name != "__init__.py"]
    names = [planners.module_name(path.relative_to(REPOSITORY / "plugins")) for path in files]
    path = f"{COLLECTIONS}:{tmp_path}"
    done = subprocess.run(
        [command, "-B", "-c", LOADER, *names],
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(files))]


def test_what_reaches_out_is_no_planner() -> None:
    assert planners.is_pure("import re\nfrom typing import Any\n")
    for source in ("import os.path\n", "from time import sleep\n", "from ansible.module_utils.basic import x\n"):
        assert not planners.is_pure(source)
    assert not planners.is_pure(f"from {planners.PACKAGE}.module_utils._root import HostRoot\n")
    assert planners.is_pure(f"from {planners.PACKAGE}.module_utils._root import READ_LIMIT\n")


def test_planners_are_found_and_readers_are_not() -> None:
    found = {path.as_posix() for path in planners.planners()}
    assert {"module_utils/_vfio/plan.py", "module_utils/_boot/tokens.py", "plugin_utils/_assess/vfio.py"} <= found
    assert {"module_utils/_vfio/drivers.py", "module_utils/_cluster/labels.py"} <= found
    assert not found & {"module_utils/_root.py", "module_utils/_vfio/facts.py", "module_utils/_vfio/run.py"}
