# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: vfio_owner
short_description: Who binds the GPUs of the Kata nodes
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Gives the owner that all of these hosts have. Hosts that differ are an error, because the GPU Operator is one for all of them.
positional: _input, hosts, release
options:
  _input:
    description: The variables of the hosts by name, normally C(hostvars). C(katagpu_vfio_owner) is used.
    type: dict
    required: true
  hosts:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  release:
    description: Release data, whose choice counts where a host has none.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ hostvars | katagpu.cluster.vfio_owner(groups['kata_nodes'], katagpu_stack) }}"
"""

RETURN = r"""
_value:
  description: V(operator) or V(host).
  type: str
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _owner


def vfio_owner(hostvars: Mapping[str, Any], hosts: Iterable[str], release: Mapping[str, Any]) -> str:
    try:
        return _owner.chosen(hostvars, hosts, release)
    except KatagpuError as error:
        raise AnsibleFilterError(f"vfio_owner: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"vfio_owner": vfio_owner}
