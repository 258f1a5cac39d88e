#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Print and write the report of a run
version_added: 1.0.0
description:
  - Prints a summary that says first what is to do, writes C(report.json) and C(report.txt), and only then fails if asked to.
  - In check mode the summary is printed and nothing is written.
options:
  title:
    description: What the report is about.
    type: str
    default: Report
  path:
    description: Folder on the controller for the files. Nothing means no files.
    type: path
  findings:
    description: Findings that belong to no host.
    type: list
    elements: dict
    default: []
  checks:
    description: Checks that belong to no host.
    type: list
    elements: dict
    default: []
  hosts:
    description:
      - The values RV(katagpu.cluster.host_info#module:record) of the hosts. Empty ones are left out.
      - For a host that failed, C(node), C(failed) and C(error).
      - C(reboot_reasons) is shown where a reboot is needed, or was planned in check mode (C(reboot_planned)).
    type: list
    elements: dict
    default: []
  eligible:
    description: What the filter P(katagpu.cluster.eligible_nodes#filter) returned.
    type: dict
    default: {}
  workloads:
    description: Results of sample workloads, each with C(node), C(name), C(runtime_class), C(resource), C(result) and C(log).
    type: list
    elements: dict
    default: []
  stack:
    description: The release.
    type: dict
    default: {}
  stand_ins:
    description: What is not the real thing in this environment; shown as such.
    type: str
    default: ""
  changed_hosts:
    description: Hosts that were changed.
    type: list
    elements: str
    default: []
  names:
    description:
      - The hosts of the inventory by their group, C(kata) and C(container), so that none is missing in the report.
      - A host whose Node object has another name is shown by that name. Hosts outside of C(--limit) are not shown.
    type: dict
    default: {}
  errors:
    description: What ended a part of the run. Each is shown first, and makes the run failed.
    type: list
    elements: str
    default: []
  reboot_ok:
    description: Whether reboots are consented to. A reboot that is to come is then announced, otherwise it is something to do.
    type: bool
    default: false
  started:
    description: When the run began, as ISO 8601 or in seconds since the epoch.
    type: str
  quiet:
    description: Whether nothing is printed.
    type: bool
    default: false
  fail:
    description:
      - Whether the task fails after the report when there are errors, hosts that failed or were not read, open blocks, failed checks,
        failed workloads or pending reboots.
    type: bool
    default: false
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
- name: Report
  katagpu.cluster.report:
    title: Preflight
    path: katagpu-report
    findings: []
"""

RETURN = r"""
report:
  description: The report as written to C(report.json).
  returned: success
  type: dict
text:
  description: The report as printed.
  returned: success
  type: str
counts:
  description: How many of everything there are.
  returned: always
  type: dict
paths:
  description: Files that were written.
  returned: always
  type: list
  elements: str
blocked:
  description: Whether there is an open block.
  returned: success
  type: bool
failed_checks:
  description: How many checks failed.
  returned: success
  type: int
"""

# The code is in the action plugin of the same name, because it runs on the controller.
