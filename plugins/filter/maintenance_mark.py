# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _maintenance

DOCUMENTATION = r"""
name: maintenance_mark
short_description: What a node remembers of a drained reboot
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Reads the annotation C(katagpu.io/maintenance). Without one, or when it is not ours, the result is empty.
positional: _input
options:
  _input:
    description: The Node object.
    type: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Say who cordoned the node
  ansible.builtin.debug:
    msg: "{{ (node | katagpu.cluster.maintenance_mark).cordoned_by_us | default(false) }}"
"""

RETURN = r"""
_value:
  description: C(boot_id), C(cordoned_by_us), C(gpus) and C(heartbeat) from before the reboot, or nothing.
  type: dict
"""


def maintenance_mark(*arguments: Any, **options: Any) -> Any:
    return _maintenance.maintenance_mark(*arguments, **options)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"maintenance_mark": maintenance_mark}
