# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host was rebooted is read from the host, and the message says how it is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contract import product
from tests.unit.roles import plays

HERE = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
BEFORE = "11111111-1111-4111-8111-111111111111"
NAMES = ("__node_maintenance_boot_id", "message")
HOSTS: dict[str, dict[str, Any]] = {
    "rebooted": {"before": BEFORE},
    "slow": {"before": BEFORE, "trouble": "Timed out waiting for last boot time check (timeout=1800)"},
    "refused": {"before": HERE, "trouble": "Reboot command failed, error was: no"},
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    given = {"node_maintenance_drain": False, "__node_maintenance_looks": 1, "node_maintenance_node": "gpu-01"}
    trouble = {"__node_maintenance_trouble": "{{ trouble }}"}
    play = {
        "block": [
            {"ansible.builtin.set_fact": {"__node_maintenance_boot_id": "{{ before }}"}},
            {"ansible.builtin.set_fact": trouble, "when": "trouble is defined"},
            plays.include("node_maintenance", "new_boot", vars=given),
        ],
        "rescue": [{"ansible.builtin.set_fact": {"message": "{{ ansible_failed_result.msg }}"}}],
    }
    return plays.run(tmp_path_factory.mktemp("play"), [play], HOSTS, *NAMES)


@pytest.mark.parametrize("host", ["rebooted", "slow"])
def test_a_new_boot_id_is_a_new_boot_whatever_the_module_said(facts: dict[str, dict[str, Any]], host: str) -> None:
    assert facts[host] == {"__node_maintenance_boot_id": HERE, "message": None}


def test_a_host_that_was_not_rebooted_says_so(facts: dict[str, dict[str, Any]]) -> None:
    message = facts["refused"]["message"]
    assert "gpu-01 was not rebooted (Reboot command failed, error was: no)" in message
    assert HERE in message and "run the playbook again" in message


def test_a_failed_reboot_does_not_end_the_host() -> None:
    """Nothing is rebooted in a test, so that its failure is caught is seen from the file."""
    tasks = product.load(product.role_file("node_maintenance", "tasks/reboot.yml"))
    place = next(
        index
        for index, task in enumerate(tasks)
        if any("ansible.builtin.reboot" in step for step in task.get("block", []))
    )
    assert "__node_maintenance_trouble" in tasks[place]["rescue"][0]["ansible.builtin.set_fact"]
    assert tasks[place + 1]["ansible.builtin.include_tasks"] == {"file": "new_boot.yml"}


def test_a_node_that_was_not_rebooted_is_given_back() -> None:
    tasks = product.load(product.role_file("node_maintenance", "tasks/new_boot.yml"))
    (back,) = [task for task in tasks if task.get("ansible.builtin.include_tasks") == {"file": "give_back.yml"}]
    assert back["when"] == ["node_maintenance_drain | bool", "__node_maintenance_new == __node_maintenance_boot_id"]
