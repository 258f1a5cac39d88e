# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines for the tests of bindings, and a stand-in for the kernel behind their sysfs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Number
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.run import Host
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.writer import Outcome
from tests.unit import machines

GPU, AUDIO, GPU2, AUDIO2 = "0000:65:00.0", "0000:65:00.1", "0000:b3:00.0", "0000:b3:00.1"
PORT, BMC, NVME, NIC = "0000:64:00.0", "0000:03:00.0", "0000:01:00.0", "0000:02:00.0"
BOOT_ID = "4f746628-5775-4479-aaaa-394c0faedef9"
JOURNAL = "var/lib/katagpu/journal.json"
RULES = "etc/udev/rules.d/10-katagpu-vfio.rules"
MODULES_LOAD = "etc/modules-load.d/katagpu-vfio.conf"
UNIT = "etc/systemd/system/katagpu-vfio.service"
WANTED = "etc/systemd/system/multi-user.target.d/katagpu-vfio.conf"
PERSISTENT = {f"/{path}" for path in (RULES, MODULES_LOAD, UNIT, WANTED)}


def function(address: str, kind: str, **changes: Any) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "a6000": {"class": "0300", "vendor": "10de", "device": "2230", "subsystem": "10de:1459", "driver": "nouveau"},
        "a10": {"class": "0302", "vendor": "10de", "device": "2236", "subsystem": "10de:1482", "driver": "nouveau"},
        "audio": {
            "class": "0403", "vendor": "10de", "device": "1aef", "subsystem": "10de:1459", "driver": "snd_hda_intel",
        },
        "nvme": {"class": "010802", "vendor": "144d", "device": "a808", "driver": "nvme"},
        "nic": {"class": "0200", "vendor": "8086", "device": "1592", "driver": "ice"},
        "bmc": {"class": "0300", "vendor": "1a03", "device": "2000", "driver": "ast", "boot_vga": 1},
        "port": {"class": "0604", "vendor": "8086", "device": "347a", "driver": "pcieport"},
    }  # fmt: skip
    return {"address": address, **kinds[kind], **changes}


def description(**changes: Any) -> dict[str, Any]:
    """Two cards of the same model with their audio functions, a BMC display, the root disk and the network card."""
    pci = [
        function(NVME, "nvme", group=1),
        function(NIC, "nic", group=2),
        function(BMC, "bmc", group=3),
        function(PORT, "port", group=11),
        function(GPU, "a6000", group=12, parent=PORT, boot_vga=0),
        function(AUDIO, "audio", group=12, parent=PORT),
        function(GPU2, "a6000", group=13, boot_vga=0),
        function(AUDIO2, "audio", group=13),
    ]
    disk = f"/sys/devices/pci0000:01/{NVME}/nvme/nvme0/nvme0n1"
    data: dict[str, Any] = {
        "pci": pci,
        "files": {
            "/proc/sys/kernel/osrelease": "6.12.0-test\n",
            "/proc/sys/kernel/hostname": "gpu-03\n",
            "/proc/sys/kernel/random/boot_id": f"{BOOT_ID}\n",
            "/proc/1/mountinfo": "22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
            "30 22 259:1 / /boot rw shared:2 - ext4 /dev/nvme0n1p1 rw\n"
            "31 22 0:5 / /proc rw - proc proc rw\n",
            "/proc/net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
            "bond0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
            "bond0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
            "/lib/modules/6.12.0-test/modules.dep": "kernel/drivers/vfio/pci/vfio-pci.ko.xz: \n",
            "/lib/modules/6.12.0-test/modules.alias": "alias pci:v000010DE* nouveau\n"
            "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n"
            "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\n",
            f"{disk}/nvme0n1p1/dev": "259:1\n",
            f"{disk}/nvme0n1p2/dev": "259:2\n",
            f"/sys/devices/pci0000:64/{PORT}/{GPU}/drm/card1/dev": "226:1\n",
            f"/sys/devices/pci0000:64/{PORT}/{AUDIO}/sound/card0/pcmC0D3p/dev": "116:3\n",
        },
        "links": {
            "/sys/dev/block/259:1": f"{disk}/nvme0n1p1",
            "/sys/dev/block/259:2": f"{disk}/nvme0n1p2",
            "/sys/class/block/nvme0n1": disk,
            "/sys/class/block/nvme0n1p1": f"{disk}/nvme0n1p1",
            "/sys/class/block/nvme0n1p2": f"{disk}/nvme0n1p2",
            "/sys/class/net/bond0/lower_ens1": "/sys/class/net/ens1",
            "/sys/class/net/ens1/device": f"/sys/bus/pci/devices/{NIC}",
        },
    }
    data.update(changes)
    return data


