# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller and the inventory are refused for, before anything is read elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.integration.refusals.case import Case, Inventory, blocks
from tests.lab.scene import Scene


def _both_groups(scene: Scene, inventory: Inventory) -> None:
    inventory["container_nodes"]["hosts"]["kata-1"] = {}


def _no_groups(scene: Scene, inventory: Inventory) -> None:
    del inventory["kata_nodes"], inventory["container_nodes"]
    inventory["ungrouped"] = {"hosts": {"somewhere": {}}}


def _one_host_owns(scene: Scene, inventory: Inventory) -> None:
    inventory["kata_nodes"]["hosts"]["kata-1"]["katagpu_vfio_owner"] = "host"


def _confidential(scene: Scene, inventory: Inventory) -> None:
    inventory["kata_nodes"]["vars"] = {"katagpu_confidential": "snp"}


def _case(key: str, title: str, given: str, ids: str, *says: str, **variables: Any) -> Case:
    return Case(
        key, title, given, variables=variables, playbook="site", arguments=("--check",), blocks=blocks(ids), says=says
    )


CASES = (
    _case(
        "release_unknown", "Unknown release", "``katagpu_release: '22.9'``", "release", "22.9", katagpu_release="22.9"
    ),
    _case(
        "release_recognised",
        "Release that is only recognised",
        "``katagpu_release: '25.10'``",
        "release",
        "25.10 is recognised, but not installed",
        katagpu_release="25.10",
    ),
    _case(
        "release_consent",
        "Release that needs consent",
        "``katagpu_release: '25.3'`` without consent",
        "release",
        "katagpu_release_consent: '25.3'",
        katagpu_release="25.3",
    ),
    _case(
        "kata_manager",
        "Kata manager on a release with kata-deploy",
        "release 26.3 and ``gpu_operator_values: {kataManager: {enabled: true}}``",
        "chart_values",
        "the release 26.3 installs Kata by kata-deploy",
        katagpu_release="26.3",
        gpu_operator_values={"kataManager": {"enabled": True}},
    ),
    _case(
        "mode",
        "Mode of the sandbox workloads on a release without it",
        "release 25.3 with consent and ``gpu_operator_values: {sandboxWorkloads: {mode: kata}}``",
        "chart_values",
        "the chart of the release 25.3 has no such key",
        katagpu_release="25.3",
        katagpu_release_consent="25.3",
        gpu_operator_values={"sandboxWorkloads": {"mode": "kata"}},
    ),
    _case(
        "enumeration",
        "Misspelt value of an enumeration of the chart",
        "``gpu_operator_values: {sandboxWorkloads: {defaultWorkload: vm-passthough}}``",
        "chart_values",
        "'vm-passthough'",
        "container, vm-passthrough, vm-vgpu",
        gpu_operator_values={"sandboxWorkloads": {"defaultWorkload": "vm-passthough"}},
    ),
    _case(
        "default_by_value",
        "Every node a VM node by a chart value, without consent",
        "``gpu_operator_values: {sandboxWorkloads: {defaultWorkload: vm-passthrough}}``",
        "chart_values",
        "katagpu_default_workload is not set",
        gpu_operator_values={"sandboxWorkloads": {"defaultWorkload": "vm-passthrough"}},
    ),
    _case(
        "operand_off",
        "Operand switched off that the release consists of",
        "``gpu_operator_values: {ccManager: {enabled: false}}``",
        "chart_values",
        "nvidia-cc-manager",
        gpu_operator_values={"ccManager": {"enabled": False}},
    ),
    Case(
        "confidential_release",
        "Confidential virtual machines on a release without them",
        "release 23.9 and ``katagpu_confidential: snp`` for ``kata_nodes``",
        _confidential,
        variables={"katagpu_release": "23.9"},
        playbook="site",
        arguments=("--check",),
        blocks=blocks("cc_release"),
        says=("the release 23.9 has no such variant",),
    ),
    _case(
        "default_workload",
        "Misspelt default workload",
        "``katagpu_default_workload: vm-passthough``",
        "bad_value",
        "vm-passthrough",
        katagpu_default_workload="vm-passthough",
    ),
    _case(
        "owner",
        "Unknown owner of the bindings",
        "``katagpu_vfio_owner: nobody``",
        "bad_value",
        "'nobody'",
        katagpu_vfio_owner="nobody",
    ),
    Case(
        "owners",
        "Different owners of the bindings",
        "``katagpu_vfio_owner: host`` for ``kata-1`` only",
        _one_host_owns,
        playbook="site",
        arguments=("--check",),
        blocks=blocks("vfio_owner"),
        says=("katagpu_vfio_owner is operator (of kata-2) and host (of kata-1).",),
    ),
    _case(
        "owner_values",
        "Chart values that contradict the owner of the bindings",
        "``katagpu_vfio_owner: host`` and ``gpu_operator_values: {vfioManager: {enabled: true}}``",
        "chart_values",
        "gpu_operator_values.vfioManager.enabled is true, and katagpu_vfio_owner is host",
        katagpu_vfio_owner="host",
        gpu_operator_values={"vfioManager": {"enabled": True}},
    ),
    _case(
        "operand_update",
        "Unknown way for changed operands",
        "``katagpu_operand_update: at_once``",
        "bad_value",
        "'at_once'",
        katagpu_operand_update="at_once",
    ),
    _case(
        "selector",
        "Runtime without a node selector",
        "``kata_deploy_node_selector: {}``",
        "bad_value",
        "containerd of every node would be restarted",
        kata_deploy_node_selector={},
    ),
    _case(
        "misspelt",
        "Misspelt variable",
        "``katagpu_reboot_okay: true``",
        "misspelt_variable",
        "did you mean katagpu_reboot_ok?",
        katagpu_reboot_okay=True,
    ),
    _case(
        "misspelt_role",
        "Misspelt variable of a role",
        "``gpu_operator_vaules: {}``",
        "misspelt_variable",
        "did you mean gpu_operator_values?",
        gpu_operator_vaules={},
    ),
    _case(
        "batch",
        "All nodes in maintenance at once",
        "``katagpu_maintenance_batch: 100%`` without consent",
        "serial",
        "all 2 Kata nodes at once",
        katagpu_maintenance_batch="100%",
    ),
    _case(
        "acceptance",
        "Finding accepted without a reason",
        "``katagpu_accepted_findings: [{id: kubernetes_range}]``",
        "accepted_findings",
        "needs an id and a reason",
        katagpu_accepted_findings=[{"id": "kubernetes_range"}],
    ),
    Case(
        "both_groups",
        "Host in both groups",
        "``kata-1`` in ``kata_nodes`` and in ``container_nodes``",
        _both_groups,
        playbook="site",
        arguments=("--check",),
        blocks=blocks("both_groups"),
        says=("kata-1",),
    ),
    Case(
        "no_targets",
        "No targets",
        "an inventory without the two groups",
        _no_groups,
        playbook="site",
        arguments=("--check",),
        blocks=blocks("no_targets"),
        says=("kata_nodes",),
    ),
    Case(
        "missing_tool",
        "Missing tools",
        "release 23.9, and a ``PATH`` without Helm, kubectl and git",
        variables={"katagpu_release": "23.9"},
        playbook="site",
        arguments=("--check",),
        environment={"PATH": str(Path(sys.executable).parent)},
        blocks=blocks("missing_tool"),
        says=("helm is not installed on the controller", "kubectl or kustomize"),
    ),
    Case(
        "limit",
        "Limited to hosts without the controller",
        "``--limit kata-1``",
        playbook="site",
        arguments=("--check", "--limit", "kata-1"),
        text="The play on localhost did not run, so nothing was checked and nothing was changed. With --limit, name localhost"
        " too: --limit 'kata-1,localhost'.",
    ),
)
