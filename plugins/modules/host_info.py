#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Read a host once and say what it needs
version_added: 1.0.0
description:
  - Reads everything that matters for GPU passthrough with one module execution and judges it on the controller.
  - Returns a plan for each phase, empty where nothing is to do, and findings with cause, remedy and evidence.
  - An open block is returned, not raised; only wrong options and unreachable hosts fail.
options:
  release:
    description:
      - Name of the stack release, or what the filter P(katagpu.cluster.release_data#filter) returned.
      - Nothing means the default release.
    type: raw
  releases:
    description: Changes of releases, or releases of your own, by name.
    type: dict
    default: {}
  node:
    description: Name of the host in Kubernetes. Nothing means the inventory name.
    type: str
  desired:
    description:
      - What is wanted of the host. A key that is absent or null has the default, unknown keys are refused.
      - Known are C(kernel_arguments_present), C(kernel_arguments_absent), C(bootloader), C(modules), C(blacklist),
        C(iommu_blacklist_argument), C(vfio_owner), C(vfio_addresses), C(vfio_members), C(vfio_driver), C(vfio_live),
        C(vfio_persistent), C(artifacts_dir), C(kubelet_config) and C(confidential).
    type: dict
    default: {}
  accepted:
    description: Findings that are accepted, each with C(id) and C(reason). Only findings that allow it are.
    type: list
    elements: dict
    default: []
  cluster_node:
    description: The entry of this node in RV(katagpu.cluster.cluster_info#module:nodes).
    type: dict
  bios:
    description: What M(katagpu.cluster.bios_settings) returned for this host, where the BIOS is to be judged too.
    type: dict
  verify:
    description: Whether the checks of a provisioned host are made too.
    type: bool
    default: false
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.root
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
- name: What does this host need
  katagpu.cluster.host_info:
    release: "23.9"
  become: true
  register: host

- name: Stop at a block
  ansible.builtin.fail:
    msg: "{{ host.summary.messages }}"
  when: host.summary.blocked
"""

RETURN = r"""
node:
  description: Name of the host in Kubernetes.
  returned: success
  type: str
facts:
  description: What is worth keeping of the host, among it the GPUs with driver, IOMMU group and the group's other members.
  returned: success
  type: dict
plan:
  description: For C(host_firmware), C(host_iommu), C(host_vfio) and C(kubelet), the options of what applies it; empty where nothing is to do.
  returned: success
  type: dict
  sample:
    host_firmware: {}
    host_iommu:
      kernel_cmdline:
        present: [intel_iommu=on, modprobe.blacklist=nouveau]
        absent: []
        bootloader: auto
      reboot: true
    host_vfio: {}
    kubelet: {}
findings:
  description: What was found, each with id, severity, state, node, device, fact, consequence, fix, evidence and message.
  returned: always
  type: list
  elements: dict
checks:
  description: The checks, with O(verify).
  returned: success
  type: list
  elements: dict
summary:
  description:
    - Boot id, whether there is an open block, whether and why a reboot is needed, and the texts of open blocks.
    - Whether the kubelet has to be restarted, and in C(restart) its unit, the reasons, the old configuration's copy and whether an API server ends with it.
  returned: success
  type: dict
record:
  description: What later phases need of this host.
  returned: success
  type: dict
"""

# The code is in the action plugin of the same name, because it runs on the controller.
