#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pci_info
short_description: List PCI devices as the kernel or an lspci capture shows them
version_added: 1.0.0
description:
  - Returns the PCI functions of a host with their IDs, names, drivers and IOMMU groups.
  - Reads sysfs without starting a process, or a text that C(lspci) printed in any of its styles.
  - Says which port merges an IOMMU group, and what would separate it.
author:
  - katagpu contributors (@katagpu)
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.attributes.info
  - katagpu.cluster.root
options:
  source:
    description:
      - Where the devices are read from.
      - With V(auto) it is O(lspci_output) where that is given, else sysfs.
      - With V(lspci) and without O(lspci_output) the module runs C(lspci) on the host.
    type: str
    choices: [auto, sysfs, lspci]
    default: auto
  lspci_output:
    description:
      - Text of C(lspci), parsed instead of the host's devices.
      - Any of its styles is understood, such as C(-n), C(-nn), C(-nnk), C(-vv), C(-mm), C(-vmm) and C(-D), also where
        leading blanks were lost or added.
    type: str
  addresses:
    description: Only these addresses, such as V(0000:65:00.0). Without a domain V(0000) is meant.
    type: list
    elements: str
    default: []
  vendors:
    description: Only these vendor IDs, such as V(10de).
    type: list
    elements: str
    default: []
  ids:
    description: Only these vendor and device IDs, such as V(10de:2236), or V(10de:) for every device of a vendor.
    type: list
    elements: str
    default: []
  classes:
    description:
      - Only these classes, of two, four or six hexadecimal digits; a shorter one is a prefix.
      - V(03) is every display controller, V(0302) a 3D controller.
    type: list
    elements: str
    default: []
  drivers:
    description: Only devices bound to one of these drivers; V(none) stands for devices that have none.
    type: list
    elements: str
    default: []
  pci_ids:
    description:
      - Path of the names database below O(root).
      - The default is the first of V(/usr/share/misc/pci.ids) and V(/usr/share/hwdata/pci.ids) that exists.
      - Without a database, names that the source does not give are V(null).
    type: path
notes:
  - The values of one filter are alternatives; several filters must all fit.
  - Facts that only sysfs has are V(null) when a capture is read. Of a capture by root the lines of C(-vv) and the bytes of C(-x) to C(-xxxx)
    say what configuration space says; where a capture has both, the bytes count.
  - Of configuration space only the few registers are read that the result shows. It is not read of a device without power (D3cold),
    which that would switch on, nor of memory controllers, host bridges and system peripherals.
  - Without privileges the kernel gives only the first 64 bytes of it, so what lies behind them is V(null).
seealso:
  - module: katagpu.cluster.iommu_info
  - module: katagpu.cluster.vfio_binding
"""

EXAMPLES = r"""
- name: List NVIDIA devices
  katagpu.cluster.pci_info:
    vendors: ["10de"]
  register: nvidia

- name: Show what shares an IOMMU group with them
  ansible.builtin.debug:
    var: nvidia.iommu_groups

- name: List GPUs that are bound to vfio-pci
  katagpu.cluster.pci_info:
    vendors: ["10de"]
    classes: ["0300", "0302"]
    drivers: [vfio-pci]

- name: Say why functions share a group
  ansible.builtin.debug:
    msg: "{{ item.reason }} To separate it: {{ item.remedy }}"
  loop: "{{ nvidia.group_merges }}"

- name: Read a capture that a support case came with
  katagpu.cluster.pci_info:
    lspci_output: "{{ lookup('ansible.builtin.file', 'lspci-nnk.txt') }}"
  delegate_to: localhost
