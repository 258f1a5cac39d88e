# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node agent's accounting of devices, its Node object, logs and plain containers."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.lab import nodes
from tests.lab.node import nodeobject
from tests.lab.node.config import CAPACITY, Config, Facts, Store, os_image, read_facts
from tests.lab.node.devices import AdmissionError, DeviceTable, requests
from tests.lab.node.logs import Logs, tail
from tests.lab.node.plain import understood

A10 = "nvidia.com/GA102GL_A10"
FACTS = Facts("boot", "machine", "6.12", "Debian", "amd64")
CONFIG = Config("kata-a10", "127.0.0.11", "https://x", "t", "c", "s", "k")


def pod(count: int = 1, resource: str = A10) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "resources": {"limits": {resource: str(count), "cpu": "1"}}}]}}


def table(*devices: str) -> DeviceTable:
    result = DeviceTable()
    result.published[A10] = list(devices)
    return result


def test_requests_are_extended_resources_only() -> None:
    assert requests(pod(2)) == {A10: 2}
    assert requests(pod(1, "hugepages.kubernetes.io/x")) == {}


def test_devices_are_given_once() -> None:
    devices = table("a", "b")
    assert devices.admit("p1", pod()) == {A10: ["a"]}
    assert devices.admit("p2", pod()) == {A10: ["b"]}
    with pytest.raises(AdmissionError, match="Requested: 1, Available: 0"):
        devices.admit("p3", pod())
    devices.release("p1")
    assert devices.admit("p3", pod()) == {A10: ["a"]}


def test_a_pod_keeps_its_device_when_it_is_admitted_again() -> None:
    devices = table("a", "b")
    devices.admit("p1", pod())
    devices.admit("p2", pod())
    restored = DeviceTable(json.loads(json.dumps(devices.checkpoint())))
    restored.published[A10] = ["a", "b"]
    assert restored.admit("p2", pod()) == {A10: ["b"]}


def test_a_stopped_plugin_leaves_the_resource_at_zero() -> None:
    devices = table("a")
    assert devices.counts() == {A10: "1"}
    del devices.published[A10]
    assert devices.counts() == {A10: "0"}
    assert DeviceTable(devices.checkpoint()).counts() == {A10: "0"}
    with pytest.raises(AdmissionError, match="no healthy devices present; cannot allocate unhealthy devices"):
        devices.admit("p", pod())


def test_resources_of_no_plugin_are_left_to_the_scheduler() -> None:
    assert DeviceTable().admit("p", pod()) == {}


def test_node_status() -> None:
    status = nodeobject.node_status(CONFIG, FACTS, "containerd://1.7.24", {"kata"}, {A10: "1"}, "")
    assert status["allocatable"] == {**CAPACITY, A10: "1"}
    assert status["nodeInfo"]["bootID"] == "boot"
    assert {"type": "InternalIP", "address": "127.0.0.11"} in status["addresses"]
    assert status["conditions"][-1]["status"] == "True"
    assert status["runtimeHandlers"] is None
    status = nodeobject.node_status(CONFIG, FACTS, "containerd://2.1.0", {"kata"}, {}, "container runtime is down")
    assert [item["name"] for item in status["runtimeHandlers"]] == ["", "runc", "kata"]
    assert (status["conditions"][-1]["status"], status["conditions"][-1]["reason"]) == ("False", "KubeletNotReady")


def test_node_conditions_keep_their_transition_time() -> None:
    known: dict[str, tuple[str, str]] = {}
    status = nodeobject.node_status(CONFIG, FACTS, "x", set(), {}, "")
    first = nodeobject.with_times(status, known, 0.0)["conditions"][-1]
    second = nodeobject.with_times(status, known, 60.0)["conditions"][-1]
    assert first["lastTransitionTime"] == second["lastTransitionTime"]
    assert first["lastHeartbeatTime"] != second["lastHeartbeatTime"]


