# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that are given to the collection are in nothing that it prints or writes, however much is printed.

Each is a text of its own, planted where a user has it, and looked for in the output with -vvv and --diff, the report, the
journal, the log of the tests, the state of the lab and what is left in temporary folders. Helm's own record of a release is
excepted, and so is the API: that is where they have to go. The passwords of BMCs are in test_bios_settings.py.
ANSIBLE_DISPLAY_ARGS_TO_STDOUT, which has Ansible print the arguments of all tasks, is off as it is by default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration import bare, canaries, journal, lab
from tests.integration.canaries import Planted, Searched
from tests.integration.refusals.case import KATA, inventory
from tests.lab.controlplane import rights
from tests.lab.scene import UPSTREAM, Scene
from tests.unit import machines
from tests.unit.assess_host import gpu
from tests.unit.host_stages import ready

DEPLOYER = rights.USERS[1]
PLAYBOOKS = lab.REPOSITORY / "tests" / "integration" / "playbooks"


@pytest.fixture(scope="module", autouse=True)
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with bare.control_plane(tmp_path_factory.mktemp("baseline")):
        yield


@pytest.fixture(scope="module")
def searched() -> Searched:
    return Searched()


@pytest.fixture
def planted() -> Planted:
    return Planted()


class Runner:
    """Runs playbooks and looks through everything that they leave."""

    def __init__(self, folder: Path, planted: Planted, searched: Searched) -> None:
        self.folder, self.planted, self.searched = folder, planted, searched
        self.hosts = inventory(folder)
        token = json.loads(rights.kubeconfig_of(DEPLOYER).read_text(encoding="utf-8"))["users"][0]["user"]["token"]
        planted.texts["token of the kubeconfig"] = token
        self.temporary = folder / "tmp"
        self.temporary.mkdir()

    def __call__(self, playbook: str, *arguments: str, vault: dict[str, Any] | None = None) -> lab.PlaybookRun:
        file, secret = self.folder / "hosts.yml", self.folder / "given.json"
        file.write_text(yaml.safe_dump(self.hosts), encoding="utf-8")
        secret.write_text(json.dumps(vault or {}), encoding="utf-8")
        environment = {**journal.environment(self.folder), "TMPDIR": str(self.temporary)}
        words = [*arguments, "-e", f"@{secret}", "-vvv", "--diff"]
        done = lab.playbook(playbook, *words, inventory=file, environment=environment)
        self.searched.output_without(self.planted, done.output)
        self.searched.files_without(self.planted, self._written())
        assert "Traceback" not in done.output
        return done

    def _written(self) -> list[Path]:
        """Reports, logs, temporary files; not the credentials of the lab, the disk of etcd, and what the API server logs of its
        own answers."""
        places = [self.folder / "report", self.temporary, lab.STATE, lab.REPOSITORY / ".build" / "tests"]
        logged = [path for path in [journal.log(self.folder)] if path.exists()]
        own = ("kubeconfig", "tokens", "controlplane", "bin", "audit")
        return logged + [
            path
            for place in places
            for path in place.rglob("*")
            if path.is_file() and not (place == lab.STATE and path.relative_to(place).parts[0].startswith(own))
        ]


@pytest.fixture
def run(tmp_path: Path, planted: Planted, searched: Searched) -> Runner:
    return Runner(tmp_path, planted, searched)


def values(planted: Planted) -> dict[str, Any]:
    return {
        **canaries.chart_values(planted),
        "gpu_operator_timeout_seconds": 5,
        # Nobody acts on the nodes here, so they never become eligible.
        "katagpu_protect_ineligible": True,
    }


LIMIT = ("--limit", "localhost,container-1")


def _remove_operator(scene: Scene, crds: set[str]) -> None:
    lab.lab("helm", "uninstall", "gpu-operator", "-n", "gpu-operator", "--no-hooks", "--ignore-not-found")
    scene.remove_crds(crds)
    lab.kubectl("label", "node", "--all", "nvidia.com/gpu.workload.config-", "nvidia.com/gpu.deploy.operands-")
    lab.kubectl("annotate", "node", "--all", "katagpu.io/owned-labels-")
    lab.kubectl("annotate", "namespace", "gpu-operator", "katagpu.io/helm-gpu-operator-")


@pytest.mark.parametrize("arguments", [("preflight",), ("site", "--check"), ("cluster", "--check")], ids=" ".join)
def test_of_chart_values_nothing_is_shown_before_they_are_used(
    arguments: tuple[str, ...], run: Runner, planted: Planted
) -> None:
    run(arguments[0], *arguments[1:], *LIMIT, vault=values(planted))
    assert len(planted.texts) == 5


