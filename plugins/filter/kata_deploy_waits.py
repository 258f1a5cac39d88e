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
name: kata_deploy_waits
short_description: What an installed Kata runtime consists of
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Lists the objects that M(katagpu.cluster.rollout_wait) waits for after kata-deploy was installed.
positional: _input
options:
  _input:
    description: Release data.
    type: dict
    required: true
  namespace:
    description: Namespace of kata-deploy.
    type: str
    required: true
  nodes:
    description: Nodes that get the runtime.
    type: list
    elements: str
    required: true
  values:
    description: Values of the chart, which say whether a DaemonSet or Jobs install.
    type: dict
    default: {}
  confidential:
    description: What the filter P(katagpu.cluster.confidential_nodes#filter) returned.
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Wait for the runtime
  katagpu.cluster.rollout_wait:
    objects: "{{ katagpu_stack | katagpu.cluster.kata_deploy_waits(namespace='kata-system', nodes=['gpu-01']) }}"
"""

RETURN = r"""
_value:
  description: The option O(katagpu.cluster.rollout_wait#module:objects).
  type: list
"""


def kata_deploy_waits(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.kata_deploy_waits(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"kata_deploy_waits: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kata_deploy_waits": kata_deploy_waits}
