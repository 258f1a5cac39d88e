# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels on 1000 nodes: our module, kubernetes.core.k8s with a list and in a loop, and kubectl.

On a real API server whose controllers are stopped, so that every request it counts for nodes is one of the method's.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.lab import paths, processes
from tests.lab.controlplane import server
from tests.lab.errors import LabError

NODES = 1000
# A loop over all nodes would take about 20 minutes; it costs the same for every node.
LOOP = 20
RUNS = 3
PLAYBOOKS = Path(sysconfig.get_path("scripts"))
_REQUEST = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)

Row = dict[str, Any]


def name(index: int) -> str:
    return f"bench-{index:04d}"


def requests() -> float:
    """Requests for Node objects that the API server has counted, without those for their status."""
    text = server_metrics()
    total = 0.0
    for match in _REQUEST.finditer(text):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        if labels.get("resource") == "nodes" and labels.get("subresource") == "" and labels.get("verb") != "WATCH":
            total += float(match["count"])
    return total


def server_metrics() -> str:
    done = subprocess.run([*_kubectl(), "get", "--raw", "/metrics"], capture_output=True, text=True, check=True)
    return done.stdout


def _kubectl() -> list[str]:
    found = sorted(paths.BIN.glob("kubernetes-v*/kubectl"))
    if not found:
        raise LabError("kubectl is not in the cache. Fix: make lab-up")
    return [str(found[-1]), "--kubeconfig", str(paths.KUBECONFIG)]


def _playbook(task: dict[str, Any]) -> float:
    """Seconds of a playbook with this one task."""
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [{"name": "Bench", **task}]}
    path = paths.STATE / "bench.yml"
    path.write_text(yaml.safe_dump([play]), encoding="utf-8")
    began = time.monotonic()
    done = subprocess.run(
        [str(PLAYBOOKS / "ansible-playbook"), "-i", "localhost,", str(path)],
        cwd=paths.REPO,
        env={**os.environ, "K8S_AUTH_KUBECONFIG": str(paths.KUBECONFIG), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"the playbook failed: {done.stdout[-800:]}{done.stderr[-400:]}")
    return time.monotonic() - began


def _measure(what: str, nodes: int, work: Callable[[str], float], key: str) -> Row:
    print(f"bench | {what}", flush=True)
    before = requests()
    seconds = work(key.rstrip(":").replace(":", ""))
    return {"method": what, "nodes": nodes, "seconds": round(seconds, 2), "requests": int(requests() - before)}


def _definition(key: str, node: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {f"bench.example.com/{key}": "x"}}}


def _label_with_kubectl(key: str) -> float:
    began = time.monotonic()
    command = [*_kubectl(), "label", "nodes", "--all", f"bench.example.com/{key}=x"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def _ours(key: str) -> dict[str, Any]:
    wanted = {name(index): {f"bench.example.com/{key}": "x"} for index in range(NODES)}
    return {"katagpu.cluster.node_labels": {"nodes": wanted}}


def _listed(key: str) -> dict[str, Any]:
    definitions = [_definition(key, name(index)) for index in range(NODES)]
    return {"kubernetes.core.k8s": {"state": "patched", "definition": definitions}}


def _looped(key: str) -> dict[str, Any]:
    return {
        "kubernetes.core.k8s": {"state": "patched", "definition": "{{ item }}"},
        "loop": [_definition(key, name(index)) for index in range(LOOP)],
        "loop_control": {"label": ""},
    }


def methods() -> list[Row]:
    """Each is run several times with labels of its own, and its fastest run counts."""
    empty = {"ansible.builtin.debug": {"msg": ""}}
    idle = min(_playbook(empty) for _run in range(RUNS))

    def best(what: str, nodes: int, work: Callable[[str], float], runs: int = RUNS) -> Row:
        return min((_measure(what, nodes, work, f"{what.split()[0]}-{run}") for run in range(runs)), key=_seconds)

    rows = [
        best("node_labels", NODES, lambda key: _playbook(_ours(key)) - idle),
        best("again: node_labels", NODES, lambda key: _playbook(_ours("node_labels-0")) - idle),
        best("list: kubernetes.core.k8s", NODES, lambda key: _playbook(_listed(key)) - idle),
        best(f"loop: kubernetes.core.k8s, {LOOP} nodes", LOOP, lambda key: _playbook(_looped(key)) - idle, runs=1),
        best("kubectl label nodes --all", NODES, _label_with_kubectl),
    ]
    for row in rows:
        row["seconds_for_all"] = round(row["seconds"] * NODES / row["nodes"], 1)
        row["times_ours"] = round(row["seconds_for_all"] / rows[0]["seconds"], 1)
    return rows


def _seconds(row: Row) -> float:
    return float(row["seconds"])


def judge(rows: list[Row]) -> list[dict[str, Any]]:
    first, again, listed, looped = rows[:4]
    texts = [
        (first["requests"] <= NODES + 4, f"first run: {first['requests']} requests, at most {NODES + 4}"),
        (again["requests"] <= 4, f"again: {again['requests']} requests, at most 4"),
        (
            listed["times_ours"] >= 3,
            f"a list of kubernetes.core.k8s takes {listed['times_ours']} times as long, at least 3",
        ),
        (looped["times_ours"] >= 100, f"its loop takes {looped['times_ours']} times as long, at least 100"),
    ]
    return [{"kept": bool(kept), "text": text} for kept, text in texts]


def table(rows: list[Row]) -> str:
    lines = [f"{'method':<36}{'seconds':>9}{'for 1000':>10}{'times ours':>12}{'requests':>10}"]
    for row in rows:
        lines.append(
            f"{row['method']:<36}{row['seconds']:>9.2f}{row['seconds_for_all']:>10.1f}"
            f"{row['times_ours']:>12.1f}{row['requests']:>10}"
        )
    return "\n".join(lines)


def _require_free_port() -> None:
    with socket.socket() as probe:
        if probe.connect_ex((server.ADDRESS, server.API_PORT)) == 0:
            raise LabError(f"port {server.API_PORT} is taken, probably by the lab. Fix: make lab-down")


def _create_nodes() -> None:
    client = server.api()
    with ThreadPoolExecutor(max_workers=8) as pool:
        body = {"apiVersion": "v1", "kind": "Node"}
        list(pool.map(lambda i: client.create("/api/v1/nodes", {**body, "metadata": {"name": name(i)}}), range(NODES)))


def run() -> tuple[list[Row], list[dict[str, Any]]]:
    _require_free_port()
    server.cluster_up(lambda text: print(f"bench | {text}", flush=True))
    try:
        for controller in ("kube-controller-manager", "kube-scheduler"):
            processes.stop(controller)
        _create_nodes()
        rows = methods()
    finally:
        server.cluster_down()
    return rows, judge(rows)
