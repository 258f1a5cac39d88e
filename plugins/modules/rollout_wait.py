#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_wait
short_description: Wait for many Kubernetes objects at once, and say why when they do not get ready
version_added: 1.0.0
description:
  - Watches all given objects at the same time and returns as soon as every one of them is ready.
  - Ready means what the operators of the GPU stack really guarantee. A DaemonSet that no node matches is not ready,
    a ClusterPolicy is ready only with the reason C(Reconciled), a CcRuntime only with all nodes completed and its
    finalizer.
  - When the time is over, the error says for every object what is missing, with conditions, events and container
    states.
  - Prints on the controller what it waits for, every change of an object and, at least every 30 seconds, what is missing.
    Where everything is ready already it prints nothing.
  - Runs on the controller, whatever the host of the task is.
options:
  objects:
    description: What to wait for. Kinds and objects that do not exist yet are waited for.
    type: list
    elements: dict
    required: true
    suboptions:
      api_version:
        description: API version of the object.
        type: str
        required: true
      kind:
        description: Kind of the object.
        type: str
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Namespace, for objects that live in one.
        type: str
      until:
        description:
          - What is wanted beyond the kind's own readiness.
          - For every kind C(absent), C(labels) (a V(null) value means absent) and C(conditions) (type to status).
          - For a Node C(ready), C(boot_id), C(not_boot_id), C(heartbeat_after), C(allocatable), C(allocatable_gpus) and
            C(container_runtime).
          - For a DaemonSet C(nodes) (names of the nodes it must run on) or C(min_ready). For a CcRuntime
            C(completed) and C(finalizer). For a Pod C(phase).
        type: dict
        default: {}
  timeout:
    description: Seconds until the wait is given up.
    type: int
    default: 600
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.kubernetes_auth
attributes:
  check_mode:
    support: full
    details:
      - Returns at once, because nothing was changed that could be waited for.
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
- name: Wait until the operator has installed the runtime on both nodes
  katagpu.cluster.rollout_wait:
    timeout: 1200
    objects:
      - api_version: confidentialcontainers.org/v1beta1
        kind: CcRuntime
        name: ccruntime-sample
        until:
          completed: 2
      - api_version: node.k8s.io/v1
        kind: RuntimeClass
        name: kata-qemu
  delegate_to: localhost

- name: Wait until the node is back with its new boot
  katagpu.cluster.rollout_wait:
    objects:
      - api_version: v1
        kind: Node
        name: node-b
        until:
          boot_id: 4d9e3f0e-5b8a-4c53-b9be-0d2f0b1a6c11
  delegate_to: localhost
"""

RETURN = r"""
waited:
  description: What was waited for, how long each took and why it counts as ready.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: RuntimeClass
      name: kata-qemu
      namespace:
      seconds: 12.4
      state: exists
unsatisfied:
  description: What was not ready when the time was over, with the reasons.
  returned: failure
  type: list
  elements: dict
seconds:
  description: How long the whole wait took.
  returned: always
  type: float
  sample: 12.4
requests:
  description: How many requests were sent to the API.
  returned: always
  type: int
skipped_wait:
  description: Whether nothing was waited for because of check mode.
  returned: always
  type: bool
"""

# The code is in the action plugin of the same name, because it runs on the controller and prints while it waits.
