#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: controller_check
short_description: Check the inventory and the controller before a run
version_added: 1.0.0
description:
  - Finds missing targets, unknown or unsupported releases, misspelt variables, bad values, missing tools and a bad batch width,
    all at once.
options:
  kata_nodes:
    description: Hosts that are to run GPU pods in virtual machines.
    type: list
    elements: str
    default: []
  container_nodes:
    description: Hosts that run ordinary GPU containers.
    type: list
    elements: str
    default: []
  release:
    description:
      - Name of the stack release, or what the filter P(katagpu.cluster.release_data#filter) returned.
      - Nothing means the default release.
    type: raw
  releases:
    description: Changes of releases, or releases of your own, by name.
    type: dict
    default: {}
  release_consent:
    description: Value of C(katagpu_release_consent), the release that is installed although it is refused without consent.
    type: str
  accepted:
    description: Findings that are accepted, each with C(id) and C(reason). Only findings that allow it are.
    type: raw
  default_workload:
    description: Value of C(katagpu_default_workload).
    type: str
  operand_update:
    description: Value of C(katagpu_operand_update).
    type: str
  vfio_owner:
    description: Value of C(katagpu_vfio_owner). Values of single hosts are read from the inventory.
    type: str
  confidential:
    description: Value of C(katagpu_confidential). Hosts with a value of their own are checked as well.
    type: str
  firmware:
    description: Value of C(katagpu_firmware). Values of single hosts are read from the inventory.
    type: str
  gpu_operator_values:
    description: Value of C(gpu_operator_values), which is compared with what the release is for.
    type: raw
  gpu_operator_kata_manager:
    description: Value of C(gpu_operator_kata_manager).
    type: raw
  kata_deploy_values:
    description: Value of C(kata_deploy_values).
    type: raw
  coco_operator_node_selector:
    description: Value of C(coco_operator_node_selector), which must not be empty.
    type: raw
  kata_deploy_node_selector:
    description: Value of C(kata_deploy_node_selector), which must not be empty.
    type: raw
  tools:
    description:
      - Programs that the controller needs; alternatives are separated by a bar.
      - Nothing means what the release needs, which is Helm, and for releases with the CoCo operator C(kubectl) or C(kustomize) too.
    type: list
    elements: str
  manifest_operator_ref:
    description:
      - Where the manifests of the CoCo operator come from. Nothing means what the release says.
      - Anything that is no existing local folder is fetched, which needs git.
    type: str
  manifest_runtime_ref:
    description: Where the manifests of its runtime come from, in the same way.
    type: str
  serial:
    description: How many hosts are maintained at the same time, as a number or a percentage.
    type: raw
    default: 1
  serial_consent:
    description: Whether a batch of all hosts is allowed.
    type: bool
    default: false
  known:
    description: Names of further variables that are no mistakes.
    type: list
    elements: str
    default: []
  required_python:
    description: Python packages that the controller needs.
    type: list
    elements: str
    default: [kubernetes, jmespath, yaml]
  fail:
    description: Whether the task fails when something is wrong.
    type: bool
    default: true
extends_documentation_fragment:
  - katagpu.cluster.attributes
attributes:
  check_mode:
    support: full
    details:
      - This action does not modify state.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
author:
  - katagpu contributors (@katagpu)
"""

EXAMPLES = r"""
- name: Check the controller and the inventory
  katagpu.cluster.controller_check:
    kata_nodes: "{{ groups['kata_nodes'] | default([]) }}"
    container_nodes: "{{ groups['container_nodes'] | default([]) }}"
    release: "23.9"
  delegate_to: localhost
"""

RETURN = r"""
findings:
  description: What was found, each with id, severity, state, node, device, fact, consequence, fix, evidence and message.
  returned: success
  type: list
  elements: dict
summary:
  description: Whether something is wrong, and the texts.
  returned: success
  type: dict
"""

# The code is in the action plugin of the same name, because it runs on the controller.
