# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _rbac

DOCUMENTATION = r"""
name: rbac_files
short_description: Manifests with the rights that the playbooks need
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Writes the rights on the Kubernetes API that preflight asks for as roles, bindings, service accounts and namespaces.
positional: _input
options:
  _input:
    description: Release data, as P(katagpu.cluster.release_data#filter) returns it.
    type: dict
    required: true
  given:
    description:
      - Namespaces and names of Helm releases that are not those of the release, as C(gpu_operator_namespace), C(gpu_operator_name) and so on.
    type: dict
    default: {}
  workload_namespace:
    description: Namespace of the sample workload. Nothing means that none is run, and then there is no C(rbac-workload.yml).
    type: str
    default: default
  subjects:
    description:
      - Who gets the rights, by C(reader) and C(deployer). Each is a list of subjects with C(kind), C(name) and, for a ServiceAccount, C(namespace).
      - Without one it is the service account of that name in the namespace C(katagpu).
    type: dict
    default: {}
"""

EXAMPLES = r"""
---
- name: Show the rights of the deployer for the default release
  ansible.builtin.debug:
    msg: "{{ ('' | katagpu.cluster.release_data | katagpu.cluster.rbac_files)['rbac-deployer.yml'] }}"
"""

RETURN = r"""
_value:
  description: Contents of the manifests by their file names, C(rbac-reader.yml), C(rbac-workload.yml) and C(rbac-deployer.yml).
  type: dict
"""


def rbac_files(*arguments: Any, **options: Any) -> Any:
    try:
        return _rbac.files(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"rbac_files: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rbac_files": rbac_files}
