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
name: skipped_workloads
short_description: Nodes on which the sample workload would prove nothing
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Where a release names the GPU by an annotation with its index, and the node offers several, the pod may get another one.
positional: _input
options:
  _input:
    description: Release data.
    type: dict
    required: true
  nodes:
    description: What M(katagpu.cluster.cluster_info) returned for the nodes.
    type: dict
    required: true
  names:
    description: Nodes of this run.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
---
- name: Show them
  ansible.builtin.debug:
    msg: "{{ katagpu_stack | katagpu.cluster.skipped_workloads(nodes=katagpu_cluster.nodes, names=katagpu_eligible.kata) }}"
"""

RETURN = r"""
_value:
  description: Results of the workload, as the report takes them.
  type: list
"""


def skipped_workloads(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.skipped_workloads(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"skipped_workloads: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"skipped_workloads": skipped_workloads}
