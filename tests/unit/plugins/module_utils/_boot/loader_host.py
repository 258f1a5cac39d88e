# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with loader entries or deployments in a folder, and what a kernel of theirs would be started with."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import facts
from ansible_collections.katagpu.cluster.plugins.module_utils._boot import module as shell
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import machines

FIXTURES = Path(__file__).parents[3] / "fixtures" / "loaders"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.yml"))
WITH_ENTRIES = [name for name in NAMES if not name.startswith("coreos")]
WITH_GRUB = ["alma10_cloud", "rhel9", "rocky8_uefi"]


def load(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((FIXTURES / f"{name}.yml").read_text(encoding="utf-8"))
    return data


def build(name: str, root: Path) -> Path:
    description = load(name)
    machines.build({"files": description["files"]}, root)
    for path, text in description.get("binary", {}).items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_bytes(base64.b64decode(text))
    for path, target in description.get("links", {}).items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).symlink_to(target)
    for path in root.rglob("grubenv"):
        if not path.is_symlink():
            text = path.read_text()
            path.write_text(text + "#" * (1024 - len(text)))
    return root


class Host:
    """Counts commands and backups; rpm-ostree is imitated by C(kargs)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = HostRoot(str(root))
        self.commands: list[list[str]] = []
        self.backups: list[str] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        kargs(self.root, command)
        return 0, "", ""

    def backup(self, path: str) -> None:
        self.backups.append(str(Path(path).relative_to(self.root)))

    def ensure(
        self, present: list[str], absent: list[str], check: bool = False, execute: bool = True
    ) -> dict[str, Any]:
        params = {"present": present, "absent": absent, "bootloader": "auto"}
        return shell.ensure(params, self.host, check, self.run, self.backup, execute)

    def facts(self) -> dict[str, Any]:
        return facts.read_facts(self.host)


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def command_lines(root: Path) -> dict[str, str]:
    """What each entry starts its kernel with, found without the code under test: a shell puts in GRUB's variables."""
    with_grub = (root / "etc/default/grub").exists()
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    if with_grub:
        for name, value in re.findall(r"^(\w+)=(.*)$", (root / "boot/grub2/grubenv").read_text(), re.MULTILINE):
            environment[name] = value
    found = {}
    for path in sorted((root / "boot").glob("**/loader/entries/*.conf")):
        values = re.findall(r"^options[ \t]+(.*)$", path.read_text(), re.MULTILINE)
        line = values[0] if with_grub else " ".join(values)
        if with_grub:
            script = f"cat <<END\n{line}\nEND\n"
            line = subprocess.run(
                ["sh", "-c", script], env=environment, check=True, capture_output=True, text=True
            ).stdout.strip()
        found["/" + str(path.relative_to(root))] = line
    return found


def kargs(root: Path, command: list[str]) -> None:
    """A new deployment in front of the others, with the arguments of the one that would boot next, changed as asked."""
    assert command[:2] == ["rpm-ostree", "kargs"]
    staged = root / "run/ostree/staged-deployment"
    first = facts.read_facts(HostRoot(str(root)))["generated"]
    words = next(iter(first.values()))[0]["arguments"].split()
    for option in command[2:]:
        name, _equals, value = option[2:].partition("=")
        if name == "delete-if-present" and value in words:
            words.remove(value)
        elif name == "append" or (name == "append-if-missing" and value not in words):
            words.append(value)
    staged.unlink(missing_ok=True)
    (root / "boot/loader/entries/ostree-9-new.conf").write_text(
        f"title New\nversion 9\noptions {' '.join(words)}\nlinux /boot/ostree/vmlinuz-6.17.12\n"
    )
