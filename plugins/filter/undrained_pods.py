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
name: undrained_pods
short_description: Pods that a drain should have evicted
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Names the pods that are neither finished, nor of a DaemonSet, nor mirrors of static pods.
positional: _input
options:
  _input:
    description: Pods of the node.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Show what is left
  ansible.builtin.debug:
    msg: "{{ pods.resources | katagpu.cluster.undrained_pods }}"
"""

RETURN = r"""
_value:
  description: Names with namespaces.
  type: list
"""


def undrained_pods(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.undrained_pods(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"undrained_pods: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"undrained_pods": undrained_pods}
