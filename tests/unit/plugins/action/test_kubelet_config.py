# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin and its module as Ansible runs them: check mode and real, first and second."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import COLLECTIONS
from tests.unit import machines
from tests.unit.plugins.module_utils._kubelet.test_kubelet_facts import group, process

CONFIG = "/var/lib/kubelet/config.yaml"
TEXT = "# mine\nkind: KubeletConfiguration\nfeatureGates:\n  Mine: true # why\n"
AFTER = "# mine\nkind: KubeletConfiguration\nfeatureGates:\n  Mine: true # why\n  X: true\nruntimeRequestTimeout: 20m\n"
WANTED = {"runtimeRequestTimeout": "20m", "featureGates": {"X": True}}


def play(folder: Path, *steps: dict[str, Any], options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    tasks = [
        {"katagpu.cluster.kubelet_config": step, "register": f"r{index}", "ignore_errors": True}
        for index, step in enumerate(steps)
    ]
    everything = "{{ [" + ", ".join(f"r{index}" for index in range(len(steps))) + "] }}"
    target = {"dest": str(folder / "out.json"), "content": "{{ all | to_json }}", "mode": "0600"}
    dump = {"ansible.builtin.copy": target, "check_mode": False, "diff": False, "vars": {"all": everything}}
    python = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    book = [{"hosts": "localhost", "gather_facts": False, "vars": python, "tasks": [*tasks, dump]}]
    (folder / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "play.yml", *options]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "false"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results: list[dict[str, Any]] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return results


def tree(folder: Path, text: str = TEXT) -> Path:
    running = {**group("kubelet.service", 8), **process(8, "kubelet", 7, f"kubelet --config={CONFIG}")}
    return machines.build({"files": {CONFIG: text, "/etc/kubernetes/kubelet.conf": "", **running}}, folder / "tree")


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_check_and_real_first_and_second(tmp_path: Path) -> None:
    root = tree(tmp_path)
    before = files(root)
    step = {"config": WANTED, "root": str(root)}
    (checked,) = play(tmp_path, step, options=("--check", "--diff"))
    assert files(root) == before, "check mode wrote something"
    first, second = play(tmp_path, step, step, options=("--diff",))
    for key in (
        "changed",
        "before",
        "after",
        "changes",
        "method",
        "restart_required",
        "kubeadm",
        "distribution",
        "diff",
    ):
        assert checked[key] == first[key], key
    assert (first["before"], first["after"]) == (sha256(TEXT), sha256(AFTER))
    assert (first["method"], first["kubeadm"], first["unit"]) == ("lines", True, "kubelet.service")
    assert first["diff"][0]["before"] == TEXT and first["diff"][0]["after"] == AFTER
    assert files(root)[CONFIG[1:]] == AFTER.encode()
    assert Path(first["backup_file"]).read_text() == TEXT
    # Nothing to write any more, and still to be restarted.
    assert not second["changed"] and second["restart_required"] and second["changes"] == []
    assert second["before"] == second["after"] == sha256(AFTER)


def test_what_cannot_be_done_changes_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path, TEXT + "featureGates: {}\n")
    before = files(root)
    empty = tmp_path / "empty"
    empty.mkdir()
    results = play(
        tmp_path,
        {"config": WANTED, "root": str(root)},
        {"config": {"kind": "x", "a": None}, "root": str(root)},
        {"config": WANTED, "root": str(empty)},
        {"config": WANTED, "target": "kubeadm", "kubeconfig": str(tmp_path / "none")},
        {"config": WANTED, "target": "elsewhere"},
    )
    messages = [
        f"{CONFIG} line 5: the key featureGates is there already, in line 3",
        "config.kind is what the file is",
        "No configuration of a kubelet was found",
        "does not exist",
        "value of target must be one of: host, kubeadm",
    ]
    assert all(result["failed"] for result in results)
    for result, message in zip(results, messages, strict=True):
        assert message in result["msg"]
    assert files(root) == before and not list(empty.iterdir())


@pytest.mark.parametrize("flag", ["--feature-gates=X=false"])
def test_a_flag_that_has_the_last_word_is_refused(tmp_path: Path, flag: str) -> None:
    root = tree(tmp_path)
    machines.build({"files": process(8, "kubelet", 7, f"kubelet --config={CONFIG} {flag}")}, root)
    before = files(root)
    (result,) = play(tmp_path, {"config": WANTED, "root": str(root)})
    assert "featureGates.X is False in the kubelet's command line" in result["msg"] and files(root) == before


@pytest.fixture
def api(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A server with one ConfigMap, and the kubeconfig that leads to it."""
    held: dict[str, Any] = {"metadata": {"name": "kubelet-config", "resourceVersion": "1"}, "data": {"kubelet": TEXT}}
    state: dict[str, Any] = {"object": held, "requests": [], "kubeconfig": str(tmp_path / "kubeconfig")}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state["requests"].append(("GET", self.path))
            self.answer(state["object"])

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state["requests"].append(("PATCH", self.path))
            if body["metadata"]["resourceVersion"] == state["object"]["metadata"]["resourceVersion"]:
                state["object"]["data"].update(body["data"])
                state["object"]["metadata"]["resourceVersion"] = "2"
            self.answer(state["object"])

        def answer(self, found: Any) -> None:
            data = json.dumps(found or {"message": "configmaps not found"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "x"}
    config |= {"clusters": [cluster], "contexts": [context], "users": [user]}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
    yield state
    server.shutdown()
    server.server_close()


def test_kubeadm_keeps_the_same_text_in_its_config_map(tmp_path: Path, api: dict[str, Any]) -> None:
    step = {"config": WANTED, "target": "kubeadm", "kubeconfig": api["kubeconfig"]}
    (checked,) = play(tmp_path, step, options=("--check", "--diff"))
    assert api["object"]["data"]["kubelet"] == TEXT and {method for method, _path in api["requests"]} == {"GET"}
    first, second = play(tmp_path, step, step, options=("--diff",))
    assert api["object"]["data"]["kubelet"] == AFTER
    assert checked["changed"] and first["changed"] and not second["changed"]
    assert checked["diff"] == first["diff"] and first["diff"][0]["after"] == AFTER
    assert (first["before"], first["after"], first["kubeadm"]) == (sha256(TEXT), sha256(AFTER), True)
    assert [method for method, _path in api["requests"]] == ["GET", "GET", "PATCH", "GET"]
    api["object"] = {}
    (absent,) = play(tmp_path, step)
    assert not absent["changed"] and not absent["kubeadm"] and absent["distribution"] == "none"
