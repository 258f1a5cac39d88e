# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tasks of the roles as Ansible runs them, without any host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import COLLECTIONS


def run(folder: Path, tasks: list[dict[str, Any]], hosts: dict[str, dict[str, Any]], *facts: str) -> dict[str, Any]:
    """The named facts of every host after the tasks, which have to end well. What was printed is in C(output.txt)."""
    connection = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    dump = {
        "ansible.builtin.copy": {
            "dest": f"{folder}/{{{{ inventory_hostname }}}}.json",
            "content": "{{ {" + ", ".join(f"'{name}': {name} | default(none)" for name in facts) + "} | to_json }}",
            "mode": "0600",
        },
        "check_mode": False,
    }
    play = {"hosts": "all", "gather_facts": False, "vars": connection, "tasks": [*tasks, dump]}
    (folder / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "false"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    (folder / "output.txt").write_text(done.stdout, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in hosts}


def include(role: str, tasks_from: str, **keywords: Any) -> dict[str, Any]:
    return {"ansible.builtin.include_role": {"name": f"katagpu.cluster.{role}", "tasks_from": tasks_from}, **keywords}
