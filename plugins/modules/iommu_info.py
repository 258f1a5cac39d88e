#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: iommu_info
short_description: Whether the IOMMU is really on, and if not, what keeps it off
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Looks at the CPU, the firmware's tables, the kernel's arguments and configuration, the IOMMU groups and interrupt remapping.
  - The goal is working groups and not an argument on the command line, so nothing is asked for where groups exist.
  - RV(layers) shows where the chain breaks, RV(reasons) and RV(remedies) what to do about it, RV(notes) what else to know.
  - Reads sysfs and procfs only and runs no command.
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.attributes.info
  - katagpu.cluster.root
seealso:
  - module: katagpu.cluster.kernel_cmdline
"""

EXAMPLES = r"""
---
- name: Ask whether the IOMMU is on
  katagpu.cluster.iommu_info:
  register: iommu

- name: Stop where only the firmware setup can help
  ansible.builtin.assert:
    that: iommu.state not in ['off_in_firmware', 'unsupported']
    fail_msg: "{{ iommu.reasons | join(' ') }} {{ iommu.remedies | join(' ') }}"
"""

RETURN = r"""
state:
  description:
    - V(active) if there are IOMMU groups.
    - V(off_in_kernel) if the firmware publishes an IOMMU and the kernel does not use it.
    - V(off_in_firmware) if the firmware publishes none.
    - V(unsupported) if this kernel cannot have one, for example in a virtual machine without a virtual IOMMU, or under Xen.
  returned: success
  type: str
  sample: off_in_kernel
causes:
  description: Ids of the failure catalogue, one for each of RV(reasons).
  returned: success
  type: list
  elements: str
  sample: [A04]
reasons:
  description: What was found, as sentences.
  returned: success
  type: list
  elements: str
  sample: [The last value of intel_iommu on the kernel command line is off.]
remedies:
  description: What to do, as sentences.
  returned: success
  type: list
  elements: str
  sample: [Add intel_iommu=on at the end of the kernel command line., Reboot.]
cpu_vendor:
  description: V(intel), V(amd), V(arm), or what the CPU calls itself.
  returned: success
  type: str
  sample: intel
firmware_tables:
  description: The ACPI tables that describe an IOMMU.
  returned: success
  type: list
  elements: str
  sample: [DMAR]
units:
  description: The IOMMU units that the kernel uses, with their registers as sysfs shows them.
  returned: success
  type: list
  elements: dict
  sample: [{name: dmar0, cap: d2008c40660462, ecap: f050da}]
group_count:
  description: Number of IOMMU groups, those of vfio's mode without an IOMMU left out.
  returned: success
  type: int
  sample: 34
interrupt_remapping:
  description: Whether interrupts are remapped; nothing where it cannot be told.
  returned: success
  type: bool
  sample: true
kernel_arguments:
  description: The arguments of the running kernel.
  returned: success
  type: str
  sample: root=/dev/vda1 ro quiet intel_iommu=off
virtualization:
  description: What the machine calls itself if it is a virtual machine, otherwise empty.
  returned: success
  type: str
  sample: ''
wanted_arguments:
  description: Kernel arguments to add so that the IOMMU is on.
  returned: success
  type: list
  elements: str
  sample: [intel_iommu=on]
contradicting_arguments:
  description: Kernel arguments that must go, because no later argument overrides them.
  returned: success
  type: list
  elements: str
  sample: []
blamed_arguments:
  description: Kernel arguments that keep the IOMMU or interrupt remapping off, also those that only need a later word.
  returned: success
  type: list
  elements: str
  sample: [intel_iommu=off]
default_domain:
  description:
    - V(passthrough) or V(translated), as most groups have it, or as the kernel arguments say it where there are no groups.
    - Empty where neither says anything.
  returned: success
  type: str
  sample: translated
lockdown:
  description: How far the kernel is locked down, such as V(integrity); V(none) or empty if it is not.
  returned: success
  type: str
  sample: none
layers:
  description: What each layer says, from the processor up.
  returned: success
  type: list
  elements: dict
  contains:
    layer:
      description: V(processor), V(machine), V(firmware), V(kernel), V(arguments), V(units), V(groups), V(interrupts), V(domain) or V(lockdown).
      type: str
    ok:
      description: Whether it is as it should be; nothing where that cannot be told or does not matter.
      type: bool
    fact:
      description: What it says.
      type: str
  sample:
    - {layer: firmware, ok: true, fact: DMAR with 4 units}
    - {layer: arguments, ok: false, fact: intel_iommu=off}
notes:
  description: What somebody who hands devices over should know besides; none of it keeps the IOMMU off.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the failure catalogue where it has one.
      type: str
    fact:
      description: What was found.
      type: str
    consequence:
      description: What follows from it.
      type: str
    remedy:
      description: What to do.
      type: str
  sample: []
reboot_would_help:
  description: Whether a reboot with RV(wanted_arguments) and without RV(contradicting_arguments) is expected to help.
  returned: success
  type: bool
  sample: true
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.diagnose import diagnose
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.facts import read_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot


def main() -> NoReturn:
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    module.exit_json(changed=False, **diagnose(read_facts(HostRoot(module.params["root"]))))
    raise AssertionError("exit_json returned")


if __name__ == "__main__":
    main()
