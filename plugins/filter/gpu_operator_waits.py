# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _manifests

DOCUMENTATION = r"""
name: gpu_operator_waits
short_description: What a ready GPU Operator consists of
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Lists the objects that M(katagpu.cluster.rollout_wait) waits for after the GPU Operator was installed.
positional: _input, namespace, kata, container, values
options:
  _input:
    description: Release data.
    type: dict
    required: true
  namespace:
    description: Namespace of the operator.
    type: str
    required: true
  kata:
    description: Nodes that run Kata workloads.
    type: list
    required: true
  container:
    description: Nodes that run GPU containers.
    type: list
    required: true
  values:
    description: Values of the chart. What they switch off is not waited for.
    type: dict
    default: {}
  confidential:
    description: What the filter P(katagpu.cluster.confidential_nodes#filter) returned.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Wait for the operands
  katagpu.cluster.rollout_wait:
    objects: "{{ katagpu_stack | katagpu.cluster.gpu_operator_waits(namespace='gpu-operator', kata=['gpu-01'], container=[]) }}"
"""

RETURN = r"""
_value:
  description: The option O(katagpu.cluster.rollout_wait#module:objects).
  type: list
"""


def gpu_operator_waits(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.gpu_operator_waits(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"gpu_operator_waits: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gpu_operator_waits": gpu_operator_waits}
