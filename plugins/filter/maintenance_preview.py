# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _maintenance

DOCUMENTATION = r"""
name: maintenance_preview
short_description: What a maintenance of a node would mean
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - The pods that would be evicted, and how long the last maintenance of the node took where it is known.
positional: _input, pods
options:
  _input:
    description: The Node object.
    type: dict
    required: true
  pods:
    description: The Pod objects of the node.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
---
- name: Say what agreeing would mean
  ansible.builtin.debug:
    msg: "{{ node | katagpu.cluster.maintenance_preview(pods) }}"
"""

RETURN = r"""
_value:
  description: One sentence for each.
  type: list
  elements: str
"""


def maintenance_preview(*arguments: Any, **options: Any) -> Any:
    return _maintenance.maintenance_preview(*arguments, **options)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"maintenance_preview": maintenance_preview}
