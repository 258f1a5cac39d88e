# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _helm

DOCUMENTATION = r"""
name: helm_error
short_description: Why Helm failed, without the values that were given to it
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Takes the message out of a failed result of M(kubernetes.core.helm) that is not to be shown as a whole.
  - Texts of the values are replaced in it, also where Helm has encoded them, because values may hold passwords.
positional: _input, values
options:
  _input:
    description: The result.
    type: dict
    required: true
  values:
    description: What the user has set of the values of the chart.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Say why Helm failed
  ansible.builtin.fail:
    msg: "{{ ansible_failed_result | katagpu.cluster.helm_error({'toolkit': {'env': [{'name': 'TOKEN', 'value': 'hush-hush'}]}}) }}"
"""

RETURN = r"""
_value:
  description: The message.
  type: str
"""


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"helm_error": _helm.error_text}
