#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bios_settings
short_description: Read and set what a host's BIOS needs, through Redfish
version_added: 1.0.0
description:
  - Reads the BIOS attributes of a host and what waits there for a reboot, compares them with what GPU passthrough needs, and says
    what is to be set, by the names of the host's vendor.
  - With O(state=applied) it hands the settings to the BMC, where they wait for the next reboot. It never restarts a host.
  - Nothing is guessed. A name that the BIOS does not have, a value that its attribute registry does not offer, an attribute that is
    read-only or depends on another, and settings of somebody else that wait already are findings, and are left alone.
  - Uses M(community.general.redfish_info), M(community.general.redfish_config) and, for what waits for a reboot, M(ansible.builtin.uri).
options:
  state:
    description:
      - V(reported) only reports what is set, as warnings.
      - V(planned) is V(applied) without writing, for a look before the run.
      - V(applied) hands the settings to the BMC.
    type: str
    choices: [reported, planned, applied]
    default: reported
  bmc:
    description: Address of the BMC, with a port where it is not 443. HTTPS is always used.
    type: str
  username:
    description: Account on the BMC.
    type: str
  password:
    description: Password of the account.
    type: str
  validate_certs:
    description: Whether the certificate of the BMC is verified. Without it, whoever answers at the address gets the password.
    type: bool
    default: true
  ca_path:
    description: File with the certificate of the CA that signed that of the BMC.
    type: path
  timeout:
    description: Seconds that one request may take.
    type: int
    default: 60
  system:
    description: Id of the host among the systems of the BMC. Needed only where it has several.
    type: str
  profile:
    description:
      - Vendor whose attribute names are used, V(dell), V(hpe), V(supermicro), V(lenovo) or V(asrockrack).
      - V(auto), the default, takes it from the manufacturer that the BMC tells.
    type: str
  features:
    description:
      - What is wanted, V(virtualization), V(iommu), V(acs), V(aer), V(sriov), V(above_4g), V(resizable_bar), V(csm_off), V(snp) and V(tdx).
      - Nothing means V(virtualization), V(iommu), V(acs) and V(above_4g), as far as the vendor has them.
    type: list
    elements: str
  attributes:
    description: Further attributes with their values, by the exact names of this BIOS. They go before those of O(features).
    type: dict
    default: {}
  uefi:
    description: Whether the host was booted by UEFI. V(csm_off) is set only where it is known that it was.
    type: bool
  rebooted:
    description: Whether the host was rebooted since the settings were handed over, so that what still waits is a failure.
    type: bool
    default: false
  node:
    description: Name of the host in findings. Nothing means the inventory name.
    type: str
extends_documentation_fragment:
  - katagpu.cluster.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - What already waits for the reboot is not handed over again.
author:
  - katagpu contributors (@katagpu)
"""

EXAMPLES = r"""
- name: What does the BIOS of this host say
  katagpu.cluster.bios_settings:
    bmc: gpu-01-bmc.example.com
    username: operator
    password: "{{ vault_bmc_password }}"
    ca_path: /etc/ssl/bmc-ca.pem
  delegate_to: localhost
  vars:
    ansible_connection: local
    ansible_become: false
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  register: bios
"""

RETURN = r"""
system:
  description: Id, manufacturer, model and BIOS version as the BMC tells them. Empty where it cannot be read.
  returned: success
  type: dict
  sample:
    id: System.Embedded.1
    manufacturer: Dell Inc.
    model: PowerEdge R750
    bios_version: 1.8.2
profile:
  description: The profile that was used, empty where the vendor is not known.
  returned: success
  type: str
settings:
  description:
    - Each setting that is wanted, with C(feature), C(title), C(attribute), C(value), C(wanted), what waits (C(waits)), C(reason) and C(source).
    - Its C(state) is C(set), C(pending) (waits for a reboot), C(differs) (can be set), C(locked) (read-only or depends on another),
      C(refused), C(unknown) (this BIOS does not have it), C(no_name) (the profile has no attribute for it) or C(foreign) (somebody
        else's value waits).
  returned: success
  type: list
  elements: dict
plan:
  description: Attributes and values that are still to be handed over, without O(state=reported).
  returned: success
  type: dict
pending:
  description: What waits in the BMC for a reboot and differs from what is in force.
  returned: success
  type: dict
fixes:
  description: Features that do not hold now and will after the reboot.
  returned: success
  type: list
  elements: str
reboot_reasons:
  description: Why the host needs a reboot, empty where it does not.
  returned: success
  type: list
  elements: str
findings:
  description: What was found, each with id, severity, state, node, fact, consequence, fix, evidence and message.
  returned: success
  type: list
  elements: dict
summary:
  description: Whether there is an open block, and the texts of open blocks.
  returned: success
  type: dict
"""

# The code is in the action plugin of the same name, because it runs on the controller.
