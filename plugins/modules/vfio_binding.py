#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vfio_binding
short_description: Bind PCI devices to VFIO by whole IOMMU groups, without risking the host
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Binds devices to C(vfio-pci) or to the variant driver that the kernel has for them, or gives them back to the host.
  - The IOMMU group is the transaction. Either all of its endpoint functions are dealt with, or nothing is changed.
  - All that speaks against it is found before the first change and reported at once, each with device, group and reason.
    Refused are file systems, swap and network of the host, its only display, foreign members of the group, devices in use
    (O(live=idle)), virtual functions and mediated devices, a missing IOMMU and unknown addresses.
    No option switches these checks off.
  - Bridges stay with the host and do not count as members.
  - By default the binding takes effect at the next boot. The module never reboots.
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
  addresses:
    description: PCI addresses of the devices.
    type: list
    elements: str
    default: []
  ids:
    description:
      - Vendor and device, such as V(10de:2236), or V(10de:) for all of a vendor.
      - Together with O(addresses) they say what those addresses are expected to be. An identical device that O(addresses)
        does not name is then refused.
    type: list
    elements: str
    default: []
  classes:
    description: Class codes or their first digits, such as V(0302). Devices have to match O(ids) too where both are given.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(bound) binds to VFIO.
      - V(restored) removes our part, after which the kernel chooses the driver as it would without us.
    type: str
    choices: [bound, restored]
    default: bound
  driver:
    description:
      - V(auto) is the variant driver that the kernel names for exactly this device, else C(vfio-pci).
      - Otherwise the name of a VFIO driver, or V(pci-stub) for functions that only have to let go.
    type: str
    default: auto
  members:
    description:
      - Which other endpoint functions of the group may be taken along.
      - V(refuse) for none, V(same_slot) for the functions of the same card, or a list of addresses.
      - The host's disks, network and only display are refused in every case.
    type: raw
    default: refuse
  member_driver:
    description:
      - What the functions get that O(members) takes along.
      - V(auto) is the same as for the named ones. V(pci-stub) keeps them from the host without giving them to anybody,
        which is enough for the group to be passed on.
    type: str
    choices: [auto, pci-stub]
    default: auto
  foreign_owner:
    description:
      - Addresses of group members that another party binds, such as the GPU that the GPU Operator's vfio-manager takes.
      - They are looked at, returned in RV(asserted), and never written.
    type: list
    elements: str
    default: []
  live:
    description:
      - V(never) changes files only. What is not bound yet will be at the next boot, see RV(reboot_required).
      - V(idle) binds now, if two scans of all processes two seconds apart find no user and the driver is known to let go.
        Each device is looked at once more right before it is taken from its driver.
      - With another O(root) nothing is bound and RV(live_steps) says what would be.
    type: str
    choices: [never, idle]
    default: never
  persistent:
    description:
      - Whether the binding holds after a boot, by C(/etc/udev/rules.d/10-katagpu-vfio.rules) with one line for each address
        and C(/etc/modules-load.d/katagpu-vfio.conf).
      - From the next boot on C(katagpu-vfio.service) holds kubelet, k3s and rke2 back until udev has made the bindings, for 120 seconds at most.
        It is there as long as one line is.
      - The rules are effective when udev starts, in the initramfs where it has them, and before modules are loaded for the first display.
        Every initramfs that is made from then on has them - with initramfs-tools by its own hook, with dracut by
        C(/etc/dracut.conf.d/katagpu-vfio.conf). Those of all installed kernels are made anew at once where it matters - if another driver
        claims one of the displays and neither a kernel argument nor modprobe's configuration keeps it out, or if lines change or go.
        Where this module does not know how the initramfs is made, it warns.
      - A line applies only to the device that was at this address when it was written.
        Lines of earlier calls for other addresses stay.
    type: bool
    default: true
  timeout_seconds:
    description: How long one write to sysfs may take before the device is reported as wedged.
    type: int
    default: 30
notes:
  - An unbind that a driver blocks in the kernel cannot be ended. The module then stops, touches nothing else and says so,
    and until the next boot it binds nothing in the running system any more.
  - C(/var/lib/katagpu/journal.json) notes each step of O(live=idle) before it is made, with driver and C(driver_override) of before.
    If a run is killed, the next one puts back what it left between two drivers and goes on from there. A boot ends the journal.
seealso:
  - module: katagpu.cluster.pci_info
  - module: katagpu.cluster.iommu_info
