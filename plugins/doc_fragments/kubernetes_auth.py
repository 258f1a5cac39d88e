# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig file of the cluster.
      - Falls back to E(K8S_AUTH_KUBECONFIG), then to the Kubernetes client's own default.
    type: path
  context:
    description:
      - Context of the kubeconfig file.
      - Falls back to E(K8S_AUTH_CONTEXT), then to the file's current context.
    type: str
requirements:
  - kubernetes (Python package, on the controller)
attributes:
  action_group:
    description: Use C(group/katagpu.cluster.cluster) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - katagpu.cluster.cluster
"""
