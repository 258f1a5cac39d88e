#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Read the Kubernetes API once and say whether the stack fits
version_added: 1.0.0
description:
  - Reads nodes, RuntimeClasses, operator objects, Helm releases, permissions and versions, and judges them.
  - Compares manifests and Helm releases with the cluster, object by object.
  - Runs on the controller. An API that does not answer is a finding, not a failure.
options:
  release:
    description:
      - Name of the stack release, or what the filter P(katagpu.cluster.release_data#filter) returned.
      - Nothing means the default release.
    type: raw
  releases:
    description: Changes of releases, or releases of your own, by name.
    type: dict
    default: {}
  accepted:
    description: Findings that are accepted, each with C(id) and C(reason). Only findings that allow it are.
    type: list
    elements: dict
    default: []
  nodes:
    description:
      - The nodes of the inventory by name, each with C(role) (V(kata) or V(container)) and what is known of the host,
        C(addresses), C(boot_id), C(machine_id) and C(gpu_count), and whether it may be drained, C(maintenance_ok). Kata nodes that
        are not for the plain class have C(confidential), their variant (V(snp) or V(tdx)).
    type: dict
    default: {}
  namespaces:
    description: Further namespaces in which DaemonSets, Deployments and Helm releases are read.
    type: list
    elements: str
  objects:
    description: Manifests to compare with the cluster.
    type: list
    elements: dict
    default: []
  helm:
    description: Helm releases to compare, each with C(name), C(namespace), C(chart_version) and C(values).
    type: list
    elements: dict
    default: []
  permissions:
    description: Whether the permissions of the credentials are read.
    type: bool
    default: true
  access:
    description:
      - What the run is to do with the cluster, and so what the credentials have to be allowed.
      - V(deploy) is everything. V(verify) is to read, and the sample workload in O(workload_namespace).
      - V(read) asks for everything too, but credentials that may read all that is needed and change nothing are enough for it.
    type: str
    choices:
      - read
      - verify
      - deploy
    default: deploy
  workload_namespace:
    description: Namespace of the sample workload. Nothing means that none is run.
    type: str
  default_workload:
    description: The workload of nodes that have no workload label.
    type: str
    choices:
      - container
      - vm-passthrough
    default: container
  gpu_operator_namespace:
    description: Namespace of the GPU Operator. Nothing means that of the release.
    type: str
  coco_operator_namespace:
    description: Namespace of the CoCo operator. Nothing means that of the release.
    type: str
  kata_deploy_namespace:
    description: Namespace of kata-deploy. Nothing means that of the release.
    type: str
  gpu_operator_name:
    description: Name of the Helm release of the GPU Operator. Nothing means that of the release.
    type: str
  kata_deploy_name:
    description: Name of the Helm release of kata-deploy. Nothing means that of the release.
    type: str
  kata_selector:
    description: Labels of the nodes that get the Kata runtime. Nothing means those of the release.
    type: dict
  tolerations:
    description: Tolerations by part of the stack, such as C(gpu_operator). Where nothing is given, those of the release count.
    type: dict
    default: {}
  workload_memory_mib:
    description: Memory of a GPU pod. When given, nodes that cannot hold it together with the overhead of its class are told.
    type: int
  verify:
    description: Whether the checks of a provisioned cluster are made too.
    type: bool
    default: false
  eligible:
    description:
      - The nodes that are eligible in this run, see the filter P(katagpu.cluster.eligible_nodes#filter).
      - When given, named nodes that are left out are judged by what the GPU Operator would do to them.
    type: list
    elements: str
  protect:
    description: Whether nodes that are not eligible are to be labelled so that the GPU Operator leaves them alone.
    type: bool
    default: false
  require_install:
    description: Whether a release that cannot be installed is a finding instead of an error.
    type: bool
    default: true
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.kubernetes_auth
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
- name: Can the stack be installed here
  katagpu.cluster.cluster_info:
    release: "23.9"
    nodes:
      node-a:
        role: container
      node-b:
        role: kata
  register: cluster
"""

RETURN = r"""
reachable:
  description: Whether the API answered.
  returned: success
  type: bool
server_version:
  description: Version of the API server.
  returned: success
  type: str
  sample: 1.27.3
nodes:
  description: The named nodes and all GPU nodes, compact.
  returned: success
  type: dict
missing_nodes:
  description: Named nodes that do not exist.
  returned: success
  type: list
  elements: str
foreign_gpu_nodes:
  description: GPU nodes that are not named.
  returned: success
  type: list
  elements: str
named:
  description: For each named node that exists its C(role), its C(workload) label, whether it is C(labelled) as its role says,
    and whether it is C(exposed), which means that the GPU Operator would treat it as something else. For Kata nodes the
    C(runtime_class) of its pods with GPUs.
  returned: success
  type: dict
unprotected:
  description: With O(eligible), the exposed nodes that are not eligible.
  returned: success
  type: list
  elements: str
to_protect:
  description: With O(protect), those of them that no GPU pod runs on.
  returned: success
  type: list
  elements: str
labelled_not_eligible:
  description: With O(eligible), the nodes that are labelled for their role and are not eligible.
  returned: success
  type: list
  elements: str
runtime_classes:
  description: RuntimeClasses with handler and node selector.
  returned: success
  type: dict
crds:
  description: Names of the CRDs of the stack.
  returned: success
  type: list
  elements: str
cc_runtimes:
  description: CcRuntimes with their counters.
  returned: success
  type: dict
cluster_policies:
  description: ClusterPolicies with state and conditions.
  returned: success
  type: dict
helm_releases:
  description: Helm releases of the namespaces, newest revision each, without values.
  returned: success
  type: list
  elements: dict
daemonsets:
  description: DaemonSets by namespace and name.
  returned: success
  type: dict
outdated_pods:
  description: By namespace and node, pods of DaemonSets with the update strategy C(OnDelete) that are of an earlier template, each with its DaemonSet.
  returned: success
  type: dict
deployments:
  description: Deployments by namespace and name.
  returned: success
  type: dict
services:
  description: Names of Services by namespace.
  returned: success
  type: dict
gpu_pods:
  description: Unfinished pods that use resources of C(nvidia.com).
  returned: success
  type: list
  elements: dict
permissions:
  description: Whether each needed permission is granted.
  returned: success
  type: dict
denied:
  description: What could not be read for lack of permission.
  returned: success
  type: list
  elements: str
rolls:
  description:
    - For each part of the release that restarts containerd, and for C(operands) that wait to be replaced, the C(nodes) in their order.
      Each of them has to be drained before it gets the C(labels) or loses the C(pods). C(why) says it in words, C(stale) are nodes that
      have such a label from before, C(unagreed) are nodes that nobody agreed to drain.
  returned: success
  type: dict
generation:
  description: The stack that the cluster has, and by what it was recognised.
  returned: success
  type: dict
objects:
  description: A C(verdict) for each manifest, V(absent), V(differs), V(same) or V(kind_unknown), with the differing paths.
  returned: success
  type: list
  elements: dict
helm:
  description: A C(verdict) for each Helm release, V(install), V(upgrade), V(same), V(pending) or V(foreign_name).
  returned: success
  type: list
  elements: dict
plan:
  description: By phase, what differs; empty where nothing is to do.
  returned: success
  type: dict
findings:
  description: What was found, each with id, severity, state, node, device, fact, consequence, fix, evidence and message.
  returned: always
  type: list
  elements: dict
checks:
  description: The checks, with O(verify).
  returned: success
  type: list
  elements: dict
summary:
  description: Whether a block ends the run, which nodes have one of their own, and the texts.
  returned: success
  type: dict
requests:
  description: How many requests were sent to the API.
  returned: success
  type: int
"""

# The code is in the action plugin of the same name, because it runs on the controller.
