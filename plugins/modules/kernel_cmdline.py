#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: kernel_cmdline
short_description: Kernel arguments as tokens, for the boot loader that the host really uses
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Makes sure that the next boot has some kernel arguments and does not have others, with each installed kernel and with those
    that are installed later.
  - With GRUB of Debian and Ubuntu, arguments are added in a file of this collection, C(/etc/default/grub.d/99-katagpu.cfg), and
    nowhere else. The file goes away with its last argument. GRUB of SUSE reads no such file, so there they are added to
    C(/etc/default/grub). The configuration is generated anew only if something changed or if what was generated before does not
    have the arguments.
  - With loader entries, read by GRUB (RHEL and what is built from it, Fedora) or by systemd-boot, the options of each normal entry
    are edited, and what entries of future kernels are made from - C(/etc/kernel/cmdline), with GRUB also C(/etc/default/grub),
    and on RHEL 8 the variable C(kernelopts) in the environment block of GRUB. Where there is no C(/etc/kernel/cmdline), it is made
    from the entry that boots next, because a kernel that is installed before the reboot would otherwise lack the arguments.
  - The files are written by this module and not by grubby, which takes quoted values apart, drops all C(console) arguments where
    one is added and cannot tell beforehand what it would do. Each file is replaced at once, the entry that boots next as the last.
  - With rpm-ostree, one C(rpm-ostree kargs) makes a deployment with the arguments of the one that boots next, changed as asked.
  - Arguments in O(absent) are cut out where they stand. All other bytes of a file stay. A backup is kept beside it, of files below
    C(/boot) and C(/efi) the first one below C(/var/lib/katagpu/backup).
  - Afterwards every normal boot entry is read again; the module fails if one is not as wanted.
  - An argument is present if it has the last word, or for arguments such as C(console) if it occurs at all.
    A dash and an underscore in a name are the same, as for the kernel.
  - The module never reboots.
notes:
  - Named and refused, with what to do there, are unified kernel images, sdbootutil, transactional-update, bootc, proxmox-boot-tool,
    kernelstub, zipl, extlinux, the Raspberry Pi firmware, Talos, Flatcar, Bottlerocket, NixOS, Harvester, Ubuntu Core and hosts of the
    Machine Config Operator, unless the running kernel already is as wanted.
  - Recovery and rescue entries, and entries for other systems, are not edited and not checked.
  - A disk whose key is sealed to measurements of the kernel's arguments (TPM registers 8, 9 or 12) asks for its passphrase after a change.
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.root
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  present:
    description:
      - Tokens that the kernel has to get, for example V(intel_iommu=on).
      - A value with spaces is written in double quotes, as in V(dyndbg="file drivers/vfio/* +p").
    type: list
    elements: str
    default: []
  absent:
    description:
      - Tokens that the kernel must not get. A bare name such as V(iommu) stands for the argument with any value.
    type: list
    elements: str
    default: []
  bootloader:
    description:
      - The boot loader to configure. The module fails if the host has another one.
      - V(grub) is GRUB with a generated menu, V(grubby) GRUB that reads loader entries, V(systemd_boot) systemd-boot with entries of
        kernel-install or written by hand, V(rpm_ostree) a host that rpm-ostree updates.
    type: str
    choices: [auto, grub, grubby, systemd_boot, rpm_ostree]
    default: auto
seealso:
  - module: katagpu.cluster.iommu_info
"""

EXAMPLES = r"""
---
- name: Turn the IOMMU on and keep nouveau out, also in the initramfs
  katagpu.cluster.kernel_cmdline:
    present:
      - intel_iommu=on
      - modprobe.blacklist=nouveau
    absent:
      - iommu=off

- name: Show what would be written to a mounted image
  katagpu.cluster.kernel_cmdline:
    present: [intel_iommu=on]
    root: /mnt/image
  check_mode: true
  diff: true
"""

RETURN = r"""
bootloader:
  description: The boot loader that was found.
  returned: success
  type: str
  sample: grub
configured:
  description: The arguments that a normal boot entry gets from the configuration, after the change; of loader entries the one that boots next.
  returned: success
  type: str
  sample: quiet intel_iommu=on
running:
  description: The arguments of the running kernel.
  returned: success
  type: str
  sample: BOOT_IMAGE=/boot/vmlinuz-6.12.0-1-amd64 root=/dev/vda1 ro quiet
entries:
  description: The kernels that can be started, read after the change; with loader entries those first that the boot loader prefers.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The generated file, or the loader entry.
      type: str
      returned: success
    title:
      description: Title of the menu entry.
      type: str
      returned: success
    kernel:
      description: The kernel image.
      type: str
      returned: success
    release:
      description: The kernel's version, where the entry tells it.
      type: str
      returned: success
    arguments:
      description: The kernel arguments of the entry.
      type: str
      returned: success
    recovery:
      description: Whether it is a recovery entry.
      type: bool
      returned: success
    managed:
      description: Whether it is a normal entry of this system, which is edited and checked.
      type: bool
      returned: success
    missing:
      description: Tokens of O(present) that the entry lacks.
      type: list
      elements: str
      returned: success
    unwanted:
      description: Items of O(absent) that the entry carries.
      type: list
      elements: str
      returned: success
reboot_required:
  description: Whether the running kernel lacks a token of O(present) or carries one of O(absent).
  returned: success
  type: bool
  sample: true
commands:
  description:
    - The commands that were run to generate the boot loader's configuration or to make a deployment. None are needed for loader entries.
    - What makes C(grub.cfg) anew is run with an option C(-o) beside the old file, which the new one then replaces in one step.
    - In check mode, and where O(root) is not V(/), those that would have to be run.
  returned: success
  type: list
  elements: list
  sample: [[update-grub]]
files:
  description: The files that were changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/default/grub.d/99-katagpu.cfg]
uncertain:
  description:
    - Statements in the boot loader's sources that only a shell can evaluate, so that only the generated file tells.
    - Deployments that are pending and unified kernel images that are not edited.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import module


def main() -> NoReturn:
    module.run_module(
        AnsibleModule(
            argument_spec={
                "present": {"type": "list", "elements": "str", "default": []},
                "absent": {"type": "list", "elements": "str", "default": []},
                "bootloader": {
                    "type": "str",
                    "choices": ["auto", "grub", "grubby", "systemd_boot", "rpm_ostree"],
                    "default": "auto",
                },
                "root": {"type": "path", "default": "/"},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
