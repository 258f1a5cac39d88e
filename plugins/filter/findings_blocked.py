# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: findings_blocked
short_description: Whether findings stop a host or the run
version_added: 1.0.0
author: katagpu contributors (@katagpu)
description:
  - Tells whether at least one of the findings is an open block.
options:
  _input:
    description: Findings.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Stop on an open block
  ansible.builtin.assert:
    that: not (findings | katagpu.cluster.findings_blocked)
  vars:
    findings: []
"""

RETURN = r"""
_value:
  description: Whether there is an open block.
  type: bool
"""

from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import Finding


def findings_blocked(findings: Any) -> bool:
    return any(Finding.from_dict(item).stops for item in findings or ())


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"findings_blocked": findings_blocked}
