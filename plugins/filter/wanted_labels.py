# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _labels

DOCUMENTATION = r"""
name: wanted_labels
short_description: Labels of the eligible nodes
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Builds the option O(katagpu.cluster.node_labels#module:nodes) of M(katagpu.cluster.node_labels) and refuses nodes that are not
    eligible.
  - An eligible node loses the label that keeps the GPU Operator off it, if an earlier run wrote that label.
positional: _input, kata, container
options:
  _input:
    description: Release data.
    type: dict
    required: true
  kata:
    description: Nodes that run Kata workloads.
    type: list
    elements: str
    required: true
  container:
    description: Nodes that run GPU containers.
    type: list
    elements: str
    required: true
  extra:
    description: Further labels by node name. Only nodes of the two lists may be named.
    type: dict
    default: {}
  protect:
    description: Nodes that the GPU Operator is to leave alone.
    type: list
    elements: str
    default: []
  hold:
    description:
      - Nodes of O(kata) that the GPU Operator is to leave alone until they are drained, where its operands restart containerd.
    type: list
    elements: str
    default: []
  eligible:
    description: The eligible nodes. When given, the two lists may contain no other node.
    type: list
    elements: str
  confidential:
    description: What the filter P(katagpu.cluster.confidential_nodes#filter) returned.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Label the eligible nodes
  katagpu.cluster.node_labels:
    nodes: "{{ katagpu_stack | katagpu.cluster.wanted_labels(kata=['gpu-01'], container=['gpu-02']) }}"
"""

RETURN = r"""
_value:
  description: Labels by node name.
  type: dict
"""


def wanted_labels(*arguments: Any, **options: Any) -> Any:
    try:
        return _labels.wanted_labels(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"wanted_labels: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"wanted_labels": wanted_labels}
