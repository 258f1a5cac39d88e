# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kata-deploy off a provisioned lab and on again, then by Jobs."""

from __future__ import annotations

import json
from typing import Any

from tests.integration import lab

NODES = ["kata-a10", "kata-workstation"]
MARK = "katagpu.io/kata-runtime"
DONE = "katacontainers.io/kata-runtime"
JOBS = json.dumps({"kata_deploy_values": {"deploymentMode": "job"}})


def nodes() -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in lab.kubectl_json("get", "nodes")["items"]}


def handlers(node: dict[str, Any]) -> list[str]:
    return [item["name"] for item in node["status"].get("runtimeHandlers", []) if item["name"].startswith("kata")]


def remove(*arguments: str) -> lab.PlaybookRun:
    return lab.playbook("tests/integration/playbooks/remove_kata_deploy.yml", *arguments)


def helm_names() -> list[str]:
    return [item["name"] for item in json.loads(lab.lab("helm", "list", "-A", "-o", "json"))]


def machine(name: str) -> dict[str, Any]:
    container = {"name": "one", "image": "registry.example.com/sleep:1"}
    metadata = {"name": name, "namespace": "default"}
    spec = {"runtimeClassName": "kata-qemu-nvidia-gpu", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_it_is_not_removed_below_a_machine_or_without_consent() -> None:
    lab.apply(machine("in-use"))
    try:
        used = remove()
    finally:
        lab.kubectl("delete", "-n", "default", "pod/in-use", "--wait=true")
    assert used.returncode != 0 and "default/in-use" in used.output, used.output
    unagreed = remove("-e", "katagpu_reboot_ok=false")
    assert unagreed.returncode != 0 and "nobody has agreed to it" in unagreed.output, unagreed.output
    assert not any([*used.changed.values(), *unagreed.changed.values()])
    assert "kata-deploy" in helm_names()


def test_it_is_removed_from_one_drained_node_after_the_other() -> None:
    before = nodes()
    run = remove()
    print(f"removal: {run.seconds:.0f} s")
    assert run.returncode == 0, run.output
    after = nodes()
    for name in NODES:
        assert handlers(before[name]) and not handlers(after[name])
        assert not {MARK, DONE} & set(after[name]["metadata"]["labels"])
        assert not after[name]["spec"].get("unschedulable")
    assert helm_names() == ["gpu-operator"]
    classes = {item["metadata"]["name"] for item in lab.kubectl_json("get", "runtimeclass")["items"]}
    assert not [name for name in classes if name.startswith("kata")]
    again = remove()
    assert again.returncode == 0, again.output
    assert not any(again.changed.values()), again.recap


def test_jobs_install_it_and_a_second_run_changes_nothing() -> None:
    run = lab.playbook("cluster", "-e", JOBS)
    print(f"cluster.yml in job mode: {run.seconds:.0f} s")
    assert run.returncode == 0, run.output
    found = nodes()
    for name in NODES:
        assert handlers(found[name]) and found[name]["metadata"]["labels"][DONE] == "true"
        assert MARK not in found[name]["metadata"]["labels"]
    assert not handlers(found["container-1"])
    again = lab.playbook("cluster", "-e", JOBS)
    assert again.returncode == 0, again.output
    assert not any(again.changed.values()), again.recap
