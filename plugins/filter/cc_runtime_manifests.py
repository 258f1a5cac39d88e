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
name: cc_runtime_manifests
short_description: Restrict CcRuntimes to selected nodes
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Replaces the node selector of every CcRuntime among the manifests.
positional: _input, node_selector
options:
  _input:
    description: Manifests of the runtime kustomization.
    type: list
    elements: dict
    required: true
  node_selector:
    description: Labels that a node must have.
    type: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Restrict the runtime to the labelled nodes
  ansible.builtin.set_fact:
    manifests: "{{ upstream | katagpu.cluster.cc_runtime_manifests(node_selector={'nvidia.com/gpu.workload.config': 'vm-passthrough'}) }}"
"""

RETURN = r"""
_value:
  description: The manifests.
  type: list
"""


def cc_runtime_manifests(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.cc_runtime_manifests(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"cc_runtime_manifests: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"cc_runtime_manifests": cc_runtime_manifests}
