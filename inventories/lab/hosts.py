#!/usr/bin/env python3
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory of the running lab, read from its state file."""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def state_folder() -> Path:
    """The same place as tests/lab/paths.py."""
    override = os.environ.get("KATAGPU_LAB_STATE")
    return Path(override).resolve() if override else REPOSITORY / ".build" / "lab"


def is_running(machine: dict[str, Any]) -> bool:
    """Whether the machine's supervisor still is the process that was recorded."""
    try:
        text = Path(f"/proc/{machine['pid']}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, KeyError):
        return False
    return text.rpartition(")")[2].split()[19] == str(machine["start_time"])


def inventory(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Machines that are up as kata_nodes; the node that exists in the API only, where its agent runs, as container_nodes."""
    machines = [one for one in state.get("machines", {}).values() if is_running(one)]
    hostvars: dict[str, dict[str, Any]] = {}
    common = " ".join(
        (
            "-F /dev/null",
            f"-o UserKnownHostsFile='{folder}/ssh/known_hosts'",
            "-o GlobalKnownHostsFile=/dev/null",
            "-o StrictHostKeyChecking=yes",
            "-o IdentitiesOnly=yes",
            "-o KexAlgorithms=curve25519-sha256",
            "-o ServerAliveInterval=15",
        )
    )
    for machine in machines:
        hostvars[machine["node"]] = {
            "ansible_host": machine["address"],
            "ansible_port": machine["ssh_port"],
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(folder / "ssh" / "id_ed25519"),
            "ansible_ssh_common_args": common,
            # Ansible's default adds compression, which costs an emulated CPU more than it saves on loopback.
            "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=300s",
            # Kept connections of labs with the same addresses must not be taken for one another. A socket below the state
            # folder could have too long a path.
            "ansible_control_path_dir": f"~/.ansible/cp-{sha256(str(folder).encode()).hexdigest()[:8]}",
            "ansible_ssh_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
    # It has no operating system to log in to: it is a Node object with an agent behind it. A lab without stand-ins has none.
    containers = ["container-1"] if is_running(state.get("processes", {}).get("node-container-1", {})) else []
    for name in containers:
        hostvars[name] = {"katagpu_api_only": True}
    return {
        "_meta": {"hostvars": hostvars},
        # The plays on localhost know no inventory_dir, so the folders come as variables.
        "all": {
            "children": ["kata_nodes", "container_nodes"],
            "vars": {"lab_state": str(folder), "lab_upstream": str(REPOSITORY / "tests" / "lab" / "upstream")},
        },
        "kata_nodes": {"hosts": sorted(machine["node"] for machine in machines)},
        "container_nodes": {"hosts": containers},
    }


def main() -> int:
    """Ansible calls this with --list; --host is answered by _meta."""
    folder = state_folder()
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        state = {}
    if "--host" in sys.argv[1:]:
        print("{}")
        return 0
    result = inventory(state, folder)
    if not result["kata_nodes"]["hosts"]:
        print("inventories/lab: no lab machine is up. Fix: make lab-up", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
