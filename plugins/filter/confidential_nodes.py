# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: confidential_nodes
short_description: Nodes for confidential virtual machines
version_added: 1.0.0
author: katagpu contributors (@katagpu)
description:
  - Says which of some hosts ask for a confidential variant, by the name of their node. Hosts that ask for none are left out.
positional: _input, hosts
options:
  _input:
    description: The variables of the hosts by name, normally C(hostvars). C(katagpu_confidential) and C(katagpu_node_name) are used.
    type: dict
    required: true
  hosts:
    description: Names of hosts.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ hostvars | katagpu.cluster.confidential_nodes(groups['kata_nodes']) }}"
"""

RETURN = r"""
_value:
  description: The variant, V(snp) or V(tdx), by the name of the node.
  type: dict
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential


def confidential_nodes(hostvars: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, str]:
    try:
        return _confidential.demands(hostvars, hosts)
    except KatagpuError as error:
        raise AnsibleFilterError(f"confidential_nodes: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"confidential_nodes": confidential_nodes}