def test_pod_addresses_differ() -> None:
    assert len({nodeobject.pod_ip(node, number) for node in ("a", "b") for number in range(200)}) == 400


def test_facts_are_read_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b-1\n")
    facts = read_facts(tmp_path)
    assert (facts.boot_id, facts.kernel, facts.os_image) == ("b-1", "", "Linux")
    assert os_image('ID=debian\nPRETTY_NAME="Debian 13"\n') == "Debian 13"


def test_a_broken_state_file_counts_as_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("x", {"a": 1})
    assert store.load("x") == {"a": 1}
    (tmp_path / "x.json").write_text('{"a":')
    assert store.load("x") == {}


@pytest.mark.parametrize(
    ("lines", "limit", "expected"),
    [(None, None, b"1\n2\n3\n"), (2, None, b"2\n3\n"), (9, None, b"1\n2\n3\n"), (0, None, b""), (None, 3, b"1\n2")],
)
def test_tail(lines: int | None, limit: int | None, expected: bytes) -> None:
    assert tail(b"1\n2\n3\n", lines, limit) == expected


def test_logs_of_forgotten_pods_are_removed(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    one, two = ({"metadata": {"namespace": "n", "name": "p", "uid": uid}} for uid in ("u1", "u2"))
    logs.add(one, "c", 0, "text")
    logs.add(two, "c", 0, "text")
    assert logs.path(one, "c", 0).read_text() == "text\n"
    logs.keep_only({"u1"})
    assert logs.directory(one).is_dir()
    assert not logs.directory(two).exists()


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        (["/bin/true"], [["true"]]),
        (["sh", "-c", "echo a 'b c'; sleep 2 && exit 3"], [["echo", "a", "b c"], ["sleep", "2"], ["exit", "3"]]),
        (["sh", "-c", "echo a | tee b"], []),
        (["sh", "-c", "sleep 1 & echo a"], []),
        (["sleep", "infinity"], []),
        (["nginx"], []),
        (["sh", "-c", "echo 'unfinished"], []),
        ([], []),
    ],
)
def test_commands_of_plain_containers(words: list[str], commands: list[list[str]]) -> None:
    assert understood(words) == commands


def test_the_digest_sees_names_and_contents() -> None:
    assert nodes.digest_of({"a": b"1"}) == nodes.digest_of({"a": b"1"})
    assert len({nodes.digest_of(one) for one in ({"a": b"1"}, {"a": b"2"}, {"b": b"1"}, {"a": b"1", "b": b""})}) == 4


def test_the_archive_keeps_credentials_private() -> None:
    data = nodes.archive({"etc/katalab/token": b"t", "opt/katalab/node/a.py": b"x"})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {item.name: item.mode for item in tar} == {"etc/katalab/token": 0o600, "opt/katalab/node/a.py": 0o644}


def test_agent_files_are_the_package_without_caches() -> None:
    files = nodes.agent_files()
    assert {"agent.py", "behaviour.py", "behaviours/__init__.py"} <= set(files)
    assert not any("__pycache__" in name for name in files)


def test_agent_config_is_what_the_agent_reads(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(nodes.agent_config("kata-a10", "127.0.0.11", "/etc/katalab")))
    assert Config.load(path).token_file == "/etc/katalab/token"
    assert Config.load(path).kubelet_version.startswith("v1.")


@pytest.mark.parametrize(("told", "claimed"), [("", "containerd://2.2.1"), ("1.7.24", "containerd://1.7.24")])
def test_a_new_node_claims_the_container_runtime_it_is_told(
    monkeypatch: pytest.MonkeyPatch, told: str, claimed: str
) -> None:
    if told:
        monkeypatch.setenv("KATAGPU_LAB_CONTAINERD", told)
    else:
        monkeypatch.delenv("KATAGPU_LAB_CONTAINERD", raising=False)
    assert nodes.agent_config("n", "a", "d")["container_runtime_version"] == claimed
