# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What node_maintenance and kubelet do with a kubelet that has to be restarted, as Ansible runs them, without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import COLLECTIONS

UNIT = "katagpu-no-such-kubelet.service"
RESTART = {"unit": UNIT, "reasons": ["the kubelet has not read /f"], "backup": "/f.8~", "takes_api": False}
HOST = {
    "plan": {"host_iommu": {}, "host_vfio": {}, "kubelet": {}},
    "summary": {
        "reboot_needed": False,
        "reboot_reasons": [],
        "restart_needed": True,
        "restart": RESTART,
        "blocked": False,
        "messages": [],
    },
}
RECORD = {"node": "gpu-01", "boot_id": "b", "restart_needed": True, "restart_reasons": RESTART["reasons"]}
SHOW = {"name": "Show", "ansible.builtin.debug": {"msg": "RECORD {{ katagpu_record | to_json }}"}}


def role(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "ansible.builtin.include_role": {"name": f"katagpu.cluster.{name}", **more}}


def play(folder: Path, steps: list[dict[str, Any]], variables: dict[str, Any], *options: str) -> tuple[int, str]:
    facts = {"name": "Facts", "ansible.builtin.set_fact": {"katagpu_host": HOST, "katagpu_record": RECORD}}
    connection = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    book = [
        {
            "hosts": "gpu-01",
            "gather_facts": False,
            "vars": {**connection, "node_maintenance_drain": False, **variables},
            "tasks": [facts, *steps],
        }
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "gpu-01,", "play.yml", *options]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).replace('\\"', '"').split())


def test_without_consent_the_restart_is_reported_and_not_made(tmp_path: Path) -> None:
    code, shown = play(tmp_path, [role("node_maintenance"), SHOW], {})
    assert code == 0, shown
    assert f"needs a restart of {UNIT} (the kubelet has not read /f). It was not restarted" in shown
    assert '"restart_needed": true' in shown and "changed=0" in shown


def test_check_mode_shows_the_restart_and_goes_on(tmp_path: Path) -> None:
    code, shown = play(tmp_path, [role("node_maintenance"), SHOW], {"node_maintenance_reboot_ok": True}, "--check")
    assert code == 0, shown
    assert f"gpu-01 would get one restart of {UNIT}, without being drained: the kubelet has not read /f" in shown
    assert '"restart_needed": false' in shown and '"restart_planned": true' in shown
    assert '"reboot_planned": false' in shown


def test_a_restart_that_fails_says_where_the_old_file_is(tmp_path: Path) -> None:
    code, shown = play(tmp_path, [role("node_maintenance")], {"node_maintenance_reboot_ok": True})
    assert code != 0
    assert f"gpu-01: the restart of {UNIT} did not succeed:" in shown
    assert "The roll stops here." in shown and f"journalctl -u {UNIT}" in shown
    assert "The configuration before the change is in /f.8~." in shown


def test_a_restart_without_a_known_unit_is_refused_before_the_drain(tmp_path: Path) -> None:
    change = {"ansible.builtin.set_fact": {"katagpu_host": "{{ katagpu_host | combine(no_unit, recursive=true) }}"}}
    variables = {"node_maintenance_reboot_ok": True, "no_unit": {"summary": {"restart": {"unit": ""}}}}
    code, shown = play(tmp_path, [{"name": "Change", **change}, role("node_maintenance")], variables)
    assert code != 0 and "It is not known which unit runs the kubelet of gpu-01" in shown


@pytest.mark.parametrize("name", ["main", "kubeadm"])
def test_the_kubelet_role_does_nothing_where_nothing_is_needed(tmp_path: Path, name: str) -> None:
    code, shown = play(tmp_path, [role("kubelet", tasks_from=name)], {})
    assert code == 0 and "changed=0" in shown and "failed=0" in shown, shown
