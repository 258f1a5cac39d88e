# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: gpu_resources
short_description: Passthrough GPU resources that nodes advertise
version_added: 1.0.0
author: katagpu contributors (@katagpu)
description:
  - Selects the resources of the domain C(nvidia.com) that a sandbox device plugin advertises, with their amounts.
  - Resources with the amount zero, C(nvidia.com/gpu), MIG devices and NVSwitches are left out.
options:
  _input:
    description: A Node object, its allocatable resources, or a list of nodes. Of a list, the largest amount is taken.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: The resource that a pod has to ask for
  ansible.builtin.debug:
    msg: "{{ {'cpu': '8', 'nvidia.com/GA102GL_A10': '1'} | katagpu.cluster.gpu_resources | first }}"
"""

RETURN = r"""
_value:
  description: Amount by name of the resource.
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _resources


def gpu_resources(value: Any) -> dict[str, int]:
    try:
        return _resources.gpu_resources(value)
    except KatagpuError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"gpu_resources": gpu_resources}
