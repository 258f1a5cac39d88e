# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _maintenance

DOCUMENTATION = r"""
name: begun_maintenance
short_description: What a node must remember before it is cordoned
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - The mark of an interrupted run stays on a cordoned node, because it knows who cordoned it. Boot id and reasons become those of this run.
  - On a schedulable node, or without a mark, it is made anew from the Node object.
positional: _input, boot_id, reasons, roll, begun
options:
  _input:
    description: The Node object.
    type: dict
    required: true
  boot_id:
    description: Boot id of the host before the reboot.
    type: str
    required: true
  reasons:
    description: Why the host is rebooted, so that no later run reboots it for the same in vain.
    type: list
    elements: str
    default: []
  roll:
    description: The part of the stack that changes on the drained node. Only the same part takes its note off again.
    type: str
    default: ""
  begun:
    description: The time of the controller in seconds since the epoch, so that the end of the maintenance can tell how long it took.
    type: float
    default: 0
"""

EXAMPLES = r"""
---
- name: Show the mark
  ansible.builtin.debug:
    msg: "{{ node | katagpu.cluster.begun_maintenance(katagpu_record.boot_id) | to_json }}"
"""

RETURN = r"""
_value:
  description: C(boot_id), C(reasons), C(begun), C(cordoned_by_us), C(gpus), C(heartbeat) and, for changes through the API, C(rolls).
  type: dict
"""


def begun_maintenance(*arguments: Any, **options: Any) -> Any:
    return _maintenance.begun_maintenance(*arguments, **options)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"begun_maintenance": begun_maintenance}
