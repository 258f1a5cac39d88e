# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _removal

DOCUMENTATION = r"""
name: kata_removal
short_description: How kata-deploy is taken off a cluster
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Says on which nodes the installer runs, in the order in which they are drained, and what speaks against a removal.
positional: _input, stack, namespace, named, nodes, classes, jobs
options:
  _input:
    description: All pods of the cluster.
    type: list
    elements: dict
    required: true
  stack:
    description: Release data.
    type: dict
    required: true
  namespace:
    description: Namespace of kata-deploy.
    type: str
    required: true
  named:
    description: The nodes of the inventory, see the filter P(katagpu.cluster.named_nodes#filter).
    type: dict
    required: true
  nodes:
    description: The nodes of the cluster, each with C(labels) and C(annotations), as M(katagpu.cluster.cluster_info) returns them.
    type: dict
    required: true
  classes:
    description: RuntimeClasses that kata-deploy has made, beside those of the release.
    type: list
    elements: str
    default: []
  jobs:
    description: Whether it was installed by Jobs, which leave no pod on the nodes.
    type: bool
    default: false
"""

EXAMPLES = r"""
---
- name: Show what speaks against a removal
  ansible.builtin.debug:
    msg: "{{ (pods | katagpu.cluster.kata_removal(katagpu_stack, 'kata-system', named, katagpu_cluster.nodes)).refusals }}"
"""

RETURN = r"""
_value:
  description: C(refusals), C(nodes), C(pods) by node, the nodes that are C(marked) by us, and C(waits).
  type: dict
"""


def kata_removal(*arguments: Any, **options: Any) -> Any:
    return _removal.kata_removal(*arguments, **options)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kata_removal": kata_removal}
