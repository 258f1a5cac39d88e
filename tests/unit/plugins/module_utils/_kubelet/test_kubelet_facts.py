# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host hands over, and what it writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet import facts, flags, write
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import machines

CONFIG = "/var/lib/kubelet/config.yaml"
KUBEADM_UNIT = """[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/other.yaml"
# --config=/commented
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS
"""


def process(pid: int, name: str, started: int, line: str = "", unit: str = "kubelet.service") -> dict[str, str]:
    fields = " ".join(["S", *["0"] * 18, str(started), "0"])
    return {
        f"/proc/{pid}/stat": f"{pid} (a ) b) {fields}\n",
        f"/proc/{pid}/comm": f"{name}\n",
        f"/proc/{pid}/cmdline": line.replace(" ", "\0") + "\0",
    }


def group(unit: str, *pids: int, under: str = "/sys/fs/cgroup/system.slice") -> dict[str, str]:
    return {f"{under}/{unit}/cgroup.procs": "".join(f"{pid}\n" for pid in pids)}


def read(tmp_path: Path, files: dict[str, str]) -> dict[str, Any]:
    machines.build({"files": files}, tmp_path)
    return facts.read_facts(HostRoot(str(tmp_path)))


def test_an_empty_host_is_no_error(tmp_path: Path) -> None:
    found = read(tmp_path, {})
    assert found["config"] is None and found["process"] is None and found["units"] == [] and found["flags"] == {}


def test_the_running_kubelet_says_where_its_files_are(tmp_path: Path) -> None:
    line = "/usr/bin/kubelet --config /etc/k/config.yaml --config-dir=/etc/k/conf.d"
    content = "kind: KubeletConfiguration\n"
    found = read(
        tmp_path,
        {
            **group("kubelet.service", 812, under="/sys/fs/cgroup/runtime.slice"),
            **process(812, "kubelet", 4711, line),
            CONFIG: "not read\n",
            "/etc/k/config.yaml": content,
            "/etc/k/conf.d/10-a.conf": "a: 1\n",
            "/etc/k/conf.d/10-a.conf.812.2026~": "a: 1\n",
        },
    )
    assert found["process"]["pid"] == "812" and found["process"]["started"] == "4711"
    assert found["config_path"] == "/etc/k/config.yaml"
    assert found["config"] == {"text": content, "sha256": hashlib.sha256(content.encode()).hexdigest()}
    assert list(found["drop_ins"]) == ["/etc/k/conf.d/10-a.conf"]


def test_a_kubelet_without_a_file_has_none(tmp_path: Path) -> None:
    files = {**group("kubelet.service", 8), **process(8, "kubelet", 1, "kubelet --v=2"), CONFIG: "left over\n"}
    assert read(tmp_path, files)["config"] is None


def test_without_a_process_the_unit_says_where_the_file_is(tmp_path: Path) -> None:
    unit = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"
    found = read(tmp_path, {unit: KUBEADM_UNIT, "/var/lib/kubelet/other.yaml": "a: 1\n"})
    assert found["config_path"] == "/var/lib/kubelet/other.yaml"
    assert flags.of_text(KUBEADM_UNIT)["kubeconfig"] == ["/etc/kubernetes/kubelet.conf"]


def test_shims_that_outlived_a_restart_are_not_the_kubelet(tmp_path: Path) -> None:
    files = {
        **group("k3s.service", 5, 77, 80),
        **process(5, "containerd-shim", 3),
        **process(77, "k3s-server", 900, "/usr/local/bin/k3s server --token secret"),
        **process(80, "containerd", 950),
    }
    found = read(tmp_path, files)["process"]
    assert found == {"unit": "k3s.service", "pid": "77", "started": "900", "arguments": []}


