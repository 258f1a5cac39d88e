# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: eligible_nodes
short_description: Nodes of this run that may be labelled, selected and waited for
version_added: 1.0.0
author: katagpu contributors (@katagpu)
description:
  - A Kata node is eligible when its last read of this run has no open block, no pending reboot and no pending restart
    of the kubelet, the host did not fail, and the cluster knows it. A container node is eligible when the cluster knows it.
positional: kata, container
options:
  _input:
    description: The variables of the hosts by name, normally C(hostvars). The fact C(katagpu_record) and the variable
      C(katagpu_node_name) are used.
    type: dict
    required: true
  kata:
    description: Hosts that are to run GPU pods in virtual machines.
    type: list
    elements: str
    default: []
  container:
    description: Hosts that run ordinary GPU containers.
    type: list
    elements: str
    default: []
  cluster:
    description: What M(katagpu.cluster.cluster_info) returned.
    type: dict
    default: {}
  failed:
    description: Hosts that failed in this run.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Compute the eligible nodes once
  ansible.builtin.set_fact:
    katagpu_eligible: "{{ hostvars | katagpu.cluster.eligible_nodes(groups['kata_nodes'], groups['container_nodes']) }}"
"""

RETURN = r"""
_value:
  description:
    - The names of the nodes in C(kata), C(container) and C(all), and the reasons of the others in C(refused).
    - In C(unprotected), nodes of the inventory that are not eligible and that the GPU Operator would treat as something else
      than the inventory says. In C(labelled_not_eligible), nodes that are not eligible and carry the label of their role.
  type: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _eligible


def eligible_nodes(
    hosts: Mapping[str, Any],
    kata: Any = None,
    container: Any = None,
    cluster: Any = None,
    failed: Any = None,
) -> dict[str, Any]:
    kata, container = list(kata or []), list(container or [])
    # hostvars templates a host's variables when they are touched, so only these hosts are.
    variables = {host: _pick(hosts, host) for host in {*kata, *container}}
    return _eligible.eligible(variables, kata, container, cluster or {}, failed or [])


def _pick(hosts: Mapping[str, Any], host: str) -> dict[str, Any]:
    if host not in hosts:
        return {}
    variables = hosts[host]
    return {key: variables[key] for key in (_eligible.RECORD, _eligible.NODE_NAME) if key in variables}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"eligible_nodes": eligible_nodes}
