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
name: gpu_operator_values
short_description: Chart values of the GPU Operator
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Merges the values of the release with the inputs of the role.
positional: _input
options:
  _input:
    description: Release data.
    type: dict
    required: true
  values:
    description: Further values.
    type: dict
    required: true
  kata_manager:
    description: The role option C(gpu_operator_kata_manager).
    type: dict
    default: {}
  default_workload:
    description: Workload of nodes without a label.
    type: str
  operand_update:
    description: How changed operands come to the nodes, see C(katagpu_operand_update).
    type: str
    choices:
      - rolling
      - on_delete
  vfio_owner:
    description: Who binds the GPUs, as P(katagpu.cluster.vfio_owner#filter) returns it.
    type: str
    choices:
      - operator
      - host
"""

EXAMPLES = r"""
---
- name: Build the values
  ansible.builtin.set_fact:
    values: "{{ katagpu_stack | katagpu.cluster.gpu_operator_values(values={'driver': {'enabled': false}}) }}"
"""

RETURN = r"""
_value:
  description: The values.
  type: dict
"""


def gpu_operator_values(*arguments: Any, **options: Any) -> Any:
    try:
        return _charts.gpu_operator_values(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"gpu_operator_values: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gpu_operator_values": gpu_operator_values}
