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
name: helm_namespace
short_description: A namespace whose pods may be privileged
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Builds the Namespace with the label of Pod Security admission that operands and installers need, and the note that a Helm
    release in it is managed by this collection.
positional: _input, release
options:
  _input:
    description: Name of the namespace.
    type: str
    required: true
  release:
    description: Name of the Helm release that this collection keeps there.
    type: str
    required: true
"""

EXAMPLES = r"""
---
- name: Create the namespace
  kubernetes.core.k8s:
    definition: "{{ 'gpu-operator' | katagpu.cluster.helm_namespace('gpu-operator') }}"
"""

RETURN = r"""
_value:
  description: The Namespace.
  type: dict
"""


def helm_namespace(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.helm_namespace(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"helm_namespace: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"helm_namespace": helm_namespace}
