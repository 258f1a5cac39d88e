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
name: kata_deploy_values
short_description: Chart values of kata-deploy
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Merges the values of the release with the inputs of the role and refuses an empty node selector.
  - Adds the label C(katagpu.io/kata-runtime) to the node selector, with a value made of version and values. A node gets that
    label while it is drained. In job mode it is not added, because Helm makes the Jobs of all nodes at once.
positional: _input
options:
  _input:
    description: Release data.
    type: dict
    required: true
  distribution:
    description: Distribution of Kubernetes.
    type: str
    required: true
  node_selector:
    description: Labels that a node must have.
    type: dict
    required: true
  tolerations:
    description: Tolerations of the installer.
    type: list
    elements: dict
    required: true
  values:
    description: Further values.
    type: dict
    required: true
  chart_version:
    description: Version of the chart. Nothing means that of the release.
    type: str
  confidential:
    description: What the filter P(katagpu.cluster.confidential_nodes#filter) returned.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Build the values
  ansible.builtin.set_fact:
    values: >-
      {{ katagpu_stack | katagpu.cluster.kata_deploy_values(distribution='k8s', tolerations=[], values={},
      node_selector={'nvidia.com/gpu.workload.config': 'vm-passthrough'}) }}
"""

RETURN = r"""
_value:
  description: The values.
  type: dict
"""


def kata_deploy_values(*arguments: Any, **options: Any) -> Any:
    try:
        return _charts.kata_deploy_values(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"kata_deploy_values: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kata_deploy_values": kata_deploy_values}