def change(data: dict[str, Any], address: str, **changes: Any) -> dict[str, Any]:
    data["pci"] = [{**entry, **changes} if entry["address"] == address else entry for entry in data["pci"]]
    return data


def without(data: dict[str, Any], *addresses: str) -> dict[str, Any]:
    data["pci"] = [entry for entry in data["pci"] if entry["address"] not in addresses]
    return data


def build(tmp_path: Path, data: dict[str, Any] | None = None) -> HostRoot:
    tree = tmp_path / "host"
    tree.mkdir()
    machines.build(data or description(), tree)
    (tree / "sys/bus/pci/drivers_probe").write_text("")
    (tree / "sys/bus/pci/drivers/vfio-pci").mkdir(parents=True, exist_ok=True)
    (tree / "dev/vfio").mkdir(parents=True, exist_ok=True)
    return HostRoot(str(tree))


def snapshot(root: HostRoot) -> dict[str, str]:
    """Path to content, link target or folder; nothing of the tree is left out."""
    found = {}
    for folder, folders, files in os.walk(root.root):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found[path] = f"link {os.readlink(path)}"
            elif os.path.isdir(path):
                found[path] = f"folder {os.stat(path).st_mode:o}"
            else:
                found[path] = f"{os.stat(path).st_mode:o} {Path(path).read_bytes()!r}"
    return found


class SimulatedKernel:
    """Stands in for sysfs writes: what the kernel does for override, unbind and probe, and ways in which it fails."""

    def __init__(self, root: HostRoot, natural: dict[str, str] | None = None) -> None:
        self.root = root
        self.natural = natural or {GPU: "nouveau", AUDIO: "snd_hda_intel", GPU2: "nouveau", AUDIO2: "snd_hda_intel"}
        self.writes: list[tuple[str, str]] = []
        self.ignores_probe: set[str] = set()
        self.hangs_on_unbind: set[str] = set()
        self.keeps_on_unbind: set[str] = set()

    def write(self, path: str, text: str) -> Outcome:
        self.writes.append((path, text))
        if path.endswith("/driver_override"):
            self._file(path).write_text(text.strip() + "\n" if text.strip() else "(null)\n")
        elif path.endswith("/driver/unbind"):
            if text in self.hangs_on_unbind:
                return Outcome(False, wedged=True, error="the write did not return within 30 seconds")
            if text not in self.keeps_on_unbind:
                self._unbind(text)
        elif path == "/sys/bus/pci/drivers_probe":
            self._probe(text)
        else:
            return Outcome(False, error=f"no attribute {path}")
        return Outcome(True)

    def driver(self, address: str) -> str | None:
        return self.root.link_name(f"/sys/bus/pci/devices/{address}/driver")

    def override(self, address: str) -> str | None:
        return self.root.read_line(f"/sys/bus/pci/devices/{address}/driver_override")

    def _file(self, path: str) -> Path:
        return Path(self.root.path(path))

    def _unbind(self, address: str) -> None:
        link = self._file(f"/sys/bus/pci/devices/{address}/driver")
        assert link.is_symlink(), "the kernel answers ENODEV"
        (link.resolve() / address).unlink()
        link.unlink()

    def _probe(self, address: str) -> None:
        override = self.override(address)
        driver = self.natural.get(address) if override == "(null)" else override
        if address in self.ignores_probe or driver is None or self.driver(address) is not None:
            return
        folder = self._file(f"/sys/bus/pci/drivers/{driver}")
        folder.mkdir(parents=True, exist_ok=True)
        device = self._file(f"/sys/bus/pci/devices/{address}").resolve()
        machines._link(device / "driver", f"/sys/bus/pci/drivers/{driver}", Path(self.root.root))
        (folder / address).touch()
        group = self.root.link_name(f"/sys/bus/pci/devices/{address}/iommu_group")
        if "vfio" in driver and group:
            self._file(f"/dev/vfio/{group}").touch()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self.on_sleep()


def nodes_by_name(numbers: dict[str, Number]) -> Callable[[str], Number | None]:
    """A stand-in for the state of device nodes, which a test cannot make: the link's target names the node."""

    def stat_node(path: str) -> Number | None:
        return numbers.get(os.readlink(path)) if os.path.islink(path) else None

    return stat_node


def open_node(root: HostRoot, process: int, name: str, target: str) -> None:
    folder = Path(root.path(f"/proc/{process}/fd"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(len(list(folder.iterdir())))).symlink_to(target)
    Path(root.path(f"/proc/{process}/comm")).write_text(f"{name}\n")


def host(root: HostRoot, kernel: SimulatedKernel, clock: Clock | None = None, **changes: Any) -> Host:
    time = clock or Clock()
    options: dict[str, Any] = {"execute": lambda command: None, "sleep": time.sleep, "clock": time, "runs_here": True}
    return Host(root, kernel, **{**options, **changes})
