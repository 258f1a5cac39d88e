# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts

DOCUMENTATION = r"""
name: wanted_charts
short_description: Helm releases that a run would make
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Builds the option O(katagpu.cluster.cluster_info#module:helm) from release data and the inputs of the roles, so that preflight
    looks at the same values as the roles.
positional: _input
options:
  _input:
    description: Release data.
    type: dict
    required: true
  gpu_operator:
    description: Inputs of the role C(gpu_operator) without their prefix. Nothing means the default of the role.
    type: dict
    required: true
  kata_deploy:
    description: Inputs of the role C(kata_deploy), in the same way, and in C(confidential) what P(katagpu.cluster.confidential_nodes#filter) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Look at the Helm releases
  katagpu.cluster.cluster_info:
    helm: "{{ katagpu_stack | katagpu.cluster.wanted_charts(gpu_operator={}, kata_deploy={}) }}"
"""

RETURN = r"""
_value:
  description: One entry for each chart of the release.
  type: list
"""


def wanted_charts(*arguments: Any, **options: Any) -> Any:
    try:
        return _charts.wanted_charts(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"wanted_charts: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"wanted_charts": wanted_charts}
