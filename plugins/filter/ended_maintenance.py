# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _maintenance

DOCUMENTATION = r"""
name: ended_maintenance
short_description: What a node remembers of a maintenance that went through
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - For the annotation C(katagpu.io/last-maintenance), so that the next run can say how long it took.
  - Nothing for a maintenance that was interrupted, because it is not known how long that rested.
positional: _input, act, ended
options:
  _input:
    description: The mark of the node.
    type: dict
    required: true
  act:
    description: What was done on the drained node, for people.
    type: str
    required: true
  ended:
    description: The time of the controller in seconds since the epoch.
    type: float
    required: true
"""

EXAMPLES = r"""
---
- name: Show how long it took
  ansible.builtin.debug:
    msg: "{{ mark | katagpu.cluster.ended_maintenance('reboot', now().timestamp()) }}"
"""

RETURN = r"""
_value:
  description: C(act), C(seconds) and C(ended) in seconds since the epoch, or nothing.
  type: dict
"""


def ended_maintenance(*arguments: Any, **options: Any) -> Any:
    return _maintenance.ended_maintenance(*arguments, **options)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ended_maintenance": ended_maintenance}
