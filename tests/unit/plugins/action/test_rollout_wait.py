# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.action import rollout_wait
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import waiting
from tests.conftest import COLLECTIONS
from tests.unit.fake_api import FakeApi, node, nodes

SPACE = "gpu-operator"
DAEMONSETS = f"/apis/apps/v1/namespaces/{SPACE}/daemonsets"


@pytest.fixture
def api() -> FakeApi:
    return FakeApi(nodes(node("a")))


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(rollout_wait.display, "display", lambda line: lines.append(line))
    return lines


def run(api: FakeApi, objects: list[dict[str, Any]], timeout: int = 2) -> dict[str, Any]:
    return rollout_wait.wait(api, waiting.targets(objects), timeout)


NODE = {"api_version": "v1", "kind": "Node", "name": "a"}


def test_what_is_ready_is_returned_and_nothing_is_printed(api: FakeApi, printed: list[str]) -> None:
    result = run(api, [NODE])
    assert [(item["name"], item["state"]) for item in result["waited"]] == [("a", "Ready, bootID boot-a")]
    assert printed == []


def test_what_is_waited_for_changes_and_the_end_are_printed(api: FakeApi, printed: list[str]) -> None:
    api.put("/api/v1/nodes/a", node("a", ready="False"))
    threading.Timer(0.4, api.put, ("/api/v1/nodes/a", node("a"))).start()
    result = run(api, [NODE], 5)
    assert not result.get("failed")
    assert printed == [
        "  waiting at most 5 s for 1 object | Node a: Ready is False",
        "  ready after 0 s | Node a: Ready, bootID boot-a",
        "  all there after 0 s | 1 object",
    ]


def test_timeout_names_pods_and_events_behind_a_daemonset(api: FakeApi) -> None:
    selector = {"matchLabels": {"name": "nvidia-vfio-manager"}}
    api.objects[f"{DAEMONSETS}/nvidia-vfio-manager"] = {
        "metadata": {"name": "nvidia-vfio-manager"},
        "spec": {"selector": selector},
        "status": {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 0},
    }
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}
    api.objects[f"/api/v1/namespaces/{SPACE}/pods/p"] = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "a"},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "c", "state": waiting}]},
    }
    api.objects[f"/api/v1/namespaces/{SPACE}/events/e"] = {
        "metadata": {"name": "e"},
        "type": "Warning",
        "reason": "Failed",
        "message": "Back-off pulling image",
    }
    wanted = {"api_version": "apps/v1", "kind": "DaemonSet", "name": "nvidia-vfio-manager", "namespace": SPACE}
    result = run(api, [NODE, wanted], 1)
    assert result["failed"]
    assert "1 of 2 objects" in result["msg"]
    for part in ("available 0", "ImagePullBackOff manifest unknown", "Back-off pulling image", "on a"):
        assert part in result["msg"]
    assert [item["name"] for item in result["waited"]] == ["a"]


def test_events_of_an_earlier_pod_of_the_same_name_are_not_told(api: FakeApi) -> None:
    asked: list[str] = []

    def get(path: str, query: Mapping[str, str] | None = None, accept: str = "") -> dict[str, Any]:
        asked.append((query or {}).get("fieldSelector", ""))
        return FakeApi.get(api, path, query, accept)

    api.get = get  # type: ignore[method-assign]
    api.objects[f"/api/v1/namespaces/{SPACE}/pods/p"] = {
        "metadata": {"name": "p", "uid": "the-second"},
        "status": {"phase": "Failed"},
    }
    run(api, [{"api_version": "v1", "kind": "Pod", "name": "p", "namespace": SPACE}], 1)
    assert asked[-1] == "involvedObject.kind=Pod,involvedObject.name=p,involvedObject.uid=the-second"


class Cluster(BaseHTTPRequestHandler):
    """One ready node, and who asked for it."""

    asked: list[tuple[str, str]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        items = [] if "watch=true" in self.path else [node("a")]
        body = json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if "watch=true" in self.path else body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Cluster.asked.clear()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Cluster)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}"
    listener.shutdown()


def kubeconfig(path: Path, server: str) -> None:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "the-token"}}],
        "contexts": [
            {"name": "wrong", "context": {"cluster": "none", "user": "u"}},
            {"name": "right", "context": {"cluster": "c", "user": "u"}},
        ],
        "current-context": "wrong",
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def playbook(folder: Path, task: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    """A host that cannot be reached, so that only a delegated wait that runs on the controller can succeed."""
    credentials = {"kubeconfig": "{{ cluster_file }}", "context": "{{ cluster_context | default(omit, true) }}"}
    book = [
        {
            "hosts": "gpu-01",
            "gather_facts": False,
            "become": True,
            "module_defaults": {"group/katagpu.cluster.cluster": credentials},
            "tasks": [
                {
                    "name": "Wait",
                    "katagpu.cluster.rollout_wait": task,
                    "delegate_to": "localhost",
                    "vars": {"ansible_connection": "local", "ansible_become": False},
                }
            ],
        }
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
    variables = {"ansible_host": "192.0.2.1", "cluster_file": str(folder / "config"), "cluster_context": "right"}
    inventory = {"all": {"hosts": {"gpu-01": variables}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml", *options]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_credentials_of_the_group_reach_a_delegated_wait(tmp_path: Path, server: str) -> None:
    kubeconfig(tmp_path / "config", server)
    missing = {"api_version": "v1", "kind": "Node", "name": "b"}
    done = playbook(tmp_path, {"objects": [NODE, missing], "timeout": 1})
    assert done.returncode == 2, done.stdout + done.stderr
    assert "  waiting at most 1 s for 1 of 2 objects | Node b: does not exist" in done.stdout.splitlines()
    assert "Not ready after 1 seconds: 1 of 2 objects" in done.stdout
    assert ("/api/v1/nodes", "Bearer the-token") in Cluster.asked


def test_check_mode_does_not_wait(tmp_path: Path, server: str) -> None:
    kubeconfig(tmp_path / "config", server)
    done = playbook(tmp_path, {"objects": [{**NODE, "name": "b"}]}, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert Cluster.asked == []


def test_unknown_conditions_of_a_wait_are_refused(tmp_path: Path, server: str) -> None:
    kubeconfig(tmp_path / "config", server)
    done = playbook(tmp_path, {"objects": [{**NODE, "until": {"bootid": "x"}}]})
    assert done.returncode == 2
    assert "bootid unknown for Node" in done.stdout
    assert Cluster.asked == []