"""

EXAMPLES = r"""
---
- name: Bind a card with all its functions at the next boot
  katagpu.cluster.vfio_binding:
    addresses: ["0000:65:00.0"]
    members: same_slot

- name: Bind only the audio function; the GPU Operator binds the GPU
  katagpu.cluster.vfio_binding:
    addresses: ["0000:65:00.1"]
    foreign_owner: ["0000:65:00.0"]
    live: idle

- name: Give the card back to the host
  katagpu.cluster.vfio_binding:
    addresses: ["0000:65:00.0"]
    members: same_slot
    state: restored
"""

RETURN = r"""
groups:
  description: IOMMU group to all of its members, for the groups that are dealt with.
  returned: always
  type: dict
  sample: {"12": ["0000:65:00.0", "0000:65:00.1"]}
bindings:
  description: The devices that are dealt with.
  returned: always
  type: list
  elements: dict
  contains:
    address:
      description: PCI address.
      type: str
    group:
      description: IOMMU group.
      type: str
    before:
      description: Driver before the run, null for none.
      type: str
    after:
      description: Driver that is reached, or will be at the next boot. Null where the kernel will choose.
      type: str
    when:
      description: V(unchanged), V(now) or V(boot).
      type: str
asserted:
  description: The members that O(foreign_owner) names, with their driver and whether it lets the group be passed on.
  returned: always
  type: list
  elements: dict
refusals:
  description: All that speaks against it. Nothing was changed where there is one.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Row of the failure catalogue, or a word.
      type: str
    address:
      description: PCI address.
      type: str
    group:
      description: IOMMU group.
      type: str
    reason:
      description: What was found.
      type: str
    consequence:
      description: What would follow.
      type: str
    fix:
      description: What to do.
      type: str
    evidence:
      description: Where it was read.
      type: str
reboot_required:
  description: Whether a device gets its driver only at the next boot.
  returned: always
  type: bool
live_steps:
  description: The rebindings that were made, or would be in check mode.
  returned: always
  type: list
  elements: dict
recovered:
  description: Addresses that a killed run had left between two drivers, and that were put back first.
  returned: always
  type: list
  elements: str
commands:
  description: What was run, or would be.
  returned: always
  type: list
  elements: list
  sample: [["modprobe", "vfio_pci"], ["udevadm", "control", "--reload"]]
wedged:
  description: Address of the device whose write did not return.
  returned: failure
  type: str
left:
  description: Addresses that could not be put back after a failure.
  returned: failure
  type: list
  elements: str
"""

import os
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.apply import BindingFailed
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.run import Host, Refused, desired_from, run
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.session import ssh_connection
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.writer import SysfsWriter


def _returned(refused: Refused) -> Dict[str, Any]:
    """Of a refused plan nothing is written, so it has no writes to show."""
    return {key: value for key, value in refused.plan.as_dict().items() if key != "writes"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "default": []},
            "ids": {"type": "list", "elements": "str", "default": []},
            "classes": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["bound", "restored"], "default": "bound"},
            "driver": {"type": "str", "default": "auto"},
            "members": {"type": "raw", "default": "refuse"},
            "member_driver": {"type": "str", "choices": ["auto", "pci-stub"], "default": "auto"},
            "foreign_owner": {"type": "list", "elements": "str", "default": []},
            "live": {"type": "str", "choices": ["never", "idle"], "default": "never"},
            "persistent": {"type": "bool", "default": True},
            "timeout_seconds": {"type": "int", "default": 30},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )

    def execute(command: List[str]) -> None:
        program = module.get_bin_path(command[0], required=True)
        code, _output, error = module.run_command(
            [program, *command[1:]], environ_update={"LANGUAGE": "C", "LC_ALL": "C"}
        )
        if code != 0:
            raise KatagpuError(f"{' '.join(command)} failed with status {code}: {error.strip()}. Nothing was changed.")

    root = HostRoot(module.params["root"])
    writer = SysfsWriter(root, float(module.params["timeout_seconds"]))
    host = Host(root, writer, execute, ssh_connection(os.environ, root))
    try:
        result = run(host, desired_from(module.params), module.check_mode)
    except Refused as refused:
        module.fail_json(msg=str(refused), **_returned(refused))
    except BindingFailed as failed:
        module.fail_json(msg=str(failed), wedged=failed.wedged, left=failed.left)
    except KatagpuError as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    if not module._diff:
        result.pop("diff")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