def test_tokens_beside_the_arguments_stay_on_the_host(tmp_path: Path) -> None:
    content = (
        "token: secret\nkubelet-arg:\n- a=b\n# token: secret\n\n  - c=d\nagent-token: secret\n"
        '"kubelet-arg+": [\n  e=f,\n]\nserver: https://x\n'
    )
    words = ["agent", "'--token'", "'secret'", "'--kubelet-arg=feature-gates=A=true'", "'--kubelet-arg'", "'x=y'"]
    unit = "[Service]\nExecStart=/usr/local/bin/k3s \\\n\t" + " \\\n\t".join(words) + "\n"
    found = read(
        tmp_path,
        {
            "/etc/rancher/k3s/config.yaml": content,
            "/etc/rancher/k3s/config.yaml.d/20-x.yml": f"{facts.MARKER}\nkubelet-arg: [g=h]\n",
            "/etc/rancher/k3s/config.yaml.d/30.yaml": "{kubelet-arg: [i=j]}\n",
            "/etc/rancher/k3s/config.yaml.d/notes.txt": "kubelet-arg: [k=l]\n",
            "/etc/systemd/system/k3s-agent.service": unit,
        },
    )
    assert "secret" not in json.dumps(found)
    main = found["arguments"]["/etc/rancher/k3s/config.yaml"]
    assert main["text"] == 'kubelet-arg:\n- a=b\n\n  - c=d\n"kubelet-arg+": [\n  e=f,\n]\n'
    assert main["sha256"] == hashlib.sha256(content.encode()).hexdigest() and not main["marked"]
    assert found["arguments"]["/etc/rancher/k3s/config.yaml.d/20-x.yml"]["marked"]
    assert found["arguments"]["/etc/rancher/k3s/config.yaml.d/30.yaml"]["unclear"]
    assert len(found["arguments"]) == 3
    assert found["unit_arguments"] == {"/etc/systemd/system/k3s-agent.service": ["feature-gates=A=true", "x=y"]}


def test_a_write_keeps_mode_and_leaves_a_copy(tmp_path: Path) -> None:
    machines.build({"files": {CONFIG: "old\n", **group("kubelet.service", 8), **process(8, "kubelet", 7)}}, tmp_path)
    target = tmp_path / CONFIG.lstrip("/")
    target.chmod(0o640)
    root = HostRoot(str(tmp_path))
    copies: list[str] = []

    def backup(path: str) -> str:
        assert Path(path).read_text() == "old\n" and facts.read_facts(root)["pending"] is None
        copies.append(path)
        return path + ".bak"

    done = write.replace(root, CONFIG, "new\n", facts.digest(root, CONFIG), 0o644, backup)
    assert target.read_text() == "new\n" and target.stat().st_mode & 0o777 == 0o640 and copies == [str(target)]
    assert facts.read_facts(root)["pending"] == {
        "unit": "kubelet.service",
        "pid": "8",
        "started": "7",
        "path": CONFIG,
        "backup": done["backup_file"],
    }


def test_a_file_that_changed_meanwhile_is_not_written(tmp_path: Path) -> None:
    machines.build({"files": {CONFIG: "old\n"}}, tmp_path)
    root = HostRoot(str(tmp_path))
    read_digest = facts.digest(root, CONFIG)
    (tmp_path / CONFIG.lstrip("/")).write_text("of somebody else\n")
    for sha256 in (read_digest, None):
        with pytest.raises(KatagpuError, match="changed after it was read"):
            write.replace(root, CONFIG, "new\n", sha256, 0o644, None)

    def meddle(path: str) -> str:
        Path(path).write_text("while the copy was made\n")
        return "x"

    with pytest.raises(KatagpuError, match="changed after it was read"):
        write.replace(root, CONFIG, "new\n", facts.digest(root, CONFIG), 0o644, meddle)
    assert (tmp_path / CONFIG.lstrip("/")).read_text() == "while the copy was made\n"


def test_a_link_below_another_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/link").symlink_to("/elsewhere")
    with pytest.raises(KatagpuError, match="is a link"):
        write.replace(HostRoot(str(tmp_path)), "/etc/link", "x", None, 0o644, None)
