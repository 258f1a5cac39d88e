# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that decide: pure code, found by what it imports, so that a new one is measured without being named here."""

from __future__ import annotations

import ast
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PLUGINS = REPOSITORY / "plugins"
PACKAGE = "ansible_collections.katagpu.cluster.plugins"

# Whoever imports one of these talks to the machine, to the network or to a clock.
_OUTSIDE = frozenset(
    {
        *("ansible", "http", "kubernetes", "multiprocessing", "os", "platform", "random", "select", "shutil", "signal"),
        *("socket", "ssl", "subprocess", "tempfile", "threading", "time", "urllib"),
    }
)
# Our own ways to the outside.
_OURS = {"_root": frozenset({"HostRoot"}), "client": frozenset({"Api"})}
# These decide as well as read, in functions apart.
_ALSO = (
    "module_utils/_cluster/labels.py",
    "module_utils/_pci/config_space.py",
    "module_utils/_pci/modalias.py",
    "module_utils/_pci/names.py",
    "module_utils/_vfio/drivers.py",
    "plugin_utils/_manifests.py",
)
_NO_CODE = frozenset({"__init__.py"})


def planners() -> list[Path]:
    """Paths below the folder of plugins."""
    found = [
        path.relative_to(PLUGINS)
        for folder in ("module_utils", "plugin_utils")
        for path in sorted((PLUGINS / folder).rglob("*.py"))
        if path.name not in _NO_CODE
    ]
    return [path for path in found if path.as_posix() in _ALSO or is_pure((PLUGINS / path).read_text(encoding="utf-8"))]


def is_pure(source: str) -> bool:
    return not any(_reaches_out(node) for node in ast.walk(ast.parse(source)))


def module_name(path: Path) -> str:
    return ".".join((PACKAGE, *path.with_suffix("").parts))


def _reaches_out(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(name.name.partition(".")[0] in _OUTSIDE for name in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
        ours = _OURS.get(node.module.rpartition(".")[2], frozenset())
        return node.module.partition(".")[0] in _OUTSIDE or any(name.name in ours for name in node.names)
    return False
