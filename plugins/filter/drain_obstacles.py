# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _maintenance

DOCUMENTATION = r"""
name: drain_obstacles
short_description: Why a node cannot be drained and rebooted
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Names pods without an owner, pods with C(emptyDir) volumes, disruption budgets that allow nothing, the only control-plane
    node that is Ready, a host that is the controller itself, a Node that is another machine than the host, a cordon of somebody
    else, and an unfinished maintenance that has rebooted the host for the same reason.
  - Finished pods, pods of DaemonSets and mirrors of static pods are no obstacles.
positional: _input, pods, budgets, control_planes
options:
  _input:
    description: The Node object. An empty dict for a host that is not drained.
    type: dict
    required: true
  pods:
    description: Pods of the node.
    type: list
    elements: dict
    default: []
  budgets:
    description: All PodDisruptionBudgets.
    type: list
    elements: dict
    default: []
  control_planes:
    description: The control-plane nodes.
    type: list
    elements: dict
    default: []
  force:
    description: Whether pods without an owner may be lost.
    type: bool
    default: false
  delete_emptydir_data:
    description: Whether the data of C(emptyDir) volumes may be lost.
    type: bool
    default: false
  host_machine_id:
    description: Machine id of the host.
    type: str
    default: ""
  controller_machine_id:
    description: Machine id of the controller.
    type: str
    default: ""
  act:
    description: What is to be done on the drained node. Anything but V(reboot) leaves the host itself running.
    type: str
    default: reboot
  ends_api:
    description: Whether an API server on the node ends with it.
    type: bool
    default: true
  host_boot_id:
    description: Boot id of the host.
    type: str
    default: ""
  reboot_reasons:
    description: Why the host is to be rebooted. One for which an unfinished maintenance has rebooted it before is an obstacle.
    type: list
    elements: str
    default: []
  cordoned_ok:
    description: Whether a node that somebody else has cordoned may be drained and rebooted.
    type: bool
    default: false
  controller_boot_id:
    description: Boot id of the kernel under the controller, which is that of the host where the controller is a container on it.
    type: str
    default: ""
"""

EXAMPLES = r"""
---
- name: Show the obstacles
  ansible.builtin.debug:
    msg: "{{ node | katagpu.cluster.drain_obstacles(pods.resources, budgets.resources) }}"
"""

RETURN = r"""
_value:
  description: One text for each obstacle.
  type: list
  elements: str
"""


def drain_obstacles(*arguments: Any, **options: Any) -> Any:
    return _maintenance.drain_obstacles(*arguments, **options)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"drain_obstacles": drain_obstacles}
