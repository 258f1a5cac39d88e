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
