# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: findings_messages
short_description: Texts of findings
version_added: 1.0.0
author: katagpu contributors (@katagpu)
description:
  - Returns the messages of the findings with the given states and severities.
positional: states, severities
options:
  _input:
    description: Findings.
    type: list
    elements: dict
    required: true
  states:
    description: States to select.
    type: list
    elements: str
    default: [open]
  severities:
    description: Severities to select.
    type: list
    elements: str
    default: [block]
"""

EXAMPLES = r"""
- name: Show what blocks
  ansible.builtin.debug:
    msg: "{{ [] | katagpu.cluster.findings_messages }}"
"""

RETURN = r"""
_value:
  description: The messages.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, OPEN, Finding


def findings_messages(findings: Any, states: Any = (OPEN,), severities: Any = (BLOCK,)) -> list[str]:
    values = [Finding.from_dict(item) for item in findings or ()]
    return [value.message() for value in values if value.state in states and value.severity in severities]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"findings_messages": findings_messages}
