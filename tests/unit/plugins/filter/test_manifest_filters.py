# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters as templates use them: by full name, with an error that names the filter."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from tests.conftest import COLLECTIONS

FILTERS = (
    "cc_runtime_manifests",
    "gpu_operator_waits",
    "kata_manager_values",
    "named_nodes",
    "helm_namespace",
    "kata_deploy_values",
    "kata_deploy_waits",
    "kata_removal",
    "coco_operator_waits",
    "replaced_images",
    "skipped_workloads",
    "undrained_pods",
    "workload_pod",
)


def template(text: str) -> Any:
    """Templates in a process of its own, because Ansible's collection loader takes over the import of collections."""
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "adhoc",
            "localhost",
            "-m",
            "ansible.builtin.debug",
            "-a",
            json.dumps({"msg": text}),
        ],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
    )
    return json.loads(result.stdout.partition("=>")[2])["msg"]


@pytest.mark.parametrize("name", FILTERS)
def test_one_filter_for_each_file(name: str) -> None:
    plugin = importlib.import_module(f"ansible_collections.katagpu.cluster.plugins.filter.{name}")
    assert list(plugin.FilterModule().filters()) == [name]
    assert f"name: {name}\n" in plugin.DOCUMENTATION


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("cc_runtime_manifests", ([],), {"node_selector": {}}),
        ("kata_manager_values", ({"artifactsDir": "x"},), {}),
        ("named_nodes", ({"a": {}},), {"kata": ["a"], "container": ["a"]}),
    ],
)
def test_an_error_names_the_filter(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    plugin = importlib.import_module(f"ansible_collections.katagpu.cluster.plugins.filter.{name}")
    with pytest.raises(AnsibleFilterError, match=f"^{name}: "):
        plugin.FilterModule().filters()[name](*arguments, **options)


def test_a_template_finds_them_by_full_name() -> None:
    pods = [{"metadata": {"namespace": "n", "name": "p"}}]
    text = f"""{{{{ {{
        'namespace': ('a' | katagpu.cluster.helm_namespace('b')).metadata.name,
        'values': {{'artifacts_dir': '/opt/a'}} | katagpu.cluster.kata_manager_values,
        'left': {pods} | katagpu.cluster.undrained_pods,
    }} }}}}"""
    assert template(text) == {"namespace": "a", "values": {"config": {"artifactsDir": "/opt/a"}}, "left": ["n/p"]}
