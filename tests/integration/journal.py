# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the system's journal: modules of Ansible log their arguments to it, and here that goes to a file."""

from __future__ import annotations

import os
from pathlib import Path

_MODULE = """\
import os


def send(*texts, **fields):
    with open(os.environ["KATAGPU_TEST_JOURNAL"], "a", encoding="utf-8") as stream:
        stream.write(" ".join([*map(str, texts), *(f"{key}={value}" for key, value in fields.items())]) + "\\n")


sendv = send
"""


def environment(folder: Path) -> dict[str, str]:
    """For a playbook whose modules run on this machine."""
    package = folder / "journal" / "systemd"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "journal.py").write_text(_MODULE, encoding="utf-8")
    (package / "daemon.py").write_text("def booted():\n    return True\n", encoding="utf-8")
    path = os.pathsep.join(part for part in (str(package.parent), os.environ.get("PYTHONPATH", "")) if part)
    return {"PYTHONPATH": path, "KATAGPU_TEST_JOURNAL": str(log(folder))}


def log(folder: Path) -> Path:
    """What was logged; missing where no module ran."""
    return folder / "journal.log"


def text(folder: Path) -> str:
    return log(folder).read_text(encoding="utf-8") if log(folder).exists() else ""