"""

RETURN = r"""
devices:
  description: The chosen PCI functions, in the order of their addresses.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: Domain, bus, device and function.
      type: str
      sample: "0000:65:00.0"
    class_code:
      description: Class, subclass and programming interface, or only the first two where a capture says no more.
      type: str
      sample: "030200"
    class_name:
      description: Name of the class.
      type: str
      sample: 3D controller
    vendor_id:
      description: Vendor ID.
      type: str
      sample: "10de"
    device_id:
      description: Device ID.
      type: str
      sample: "2236"
    subsystem_vendor_id:
      description: Vendor ID of the subsystem.
      type: str
      sample: "10de"
    subsystem_device_id:
      description: Device ID of the subsystem.
      type: str
      sample: "1482"
    vendor_name:
      description: Name of the vendor.
      type: str
      sample: NVIDIA Corporation
    device_name:
      description: Name of the device.
      type: str
      sample: GA102GL [A10]
    revision:
      description: Revision ID.
      type: str
      sample: a1
    driver:
      description: Driver the device is bound to.
      type: str
      sample: vfio-pci
    modules:
      description: Kernel modules that claim the device.
      type: list
      elements: str
      sample: [nvidiafb, nouveau]
    iommu_group:
      description: Name of the IOMMU group.
      type: str
      sample: "12"
    driver_override:
      description: The only driver that may bind the device, where one is set.
      type: str
      sample: vfio-pci
    numa_node:
      description: NUMA node, where the firmware names one.
      type: int
      sample: 1
    boot_vga:
      description: Whether this is the display that the firmware used; V(null) for what is no VGA device.
      type: bool
    consumers:
      description: Functions that the kernel has linked to a display function, such as its audio function.
      type: list
      elements: str
    parent:
      description: Address of the bridge above the device; V(null) on a root bus. A capture shows it with C(-v).
      type: str
      sample: "0000:64:00.0"
    express_type:
      description:
        - Kind of PCI Express function, or V(conventional) for one without that capability.
        - V(null) where configuration space was not read.
      type: str
      choices:
        - conventional
        - downstream_port
        - endpoint
        - event_collector
        - integrated_endpoint
        - legacy_endpoint
        - pci_to_pcie_bridge
        - pcie_to_pci_bridge
        - root_port
        - upstream_port
      sample: endpoint
    multifunction:
      description: Whether the function is one of several of its device; a virtual function is none of them.
      type: bool
    link:
      description: The PCI Express link, as it is and as it can be; V(null) for what has none.
      type: dict
      contains:
        speed:
          description: Transfers now, in GT/s for each lane.
          type: float
          sample: 2.5
        width:
          description: Lanes in use; V(0) if nothing is connected.
          type: int
          sample: 16
        max_speed:
          description: Transfers possible, in GT/s for each lane.
          type: float
          sample: 16.0
        max_width:
          description: Lanes.
          type: int
          sample: 16
    acs:
      description:
        - Access Control Services, those that the function has and those that are on.
        - Only of bridges and of functions of a device with several; V(null) for others and where configuration space was not read.
      type: dict
      sample: {"capability": ["source_validation", "request_redirect"], "control": ["source_validation"]}
    resizable_bars:
      description: Base address registers of which the size can be chosen.
      type: list
      elements: dict
      contains:
        index:
          description: Number of the register.
          type: int
        size:
          description: Size now, in bytes.
          type: int
        supported_sizes:
          description: Sizes that the device can do, in bytes.
          type: list
          elements: int
    reset_methods:
      description:
        - How the kernel can reset the device, what it tries first in front; empty if it cannot.
        - V(null) for bridges and system devices, before Linux 5.15, and in captures.
      type: list
      elements: str
      sample: [flr, bus]
    power_state:
      description: Power state as the kernel has it; V(null) for system devices and before Linux 5.11.
      type: str
      sample: D0
    bars:
      description: Base address registers that are in use, also those that got no address; index 6 is the expansion ROM.
      type: list
      elements: dict
      contains:
        index:
          description: Number of the register; V(null) where a capture does not say it.
          type: int
        type:
          description: Whether it is V(memory) or V(io) space.
          type: str
        address:
          description: Start address.
          type: str
          sample: "0xc0000000"
        size:
          description: Size in bytes.
          type: int
        bits:
          description: Width of the address.
          type: int
        prefetchable:
          description: Whether reads have no side effects.
          type: bool
        assigned:
          description: Whether the firmware or the kernel found room for it.
          type: bool
    sriov:
      description: Virtual functions; V(null) where the device neither has nor is one.
      type: dict
      contains:
        total_vfs:
          description: How many virtual functions the device can have.
          type: int
        num_vfs:
          description: How many it has.
          type: int
        physical_function:
          description: Address of the physical function, where this is a virtual one.
          type: str
