# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds before a host is changed."""

from __future__ import annotations

import pytest

from tests.contract import product


@pytest.mark.parametrize("role", ["host_firmware", "host_iommu", "host_vfio", "kubelet"])
def test_a_host_with_an_open_block_is_not_changed(role: str) -> None:
    """The read before may be newer than that of preflight, and a play of the user's own has no preflight that ended the host."""
    tasks = product.tasks(product.role_file(role, "tasks/main.yml"))
    (apply,) = [task for task in tasks if "ansible.builtin.include_tasks" in task]
    assert apply["ansible.builtin.include_tasks"] == {"file": "apply.yml"}
    assert "not katagpu_host.summary.blocked" in apply["when"]


def test_the_bios_is_set_first_and_only_where_it_was_asked_for() -> None:
    """Kernel arguments are planned for the machine that the reboot brings."""
    tasks = product.tasks(product.REPOSITORY / "playbooks/phases/hosts.yml")
    names = [task["ansible.builtin.include_role"]["name"] for task in tasks if "ansible.builtin.include_role" in task]
    roles = [name.removeprefix("katagpu.cluster.") for name in names]
    assert roles.index("host_firmware") + 1 == roles.index("host_iommu")
    (firmware,) = [task for task in tasks if "host_firmware" in str(task.get("ansible.builtin.include_role"))]
    assert firmware["when"] == "katagpu_firmware | default('', true) == 'apply'"
    read = product.tasks(product.role_file("common", "tasks/read_host.yml"))
    assert "katagpu_firmware | default('', true) | length > 0" in read[0]["when"]


def test_the_bios_is_read_again_after_the_reboot() -> None:
    """What waited before it would else be a reason for another one."""
    tasks = product.tasks(product.role_file("node_maintenance", "tasks/reboot.yml"))
    at = [
        index
        for index, task in enumerate(tasks)
        if task.get("ansible.builtin.set_fact") == {"katagpu_bios": {"rebooted": True}}
    ]
    reads = [index for index, task in enumerate(tasks) if "read_host" in str(task.get("ansible.builtin.include_role"))]
    reboots = [index for index, task in enumerate(tasks) if "ansible.builtin.reboot" in task]
    assert len(at) == 1 and reboots[0] < at[0] < reads[0]