def test_of_chart_values_nothing_is_shown_when_helm_gets_them(run: Runner, planted: Planted, tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        before = scene.crds()
        try:
            done = run("cluster", *LIMIT, vault=values(planted))
            assert "Install the Helm release" in done.output
            # Otherwise that the secret is not in it would say nothing.
            assert "Invoked with" in journal.text(tmp_path)
            released = lab.lab("helm", "get", "values", "gpu-operator", "-n", "gpu-operator", "-o", "json")
            assert planted["environment of an operand"] in released, "Helm did not get the secret"
            # Again with others, so that the values that are there are compared with them.
            other = values(planted)
            other["gpu_operator_values"]["toolkit"]["env"][0]["value"] = planted["another key"]
            run("cluster", "--check", *LIMIT, vault=other)
        finally:
            _remove_operator(scene, before)


def test_an_error_of_helm_is_shown_without_the_values(run: Runner, planted: Planted, tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        before = scene.crds()
        try:
            given = values(planted)
            given["gpu_operator_values"]["operator"] = {"imagePullPolicy": planted["wrong value"]}
            done = run("cluster", *LIMIT, vault=given)
        finally:
            _remove_operator(scene, before)
    assert done.returncode != 0
    text = " ".join(done.output.split())
    assert "Helm failed: " in text and "(hidden)" in text, done.output


def test_values_that_are_refused_are_not_quoted(run: Runner, planted: Planted) -> None:
    given = values(planted)
    given["gpu_operator_vaules"] = given.pop("gpu_operator_values")
    given["gpu_operator_values"] = {
        "sandboxWorkloads": {"defaultWorkload": "vm-passthough"},
        **given["gpu_operator_vaules"],
    }
    done = run("site", "--check", *LIMIT, vault=given)
    assert done.returncode != 0 and "misspelt_variable" in done.output


@pytest.mark.parametrize("arguments", [("--check",), ()], ids=["check", "run"])
def test_of_a_host_no_password_of_a_registry_is_shown(
    arguments: tuple[str, ...], run: Runner, planted: Planted, tmp_path: Path
) -> None:
    registry = f"""version = 2
[plugins."io.containerd.grpc.v1.cri".registry.configs."registry.example.com".auth]
  username = "puller"
  password = "{planted["password of a registry"]}"
"""
    header = {"Authorization": [f"Bearer {planted['header of the static pods']}"]}
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "staticPodURLHeader": header,
    }
    files = {
        "/etc/containerd/config.toml": registry,
        "/var/lib/kubelet/config.yaml": yaml.safe_dump(kubelet),
    }
    root = machines.build(ready(gpu(group="12", driver="vfio-pci"), files=files), tmp_path / "host")
    run.hosts["kata_nodes"]["hosts"] = {KATA[0]: {"host_tree": str(root)}}
    done = run(str(PLAYBOOKS / "secrets_of_hosts.yml"), *arguments)
    assert done.returncode == 0, done.output
    assert "Invoked with" in journal.text(tmp_path)
    assert ("20m" in (root / "var/lib/kubelet/config.yaml").read_text(encoding="utf-8")) is (not arguments)


@pytest.mark.parametrize("arguments", [("--check",), ()], ids=["check", "run"])
def test_of_a_secret_among_manifests_nothing_is_shown(
    arguments: tuple[str, ...], run: Runner, planted: Planted, tmp_path: Path
) -> None:
    folder = tmp_path / "kustomization"
    folder.mkdir()
    release = UPSTREAM / "coco-operator-v0.7.0" / "config"
    generator = {
        "name": "pull",
        "namespace": "confidential-containers-system",
        "literals": [f"key={planted['pull secret']}"],
    }
    content = {"resources": [os.path.relpath(release / "release", folder)], "secretGenerator": [generator]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    given = {
        "coco_operator_ref": str(folder),
        "coco_operator_runtime_ref": str(release / "samples" / "ccruntime" / "default"),
        "katagpu_reboot_ok": True,
    }
    # Secrets of a user's own are not among the rights for this operator.
    run.hosts["all"]["vars"] |= {**given, "katagpu_kubeconfig": str(lab.STATE / "kubeconfig")}
    done = run(str(PLAYBOOKS / "secrets_of_manifests.yml"), *arguments)
    assert "Build the manifests" in done.output and "Apply the objects" in done.output, done.output


def test_of_the_pods_of_others_nothing_is_shown(run: Runner, planted: Planted, tmp_path: Path) -> None:
    meta = {"name": "theirs", "namespace": "default"}
    env = [{"name": "DB_PASSWORD", "value": planted["environment of somebody's pod"]}]
    spec = {"nodeName": KATA[0], "containers": [{"name": "main", "image": "registry.invalid/app", "env": env}]}
    with Scene(tmp_path) as scene:
        scene.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        done = run(str(PLAYBOOKS / "secrets_of_pods.yml"), "--check")
    assert done.returncode == 0, done.output
    assert "Look for its pods" in done.output and "List what a drain must respect" in done.output
    assert "default/theirs" in done.output, "a bare pod is an obstacle"


def test_much_was_searched(searched: Searched) -> None:
    print(searched)
    assert len(searched.texts) >= 30 and searched.runs >= 10 and searched.files >= 50
