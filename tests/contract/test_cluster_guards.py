# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be asked before the cluster is changed, and what is never printed."""

from __future__ import annotations

from typing import Any

from tests.contract import product


def steps(role: str, name: str = "main") -> list[dict[str, Any]]:
    return product.tasks(product.role_file(role, f"tasks/{name}.yml"))


def index(tasks: list[dict[str, Any]], module: str) -> int:
    return next(place for place, task in enumerate(tasks) if module in task)


def test_labels_come_after_the_check() -> None:
    tasks = steps("node_labels")
    include = tasks[index(tasks, "ansible.builtin.include_role")]
    assert include["ansible.builtin.include_role"] == {"name": "katagpu.cluster.gpu_operator", "tasks_from": "check"}
    assert "when" not in include
    assert index(tasks, "ansible.builtin.include_role") < index(tasks, "katagpu.cluster.node_labels")


def test_helm_comes_after_the_check() -> None:
    tasks = steps("gpu_operator")
    include = tasks[index(tasks, "ansible.builtin.include_tasks")]
    assert include["ansible.builtin.include_tasks"] == {"file": "check.yml"} and "when" not in include
    assert index(tasks, "ansible.builtin.include_tasks") < index(tasks, "kubernetes.core.helm")


def test_the_check_sees_nodes_release_and_consent() -> None:
    """Without nodes no pod counts as one on a Kata node, and nothing is refused."""
    tasks = steps("gpu_operator", "check")
    options = tasks[index(tasks, "katagpu.cluster.cluster_info")]["katagpu.cluster.cluster_info"]
    assert {"nodes", "helm", "eligible", "protect", "accepted", "default_workload", "gpu_operator_namespace"} <= set(
        options
    )
    assert "ansible.builtin.assert" in tasks[-1] and "when" not in tasks[-1]


def test_chart_values_are_neither_printed_nor_kept_as_a_fact() -> None:
    for name in ("main", "check"):
        for task in steps("gpu_operator", name):
            shown = [
                *product.strings(task.get("ansible.builtin.debug")),
                *product.strings(task.get("ansible.builtin.set_fact")),
            ]
            assert not any("__gpu_operator_values" in text or "gpu_operator_values" in text for text in shown), task[
                "name"
            ]
            assert "kubernetes.core.helm" not in task or task["diff"] is False
