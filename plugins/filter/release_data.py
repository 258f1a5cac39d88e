# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_data
short_description: The data of a stack release
version_added: 1.0.0
author: katagpu contributors (@katagpu)
description:
  - Looks a stack release up in the data of this collection, with the user's changes merged in.
positional: releases
options:
  _input:
    description: Name of the release.
    type: str
    required: true
  releases:
    description: Changes of releases, or releases of your own, by name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Which version of the GPU Operator belongs to the release
  ansible.builtin.debug:
    msg: "{{ ('23.9' | katagpu.cluster.release_data).gpu_operator.chart_version }}"
"""

RETURN = r"""
_value:
  description: The release.
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases


def release_data(name: Any, releases: Any = None) -> dict[str, Any]:
    try:
        return _releases.lookup(name, releases or {})
    except KatagpuError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"release_data": release_data}
