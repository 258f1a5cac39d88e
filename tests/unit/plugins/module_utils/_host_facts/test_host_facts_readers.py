# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._host_facts import nodes, platform
from ansible_collections.katagpu.cluster.plugins.module_utils._host_facts.collect import READERS, Request, collect
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet.facts import read_facts as read_kubelet
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.facts import devices_from_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import machines
from tests.unit.plugins.module_utils._vfio import vfio_support as support


def large_machine() -> dict[str, Any]:
    """Eight GPUs behind eight ports, and 184 virtual functions of network cards, each in a group of its own."""
    pci = [support.function(f"0000:{16 + index:02x}:00.0", "port", group=index) for index in range(8)]
    pci += [
        support.function(f"0000:{32 + index:02x}:00.0", "a10", group=100 + index, parent=f"0000:{16 + index:02x}:00.0")
        for index in range(8)
    ]
    pci += [
        support.function(f"0000:{64 + index // 32:02x}:{index % 32:02x}.0", "nic", group=200 + index)
        for index in range(184)
    ]
    files = {
        f"/sys/kernel/iommu_groups/{entry['group']}/reserved_regions": "0x00000000fee00000 0x00000000feefffff msi\n" * 3
        for entry in pci
    }
    bars = "".join(
        f"0x{0x380000000000 + index:016x} 0x{0x380FFFFFFFFF + index:016x} 0x000000000014220c\n" for index in range(6)
    )
    for entry in pci:
        entry["files"] = {"resource": bars}
    return {"pci": pci, "files": files}


def test_a_machine_with_200_functions_stays_below_100_kib(tmp_path: Path) -> None:
    root = HostRoot(str(machines.build(large_machine(), tmp_path)))
    compact, full = (collect(root, Request(full=value)) for value in (False, True))
    assert len(json.dumps(compact)) < 100 * 1024 < len(json.dumps(full))
    assert len(compact["pci"]["devices"]) == len(full["pci"]["devices"]) == 200
    gpus = [device for device in devices_from_facts(compact["pci"]) if device.is_nvidia_gpu]
    assert gpus == [device for device in devices_from_facts(full["pci"]) if device.is_nvidia_gpu]
    assert [device.driver for device in devices_from_facts(compact["pci"])] == [
        device.driver for device in devices_from_facts(full["pci"])
    ]
    assert len(compact["iommu"]["groups"]) == 200
    assert compact["iommu"]["groups"]["100"] == full["iommu"]["groups"]["100"]


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a reader started a process")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    monkeypatch.setattr("os.fork", forbidden)
    monkeypatch.setattr("os.system", forbidden)
    root = support.build(tmp_path)
    assert set(collect(root, Request())) == {"schema", "seconds", *READERS}


def test_an_empty_tree_is_no_error(tmp_path: Path) -> None:
    facts = collect(HostRoot(str(tmp_path)), Request(artifacts_dirs=("/a",)))
    assert facts["pci"]["devices"] == [] and facts["devices"]["/dev/kvm"] is False
    json.dumps(facts)


def test_texts_are_capped(tmp_path: Path) -> None:
    (tmp_path / "var/lib/kubelet").mkdir(parents=True)
    (tmp_path / "var/lib/kubelet/config.yaml").write_text("x" * 1_000_000)
    assert len(read_kubelet(HostRoot(str(tmp_path)))["config"]["text"]) == 32 * 1024


def test_a_text_that_is_parsed_is_whole_or_none(tmp_path: Path) -> None:
    """A cut text would be judged as if the file were broken."""
    texts = {"/etc/containerd/config.toml": "a = 1\n" * 10_000, "/etc/cdi/nvidia.yaml": "# x\n" * 100_000}
    machines.build({"files": texts}, tmp_path)
    root = HostRoot(str(tmp_path))
    assert nodes.read_containerd(root)["configs"] == {
        "/etc/containerd/config.toml": texts["/etc/containerd/config.toml"]
    }
    assert nodes.read_cdi(root) == {"/etc/cdi/nvidia.yaml": None}


def test_files_are_handed_over_as_they_are(tmp_path: Path) -> None:
    files = {
        "/var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\n",
        "/var/lib/kubelet/kubeadm-flags.env": "KUBELET_KUBEADM_ARGS=--x\n",
        "/etc/containerd/config.toml": "version = 2\n",
        "/etc/containerd/conf.d/nvidia.toml": "version = 2\n",
        "/etc/containerd/conf.d/notes.txt": "",
        "/run/cdi/nvidia.com-pgpu.yaml": "cdiVersion: 0.5.0\n",
        "/opt/a/kata/config.toml": "",
        "/opt/a/readme": "",
        "/dev/vfio/vfio": "",
        "/dev/vfio/12": "",
        "/dev/vfio/devices/vfio0": "",
        "/dev/vfio/devices/vfio1": "",
        "/dev/kvm": "",
    }
    function = {"/sys/class/vfio-dev/vfio0/device": "/sys/devices/pci0000:64/0000:65:00.0"}
    machines.build({"files": files, "links": {"/var/run": "/run", **function}}, tmp_path)
    root = HostRoot(str(tmp_path))
    assert read_kubelet(root)["config"]["text"] == "kind: KubeletConfiguration\n"
    assert list(read_kubelet(root)["flags"]) == ["/var/lib/kubelet/kubeadm-flags.env"]
    assert nodes.read_containerd(root) == {
        "configs": {"/etc/containerd/config.toml": "version = 2\n"},
        "drop_ins": {"/etc/containerd/conf.d/nvidia.toml": "version = 2\n"},
        "socket": False,
    }
    assert nodes.read_cdi(root) == {"/var/run/cdi/nvidia.com-pgpu.yaml": "cdiVersion: 0.5.0\n"}
    assert nodes.read_artifacts(root, ["/opt/a", "/opt/b"]) == {
        "/opt/a": ["kata/config.toml", "readme"],
        "/opt/b": None,
    }
    devices = nodes.read_devices(root)
    assert devices["/dev/kvm"] is True and devices["/dev/vfio"] == ["12"] and devices["/dev/iommu"] is False
    assert devices["/dev/vfio/devices"] == {"vfio0": "0000:65:00.0", "vfio1": None}


def test_os_release_keeps_what_is_asked_for() -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\nHOME_URL="https://example.com"\n'
    assert platform.parse_os_release(text) == {
        "pretty_name": "Debian GNU/Linux 13 (trixie)",
        "id": "debian",
        "version_id": "13",
    }


@pytest.mark.parametrize(
    ("files", "guest", "hypervisor"),
    [
        ({"/proc/cpuinfo": "flags\t\t: fpu vmx hypervisor\n"}, True, None),
        ({"/proc/cpuinfo": "flags\t\t: fpu vmx\n", "/sys/class/dmi/id/sys_vendor": "Dell Inc.\n"}, False, None),
        ({"/sys/class/dmi/id/sys_vendor": "QEMU\n"}, True, "qemu"),
        ({"/sys/class/dmi/id/sys_vendor": "Microsoft Corporation\n"}, False, None),
    ],
)
def test_virtualization_hints(tmp_path: Path, files: dict[str, str], guest: bool, hypervisor: str | None) -> None:
    machines.build({"files": files}, tmp_path)
    found = platform.read_virtualization(HostRoot(str(tmp_path)))
    assert (found["guest"], found["hypervisor"]) == (guest, hypervisor)
