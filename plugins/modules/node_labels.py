#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: node_labels
short_description: Set labels of many Kubernetes nodes in one task
version_added: 1.0.0
description:
  - Reads the metadata of all nodes with one request and patches only the nodes that differ, several at a time.
  - Labels that this module sets are remembered in the annotation C(katagpu.io/owned-labels) of the node, so that a
    later removal takes only those.
  - A node that does not exist is an error, and then nothing is changed on any node.
options:
  nodes:
    description:
      - The wanted labels by node name.
      - A V(null) value removes a label, but only if this module set it.
      - Values of labels that the GPU Operator reads are checked against what it understands, because it takes a
        misspelt value for V(container) without telling.
    type: dict
    required: true
  workers:
    description: How many nodes are patched at the same time.
    type: int
    default: 8
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.kubernetes_auth
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - katagpu contributors (@katagpu)
"""

EXAMPLES = r"""
- name: Choose the nodes that run GPU pods in virtual machines
  katagpu.cluster.node_labels:
    nodes:
      node-a:
        nvidia.com/gpu.workload.config: container
      node-b:
        nvidia.com/gpu.workload.config: vm-passthrough
  delegate_to: localhost

- name: Remove the label again where it is ours
  katagpu.cluster.node_labels:
    nodes:
      node-b:
        nvidia.com/gpu.workload.config:
  delegate_to: localhost
"""

RETURN = r"""
changed_nodes:
  description: Names of the nodes that were patched, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [node-b]
unchanged_count:
  description: How many of the named nodes were as wanted already.
  returned: always
  type: int
  sample: 1
missing_nodes:
  description: Named nodes that do not exist; when there are any, nothing was changed.
  returned: always
  type: list
  elements: str
  sample: []
kept:
  description: By node, the labels that were to be removed but were not set by this module, and so were left.
  returned: always
  type: dict
  sample: {}
requests:
  description: How many requests were sent to the API.
  returned: always
  type: int
  sample: 2
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import labels
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import IMPORT_ERROR, KubernetesApi
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "dict", "required": True},
            "workers": {"type": "int", "default": 8},
            "kubeconfig": {"type": "path"},
            "context": {"type": "str"},
        },
        supports_check_mode=True,
    )
    wanted = module.params["nodes"]
    found = labels.problems(wanted)
    if found:
        module.fail_json(msg="Nothing was changed. " + "; ".join(found) + ".")
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
    try:
        module.exit_json(**_run(module, wanted))
    except KatagpuError as error:
        module.fail_json(msg=str(error))


def _run(module: AnsibleModule, wanted: labels.Wanted) -> Dict[str, Any]:
    api = KubernetesApi(module.params["kubeconfig"], module.params["context"], module.params["workers"])
    plan = labels.plan(labels.read(api) if wanted else [], wanted)
    result: Dict[str, Any] = {
        "changed": bool(plan.changes),
        "changed_nodes": [change.node for change in plan.changes],
        "unchanged_count": len(plan.unchanged),
        "missing_nodes": plan.missing,
        "kept": plan.kept,
    }
    # Asked for only: with a thousand nodes, handing it to Ansible costs as much as hundreds of requests.
    if module._diff:
        result["diff"] = {
            "before": {change.node: change.before for change in plan.changes},
            "after": {change.node: change.after for change in plan.changes},
        }
    if plan.missing:
        result.update(changed=False, changed_nodes=[], requests=api.requests)
        result.pop("diff", None)
        module.fail_json(
            msg="These nodes do not exist in the cluster: "
            + ", ".join(plan.missing)
            + ". Nothing was changed on any node. "
            "Fix: set katagpu_node_name of the hosts to the names that kubectl get nodes shows.",
            **result,
        )
    errors = {} if module.check_mode else labels.apply(api, plan.changes, module.params["workers"])
    result["requests"] = api.requests
    if errors:
        result["changed_nodes"] = [node for node in result["changed_nodes"] if node not in errors]
        result["changed"] = bool(result["changed_nodes"])
        module.fail_json(
            msg="Labels could not be set on "
            + "; ".join(f"{node}: {error}" for node, error in errors.items())
            + f". {len(result['changed_nodes'])} other nodes were changed; run again to finish.",
            **result,
        )
    return result


if __name__ == "__main__":
    main()
