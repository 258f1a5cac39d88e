# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _artifacts

DOCUMENTATION = r"""
name: release_artifacts
short_description: Charts, manifests and images of a stack release
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Lists what has to be in a mirror before a release can be installed without the Internet.
  - The list is that of the release's own values. What other values switch on is not in it.
positional: _input
options:
  _input:
    description: Release data, as P(katagpu.cluster.release_data#filter) returns it.
    type: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Show the images of the default release
  ansible.builtin.debug:
    msg: "{{ ('' | katagpu.cluster.release_data | katagpu.cluster.release_artifacts).images | map(attribute='image') | list }}"
"""

RETURN = r"""
_value:
  description:
    - The keys C(charts), C(manifests), C(images) and C(guest_artifacts) are lists. C(warnings) says where the list may not fit.
  type: dict
"""


def release_artifacts(*arguments: Any, **options: Any) -> Any:
    try:
        return _artifacts.artifacts(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"release_artifacts: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_artifacts": release_artifacts}
