# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts

DOCUMENTATION = r"""
name: kata_manager_values
short_description: Chart values of the Kata manager
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Turns the role option C(gpu_operator_kata_manager) into the block C(kataManager) of the GPU Operator chart.
positional: _input
options:
  _input:
    description: The role option.
    type: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Build the values
  ansible.builtin.set_fact:
    values: "{{ {'kataManager': gpu_operator_kata_manager | katagpu.cluster.kata_manager_values} }}"
"""

RETURN = r"""
_value:
  description: The block C(kataManager).
  type: dict
"""


def kata_manager_values(*arguments: Any, **options: Any) -> Any:
    try:
        return _charts.kata_manager_values(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"kata_manager_values: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kata_manager_values": kata_manager_values}
