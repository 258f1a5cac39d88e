#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Read everything about a host that GPU passthrough to Kata containers depends on
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Reads PCI functions, IOMMU, kernel arguments, modules, VFIO bindings, kubelet, containerd and CDI in one execution.
  - Raw facts are returned and nothing is judged. The action plugin M(katagpu.cluster.host_info) judges them.
  - Nothing is executed on the host and every text is capped, so that a read is cheap on a busy machine.
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.attributes.info
  - katagpu.cluster.root
options:
  artifacts_dirs:
    description: Folders whose file names are returned, such as that of the Kata artifacts.
    type: list
    elements: path
    default: []
  full:
    description:
      - Whether functions that have nothing to do with a display or an NVIDIA device are returned with all their fields.
      - Otherwise those carry identity, driver, group and upstream bridge only, and empty fields are left out.
    type: bool
    default: false
"""

EXAMPLES = r"""
---
- name: Read the host once
  katagpu.cluster.host_facts:
    artifacts_dirs:
      - /opt/nvidia-gpu-operator/artifacts/runtimeclasses
  become: true
  register: host

- name: Read a copied tree
  katagpu.cluster.host_facts:
    root: /srv/copies/gpu-03
"""

RETURN = r"""
facts:
  description: What was read. Absent files are empty or null, never an error.
  returned: success
  type: dict
  contains:
    schema:
      description: Version of this structure.
      type: int
      sample: 1
    platform:
      description: Boot id and time, age of what takes effect at a boot, machine id, host name, kernel, architecture, distribution,
        virtualization hints and Python.
      type: dict
    pci:
      description: The functions as M(katagpu.cluster.pci_info) returns them, and the groups with their members.
      type: dict
    framebuffers:
      description: Memory in which the console lies that the firmware began, as start, end and name.
      type: list
      elements: list
    iommu:
      description: Firmware tables, IOMMU units, groups with type and reserved regions, running kernel arguments.
      type: dict
    boot:
      description: Boot loader, its files, and what it will start next time.
      type: dict
    modules:
      description: Loaded and available kernel modules, and the texts that decide about loading.
      type: dict
    vfio:
      description: What a binding has to respect.
      type: dict
      contains:
        critical:
          description: PCI address to the reasons for which the host needs the device (file systems, swap, network).
          type: dict
          sample: {"0000:01:00.0": ["holds /"]}
        in_use:
          description: PCI address to processes and kernel users, for NVIDIA functions and the members of their groups.
          type: dict
          sample: {"0000:65:00.0": ["process 812 (Xorg) has /dev/dri/card0"]}
        looked_up:
          description: The addresses for which RV(facts.vfio.in_use) was read.
          type: list
          elements: str
        silent:
          description: Those of RV(facts.vfio.looked_up) that do not answer on the bus. One that sleeps without power is not asked.
          type: list
          elements: str
        d3cold:
          description:
            - Those of RV(facts.vfio.looked_up) whose power the kernel may switch off, with the functions, itself or above it, for which the
              firmware has the means.
          type: dict
        idle_d3_disabled:
          description: Whether C(vfio_pci) leaves the power of its devices on.
          type: bool
        driverctl:
          description: PCI address to the driver that driverctl sets at every boot.
          type: dict
        sriov:
          description: PCI address to the number of virtual functions that exist.
          type: dict
        mdev:
          description: PCI address to its mediated devices.
          type: dict
        noiommu:
          description: Groups that vfio made for devices without an IOMMU. They isolate nothing.
          type: list
          elements: str
        vfio_nodes:
          description: Names below C(/dev/vfio).
          type: list
          elements: str
        drivers:
          description: Drivers of the VFIO family, registered or loadable, and the devices that variants are for.
          type: dict
        nvidia_version:
          description: Version of the loaded NVIDIA driver.
          type: str
        mig:
          description: GPUs that are divided into instances (MIG), as the loaded NVIDIA driver numbers them.
          type: list
          elements: str
          sample: [gpu0]
        journal:
          description:
            - What a run of M(katagpu.cluster.vfio_binding) noted and did not finish, and whether it was in this boot. Null where there is none.
          type: dict
        early:
          description:
            - What makes the initramfs of this host and the commands that make those of all kernels anew, the images, and the modules
              that the kernel's arguments or modprobe's configuration keep out.
          type: dict
        persistent_files:
          description: Path to text of the files that M(katagpu.cluster.vfio_binding) manages.
          type: dict
    devices:
      description: Whether device nodes such as C(/dev/kvm) exist, and the names below C(/dev/vfio).
      type: dict
      sample: {"/dev/kvm": true, "/dev/vfio": ["12"]}
    confidential:
      description:
        - Family, model and name of the processor, the parameters of C(kvm_amd) and C(kvm_intel) that say whether confidential virtual
          machines can be started, whether C(/dev/sev) exists, how many encryption keys there are, and whether the kernel can hibernate.
        - Null is what the kernel does not say.
      type: dict
    kubelet:
      description:
        - Path and text of the kubelet's configuration and its drop-ins, with digests, and the texts that set its flags.
        - Of k3s and RKE2 the entries C(kubelet-arg). The process that runs the kubelet, and whether a restart is pending.
      type: dict
    containerd:
      description: Path to text of configurations and drop-ins, for the distributions that keep them elsewhere too.
        Null where a file is too large.
      type: dict
    cdi:
      description: Path to text of the CDI specifications in C(/etc/cdi) and C(/var/run/cdi), null where a file is too large.
      type: dict
    artifacts:
      description: Folder to file names, two levels deep; null where the folder is absent.
      type: dict
    seconds:
      description: How long each reader took.
      type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._host_facts.collect import Request, collect
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.session import ssh_connection


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "artifacts_dirs": {"type": "list", "elements": "path", "default": []},
            "full": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    root = HostRoot(module.params["root"])
    request = Request(
        artifacts_dirs=tuple(module.params["artifacts_dirs"]),
        full=module.params["full"],
        ssh_connection=ssh_connection(os.environ, root),
    )
    try:
        facts = collect(root, request)
    except KatagpuError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, facts=facts)


if __name__ == "__main__":
    main()