iommu_groups:
  description: IOMMU groups of the chosen devices with the addresses of B(all) their members.
  returned: success
  type: dict
  sample: {"12": ["0000:65:00.0"]}
group_merges:
  description:
    - Of each group in RV(iommu_groups) with several members, what brings them together; ports near the root first.
    - If a group has several entries, all of them have to be dealt with to separate it.
  returned: success
  type: list
  elements: dict
  contains:
    group:
      description: Name of the IOMMU group.
      type: str
    address:
      description: The port or bridge, or the first function of a device whose functions do not isolate each other.
      type: str
    type:
      description: As RV(devices[].express_type), empty for functions of one device that are no ports.
      type: str
    cause:
      description:
        - V(switched_off) if the port has Access Control Services that are off, V(no_capability) if it has none.
        - V(shared_requester_id) for a bridge to conventional PCI, V(one_slot) for functions of one device.
        - V(unread) if its configuration space was not read, V(not_explained) if the kernel must have another reason.
      type: str
    missing:
      description: Services that a kernel asks for and that are off or absent.
      type: list
      elements: str
    members:
      description: Members of the group that it brings together.
      type: list
      elements: str
    reason:
      description: The cause as a sentence.
      type: str
    remedy:
      description: What to do, as a sentence.
      type: str
  sample:
    - group: "12"
      address: "0000:64:00.0"
      type: root_port
      cause: switched_off
      missing: [source_validation]
      members: ["0000:64:00.0", "0000:65:00.0", "0000:65:00.1"]
      reason: "The root port 0000:64:00.0 merges the group: of its Access Control Services source validation is off."
      remedy: switch ACS on for 0000:64:00.0 in the firmware.
unparsed:
  description: Lines of the capture that were not understood.
  returned: success
  type: list
  elements: str
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.facts import facts_of_capture, read_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.select import Selection
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot


def argument_spec() -> Dict[str, Any]:
    strings = {"type": "list", "elements": "str", "default": []}
    return {
        "source": {"type": "str", "choices": ["auto", "sysfs", "lspci"], "default": "auto"},
        "lspci_output": {"type": "str"},
        "addresses": strings,
        "vendors": strings,
        "ids": strings,
        "classes": strings,
        "drivers": strings,
        "pci_ids": {"type": "path"},
        "root": {"type": "path", "default": "/"},
    }


def run_lspci(module: AnsibleModule, root: HostRoot) -> str:
    if not root.is_live:
        raise KatagpuError(
            f"source: with the root {root.root} nothing is executed. Nothing was read. "
            "Fix: pass the text as lspci_output, or use source=sysfs."
        )
    program = module.get_bin_path("lspci", opt_dirs=["/sbin", "/usr/sbin"])
    if program is None:
        raise KatagpuError(
            "source: lspci is not installed on this host. Nothing was read. "
            "Fix: install the package pciutils, pass a text as lspci_output, or use source=sysfs."
        )
    command = [program, "-Dvmmnnk"]
    status, output, errors = module.run_command(command, environ_update={"LANGUAGE": "C", "LC_ALL": "C"})
    if status != 0:
        raise KatagpuError(f"source: {' '.join(command)} ended with status {status}: {errors.strip()}")
    return str(output)


def read(module: AnsibleModule) -> Dict[str, Any]:
    options = module.params
    root, selection = HostRoot(options["root"]), Selection.from_options(options)
    text = options["lspci_output"]
    if options["source"] == "sysfs" and text is not None:
        raise KatagpuError(
            "source: lspci_output is not read with source=sysfs. Nothing was read. Fix: leave one of the two out."
        )
    if options["source"] == "lspci" and text is None:
        text = run_lspci(module, root)
    if text is None:
        return read_facts(root, options["pci_ids"], selection)
    return facts_of_capture(root, text, options["pci_ids"], selection)


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        facts = read(module)
    except KatagpuError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
