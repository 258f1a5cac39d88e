# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: kubelet_needs
short_description: What kubeadm's kubelet configuration needs for the hosts of this run
version_added: 1.0.0
author: katagpu contributors (@katagpu)
description:
  - Puts together what the release needs of the kubelets of some hosts, for
    O(katagpu.cluster.kubelet_config#module:target=kubeadm).
  - Hosts that kubeadm does not configure, that are blocked or that failed count for nothing.
positional: _input, hosts
options:
  _input:
    description: The variables of the hosts by name, normally C(hostvars). The fact C(katagpu_record) is used.
    type: dict
    required: true
  hosts:
    description: Names of hosts.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what kubeadm has to know
  ansible.builtin.debug:
    msg: "{{ hostvars | katagpu.cluster.kubelet_needs(groups['kata_nodes']) }}"
"""

RETURN = r"""
_value:
  description: Keys and values of a KubeletConfiguration, empty where nothing is needed.
  type: dict
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _eligible
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import config_map


def kubelet_needs(hostvars: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, Any]:
    known = [hostvars[host] for host in hosts if host in hostvars]
    return config_map.needs(variables[_eligible.RECORD] for variables in known if _eligible.RECORD in variables)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"kubelet_needs": kubelet_needs}
