# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _manifests

DOCUMENTATION = r"""
name: runtime_class_waits
short_description: RuntimeClasses to wait for
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Turns names of RuntimeClasses into objects for M(katagpu.cluster.rollout_wait).
positional: _input
options:
  _input:
    description: Names of RuntimeClasses.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
---
- name: Wait for the class
  katagpu.cluster.rollout_wait:
    objects: "{{ ['kata-qemu'] | katagpu.cluster.runtime_class_waits }}"
"""

RETURN = r"""
_value:
  description: The option O(katagpu.cluster.rollout_wait#module:objects).
  type: list
"""


def runtime_class_waits(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.runtime_class_waits(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"runtime_class_waits: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"runtime_class_waits": runtime_class_waits}
