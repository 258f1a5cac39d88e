#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_config
short_description: Merge settings into the configuration of the kubelet
version_added: 1.0.0
description:
  - Makes sure that the kubelet of a host has some settings at its next start, and keeps all others.
  - A file with the same key twice is refused with its lines, for nobody knows which of them the kubelet takes.
  - Lines are changed or added where the file is plain block YAML; comments, order and all other bytes stay. Otherwise the
    whole file is written anew and its comments are lost; RV(method) says so. A copy of the old file is kept beside it.
  - With C(--config-dir) a file of this collection is written there, and nothing else is touched. So it is with k3s and RKE2,
    in C(config.yaml.d).
  - A value that means the same is no change, such as V(20m) and V(1200s). A longer C(runtimeRequestTimeout) is kept.
  - A flag, or a file with the last word, that says something else is refused and named.
  - The write is refused if the file is no longer what was read.
  - The kubelet is never restarted.
notes:
  - Recognised are kubeadm, other installations with a configuration file, k3s and RKE2. k0s and MicroK8s are named and refused.
  - A feature gate stays after the kubelet has outgrown it, and a kubelet that no longer knows a gate does not start. Remove such gates before
    you upgrade past the version that drops them.
options:
  config:
    description:
      - Keys and values of a KubeletConfiguration, nested as there.
      - For k3s and RKE2 only C(featureGates) and C(runtimeRequestTimeout) are known.
    type: dict
    required: true
  target:
    description:
      - V(host) is the configuration on the host.
      - V(kubeadm) is the ConfigMap C(kube-system/kubelet-config), from which kubeadm writes the file of every node that joins
        or is upgraded. Without that ConfigMap nothing is done. Only the API is used.
    type: str
    choices: [host, kubeadm]
    default: host
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.kubernetes_auth
  - katagpu.cluster.root
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: katagpu.cluster.kubelet_file
author:
  - katagpu contributors (@katagpu)
"""

EXAMPLES = r"""
---
- name: Give large images time, and let the runtime ask for the devices of a pod
  katagpu.cluster.kubelet_config:
    config:
      runtimeRequestTimeout: 20m
      featureGates:
        KubeletPodResourcesGet: true
  become: true
  register: kubelet

- name: The same where kubeadm keeps it
  katagpu.cluster.kubelet_config:
    target: kubeadm
    config:
      runtimeRequestTimeout: 20m
      featureGates:
        KubeletPodResourcesGet: true
  delegate_to: localhost
  become: false
"""

RETURN = r"""
distribution:
  description: What configures the kubelet, V(kubeadm), V(kubelet), V(k3s) or V(rke2). V(none) for O(target=kubeadm) without its ConfigMap.
  returned: success
  type: str
  sample: kubeadm
kubeadm:
  description: Whether kubeadm would write the file anew at the next upgrade, from its ConfigMap.
  returned: success
  type: bool
path:
  description: The file that has, or gets, the settings.
  returned: success
  type: str
  sample: /var/lib/kubelet/config.yaml
before:
  description: SHA-256 digest of the file as it was read, null where there was none.
  returned: success
  type: str
after:
  description: SHA-256 digest of the file after the change.
  returned: success
  type: str
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: dict
  contains:
    key:
      description: The setting, with dots.
      type: str
      returned: success
      sample: featureGates.KubeletPodResourcesGet
    before:
      description: The value before, null where there was none.
      type: raw
      returned: success
    after:
      description: The value after.
      type: raw
      returned: success
method:
  description: How the text was changed. V(lines), V(rewrite) of the whole file, V(own_file) of this collection, or V(unchanged).
  returned: success
  type: str
  sample: lines
restart_required:
  description: Whether the kubelet runs and has not read this configuration.
  returned: success
  type: bool
unit:
  description: The systemd unit that runs the kubelet, empty where it is not known.
  returned: success
  type: str
  sample: kubelet.service
backup_file:
  description: Where the old file was copied to, empty without a copy.
  returned: success
  type: str
"""

# The code is in the action plugin of the same name, because it runs on the controller.
