# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the kubelet may be restarted: on the drained node, and nowhere else."""

from __future__ import annotations

from typing import Any

from tests.contract import product

RESTARTS = (
    "ansible.builtin.systemd_service",
    "ansible.builtin.systemd",
    "ansible.builtin.service",
    "ansible.builtin.reboot",
)


def steps(role: str, name: str) -> list[dict[str, Any]]:
    return product.tasks(product.role_file(role, f"tasks/{name}.yml"))


def included(task: dict[str, Any]) -> str:
    return str((task.get("ansible.builtin.include_tasks") or {}).get("file", ""))


def test_nothing_but_maintenance_restarts() -> None:
    found = {
        f"{path.parent.parent.name}/{path.name}"
        for path in product.TASK_FILES
        for task in product.tasks(path)
        if product.module_of(task) in RESTARTS
    }
    assert found == {"node_maintenance/reboot.yml", "node_maintenance/restart.yml"}


def test_the_restart_comes_after_obstacles_drain_and_a_fresh_heartbeat() -> None:
    tasks = steps("node_maintenance", "restart")
    order = [included(task) or product.module_of(task) for task in tasks]
    places = [order.index(name) for name in ("obstacles.yml", "ansible.builtin.fail", "drain.yml", "read_node.yml")]
    restart, wait = order.index("ansible.builtin.systemd_service"), order.index("wait_ready.yml")
    assert places == sorted(places) and places[-1] < restart < wait < order.index("finish.yml")


def test_the_kubelet_is_prepared_last_and_only_where_something_is_needed() -> None:
    hosts = product.tasks(product.REPOSITORY / "playbooks/phases/hosts.yml")
    names = [(task.get("ansible.builtin.include_role") or {}).get("name", "").rpartition(".")[2] for task in hosts]
    assert names.index("host_iommu") < names.index("host_vfio") < len(names) - 1 - names[::-1].index("kubelet")
    (host,) = [task for task, name in zip(hosts, names, strict=True) if name == "kubelet" and "when" in task]
    assert "katagpu_stack.kubelet is defined" in host["when"]
    first = hosts[0]
    assert first["when"] == "katagpu_stack.kubelet is defined"
    assert first["block"][0]["ansible.builtin.include_role"] == {
        "name": "katagpu.cluster.kubelet",
        "tasks_from": "kubeadm",
    }
