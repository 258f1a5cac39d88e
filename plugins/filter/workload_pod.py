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
name: workload_pod
short_description: Sample workload for one node
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Builds the pod of the sample workload with the resource that the node offers.
positional: _input, node, resources, image, namespace, memory_mib, runtime_class, annotations, timeout_seconds, taints
options:
  _input:
    description: Release data.
    type: dict
    required: true
  node:
    description: Node on which the pod shall run.
    type: str
    required: true
  resources:
    description: Passthrough resources of the node.
    type: dict
    required: true
  image:
    description: Image of the workload.
    type: str
    required: true
  namespace:
    description: Namespace of the pod.
    type: str
    required: true
  memory_mib:
    description: Memory of the virtual machine in MiB.
    type: int
    required: true
  runtime_class:
    description: RuntimeClass of the pod.
    type: str
    required: true
  annotations:
    description: Further annotations.
    type: dict
    required: true
  timeout_seconds:
    description: Time after which Kubernetes ends the pod. Without it nothing ends it.
    type: int
  taints:
    description: Taints of the node, which the pod then tolerates.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
---
- name: Build the pod
  ansible.builtin.set_fact:
    pod: >-
      {{ katagpu_stack | katagpu.cluster.workload_pod(node='gpu-01', resources={'nvidia.com/GA102GL_A10': 1}, image='example.com/vectoradd:1',
      namespace='default', memory_mib=16384, runtime_class='kata-qemu-nvidia-gpu', annotations={}) }}
"""

RETURN = r"""
_value:
  description: The pod.
  type: dict
"""


def workload_pod(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.workload_pod(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"workload_pod: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"workload_pod": workload_pod}
