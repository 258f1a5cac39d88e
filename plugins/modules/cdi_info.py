#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cdi_info
short_description: CDI specifications of a host, checked against its bindings
version_added: 1.0.0
description:
  - Reads the CDI specifications in C(/etc/cdi) and C(/var/run/cdi) and compares them with the GPUs on VFIO and with C(/dev/vfio).
options:
  kind:
    description: Kind of the specification that describes passthrough GPUs.
    type: str
    default: nvidia.com/pgpu
  drivers:
    description: Drivers on which a GPU counts as passed through.
    type: list
    elements: str
    default: [vfio-pci]
  required:
    description: Whether a missing specification is a problem.
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
- name: Do the CDI specifications agree with the bindings
  katagpu.cluster.cdi_info:
  become: true
  register: cdi
"""

RETURN = r"""
specs:
  description: The specifications with path, kind, version and devices; C(error) where one cannot be read.
  returned: success
  type: list
  elements: dict
vfio_nodes:
  description: Names below C(/dev/vfio).
  returned: success
  type: list
  elements: str
consistent:
  description: Whether there is no problem.
  returned: success
  type: bool
findings:
  description: What was found, each with id, severity, state, node, device, fact, consequence, fix, evidence and message.
  returned: always
  type: list
  elements: dict
"""

# The code is in the action plugin of the same name, because it runs on the controller.
