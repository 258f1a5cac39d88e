# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cluster.yml leaves behind on the API."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

KUBECONFIG = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / ".build" / "lab" / "kubeconfig"

# Nodes get it while they are drained.
MARK = "katagpu.io/kata-runtime"


@pytest.fixture
def kubectl(host: Any) -> Any:
    def ask(arguments: str) -> Any:
        return json.loads(host.check_output(f"kubectl --kubeconfig {KUBECONFIG} {arguments} -o json"))

    return ask


def test_nodes_exist_and_are_ready(kubectl: Any) -> None:
    nodes = kubectl("get nodes")["items"]
    assert any(node["metadata"]["name"].startswith("kata-") for node in nodes)
    for node in nodes:
        conditions = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
        assert conditions["Ready"] == "True", node["metadata"]["name"]


def test_the_runtime_is_restricted_to_labelled_nodes(kubectl: Any) -> None:
    installer = kubectl("get daemonset kata-deploy -n kata-system")["spec"]["template"]["spec"]
    selector = installer["nodeSelector"]
    assert selector == {"nvidia.com/gpu.workload.config": "vm-passthrough", MARK: selector[MARK]}
    for node in kubectl("get nodes")["items"]:
        name, labels = node["metadata"]["name"], node["metadata"]["labels"]
        assert labels.get(MARK) == (selector[MARK] if name.startswith("kata-") else None), name


def test_helm_releases_have_fixed_names(host: Any) -> None:
    releases = json.loads(host.check_output(f"helm --kubeconfig {KUBECONFIG} list -A -o json"))
    assert sorted((release["name"], release["namespace"], release["status"]) for release in releases) == [
        ("gpu-operator", "gpu-operator", "deployed"),
        ("kata-deploy", "kata-system", "deployed"),
    ]


def test_every_daemonset_of_a_kata_node_is_ready(kubectl: Any) -> None:
    daemonsets = {
        item["metadata"]["name"]: item["status"] for item in kubectl("get daemonsets -n gpu-operator")["items"]
    }
    for name in (
        "nvidia-vfio-manager",
        "nvidia-cc-manager",
        "nvidia-sandbox-validator",
        "nvidia-kata-sandbox-device-plugin-daemonset",
    ):
        assert daemonsets[name]["desiredNumberScheduled"] >= 1
        assert daemonsets[name]["numberReady"] == daemonsets[name]["desiredNumberScheduled"]
