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
name: named_nodes
short_description: Nodes that the inventory names
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Gives the nodes of the inventory by their name in Kubernetes, with role, addresses and what was read of them.
positional: _input, kata, container
options:
  _input:
    description: All host variables (C(hostvars)).
    type: dict
    required: true
  kata:
    description: Hosts of the group C(kata_nodes).
    type: list
    required: true
  container:
    description: Hosts of the group C(container_nodes).
    type: list
    required: true
"""

EXAMPLES = r"""
---
- name: Show the nodes
  ansible.builtin.debug:
    msg: "{{ hostvars | katagpu.cluster.named_nodes(kata=groups['kata_nodes'], container=groups['container_nodes']) }}"
"""

RETURN = r"""
_value:
  description: Options RV(ignore:nodes) of M(katagpu.cluster.cluster_info).
  type: dict
"""


def named_nodes(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.named_nodes(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"named_nodes: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"named_nodes": named_nodes}
