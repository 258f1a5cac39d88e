# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI functions of the node through sysfs, and the writes that change a driver. No behaviour of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

NVIDIA = "10de"
GPU_CLASSES = ("030000", "030200")
NVSWITCH_CLASS = "068000"
CONSUMER = "consumer:pci:"
# Drivers that leave an IOMMU group viable: VFIO and its variants, pci-stub, and the port driver of bridges.
HARMLESS = ("vfio-pci", "pci-stub", "pcieport")


@dataclass(frozen=True)
class Function:
    """One PCI function as it is now."""

    address: str
    vendor: str
    device: str
    class_code: str
    driver: str  # empty: none
    group: str  # empty: no IOMMU

    @property
    def is_nvidia_gpu(self) -> bool:
        return self.vendor == NVIDIA and self.class_code in GPU_CLASSES

    @property
    def harmless(self) -> bool:
        """Whether the function leaves its group viable."""
        variant = "vfio" in self.driver
        return not self.driver or variant or self.driver in HARMLESS or self.class_code.startswith("06")


class Sysfs:
    """Reads and writes below `root`; on an API-only node the kernel's part is played by SimulatedSysfs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bus = root / "sys/bus/pci"

    def _text(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    @staticmethod
    def _link(path: Path) -> str:
        try:
            return os.path.basename(os.readlink(path))
        except OSError:
            return ""

    def function(self, address: str) -> Function:
        path = self.bus / "devices" / address
        return Function(
            address=address,
            vendor=self._text(path / "vendor").removeprefix("0x"),
            device=self._text(path / "device").removeprefix("0x"),
            class_code=self._text(path / "class").removeprefix("0x"),
            driver=self._link(path / "driver"),
            group=self._link(path / "iommu_group"),
        )

    def functions(self) -> list[Function]:
        """All functions in the order of their addresses."""
        try:
            names = sorted(os.listdir(self.bus / "devices"))
        except OSError:
            return []
        return [self.function(name) for name in names]

    def gpus(self) -> list[Function]:
        return [one for one in self.functions() if one.is_nvidia_gpu]

    def nvswitches(self) -> list[Function]:
        return [one for one in self.functions() if one.vendor == NVIDIA and one.class_code == NVSWITCH_CLASS]

    def consumers(self, address: str) -> list[str]:
        """Addresses of the functions that the kernel links to this one as consumers, in the order of the links' names."""
        try:
            names = sorted(os.listdir(self.bus / "devices" / address))
        except OSError:
            return []
        return [name.removeprefix(CONSUMER) for name in names if name.startswith(CONSUMER)]

    def cdev(self, address: str) -> str:
        """Name of the VFIO character device of a function (vfio0), empty where the kernel has none."""
        try:
            names = sorted(os.listdir(self.bus / "devices" / address / "vfio-dev"))
        except OSError:
            return ""
        return names[0] if names else ""

    def modalias(self, address: str) -> str:
        return self._text(self.bus / "devices" / address / "modalias")

    def group_members(self, group: str) -> list[Function]:
        try:
            names = sorted(os.listdir(self.root / "sys/kernel/iommu_groups" / group / "devices"))
        except OSError:
            return []
        return [self.function(name) for name in names]

    def _write(self, path: Path, text: str) -> None:
        # Without O_CREAT: a missing sysfs file is an error and must not become a file.
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def unbind(self, function: Function) -> None:
        """Take a function from its driver and empty driver_override; nothing where it has no driver."""
        if not function.driver:
            return
        self._write(self.bus / "drivers" / function.driver / "unbind", function.address)
        self._write(self.bus / "devices" / function.address / "driver_override", "\n")

    def release(self, function: Function) -> None:
        """The same in the other order, and driver_override is emptied in any case."""
        self._write(self.bus / "devices" / function.address / "driver_override", "\n")
        if function.driver:
            self._write(self.bus / "drivers" / function.driver / "unbind", function.address)

    def bind(self, function: Function, driver: str) -> None:
        """driver_override, then bind; an OSError where the kernel refuses."""
        self._write(self.bus / "devices" / function.address / "driver_override", driver)
        self._write(self.bus / "drivers" / driver / "bind", function.address)

    def load(self, module: str) -> str:
        """modprobe; returns its complaint or nothing."""
        return self._command(["modprobe", module])

    def unload(self, module: str) -> str:
        return self._command(["rmmod", module])

    def loaded(self, module: str) -> bool:
        return (self.root / "sys/module" / module.replace("-", "_")).is_dir()

    def _command(self, argv: list[str]) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return "" if done.returncode == 0 else (done.stderr or done.stdout).strip() or f"{argv[0]} failed"


class SimulatedSysfs(Sysfs):
    """Plain files and links: what the kernel would do after a write is done here."""

    def unbind(self, function: Function) -> None:
        if not function.driver:
            return
        (self.bus / "devices" / function.address / "driver").unlink()
        (self.bus / "drivers" / function.driver / function.address).unlink(missing_ok=True)
        (self.bus / "devices" / function.address / "driver_override").write_text("(null)\n", encoding="utf-8")

    def release(self, function: Function) -> None:
        self.unbind(function)
        (self.bus / "devices" / function.address / "driver_override").write_text("(null)\n", encoding="utf-8")

    def bind(self, function: Function, driver: str) -> None:
        directory = self.bus / "drivers" / driver
        if not directory.is_dir():
            raise FileNotFoundError(2, "No such file or directory", str(directory / "bind"))
        (self.bus / "devices" / function.address / "driver_override").write_text(f"{driver}\n", encoding="utf-8")
        current = self.function(function.address)
        if current.driver:
            raise OSError(16, "Device or resource busy")
        if driver == "vfio-pci" and not current.group:
            raise OSError(22, "Invalid argument")
        (self.bus / "devices" / function.address / "driver").symlink_to(directory)

    def load(self, module: str) -> str:
        (self.root / "sys/module" / module.replace("-", "_")).mkdir(parents=True, exist_ok=True)
        if module == "vfio-pci":
            (self.bus / "drivers" / module).mkdir(parents=True, exist_ok=True)
        return ""

    def unload(self, module: str) -> str:
        path = self.root / "sys/module" / module.replace("-", "_")
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        return ""


def sysfs(root: Path, simulated: bool) -> Sysfs:
    """The right one for a node."""
    return SimulatedSysfs(root) if simulated else Sysfs(root)
