# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's command lines, and whether this machine's KVM can be used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab import paths
from tests.lab.errors import LabError
from tests.lab.machines.profiles import Profile

QEMU = "qemu-system-x86_64"
ACCELERATOR_VARIABLE = "KATAGPU_LAB_ACCEL"
SSH_PORT = 2222
AGENT_PORT = 10250
# A write of the guest to this I/O port ends QEMU at once, as a power cut does.
POWER_PORT = 0x501
SEED_NAME = "opt/katalab.seed"
_PROBE_SECONDS = 30


@dataclass(frozen=True)
class Accelerator:
    """kvm or tcg, and why."""

    name: str
    reason: str

    def describe(self) -> str:
        return f"{self.name.upper()}: {self.reason}"


def _base(accelerator: Accelerator, memory_mib: int, cpus: int, *, bare_metal: bool = False) -> list[str]:
    if accelerator.name == "kvm":
        accel, cpu = "kvm", "host"
    else:
        accel, cpu = "tcg,thread=multi,tb-size=256", "max,la57=off"
    if bare_metal:
        cpu += ",hypervisor=off"
    return [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none",
        # The proxy device shares guest memory with the remote end; SMM would keep SeaBIOS from starting GRUB under TCG.
        "-machine", "q35,kernel-irqchip=split,smm=off,sata=off,smbus=off,i8042=off,memory-backend=mem",
        "-object", f"memory-backend-memfd,id=mem,size={memory_mib}M,share=on",
        "-accel", accel, "-cpu", cpu, "-smp", str(cpus), "-m", str(memory_mib),
        "-device", "virtio-rng-pci,addr=4",
    ]  # fmt: skip


def _disk(disk: Path, form: str, place: str = "addr=3", *, boots: bool = True) -> list[str]:
    # Overlays are thrown away, so the host's page cache need not be flushed when the guest asks.
    return [
        "-drive", f"if=none,id=root,file={_escaped(disk)},format={form},cache=unsafe",
        "-device", f"virtio-blk-pci,drive=root,{place}" + (",bootindex=0" if boots else ""),
    ]  # fmt: skip


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")


def machine_command(profile: Profile, accelerator: Accelerator, overlay: Path, seed: Path, serial: Path) -> list[str]:
    """The whole command line of a machine, less the GPU functions, whose sockets only the supervisor knows."""
    forwards = "".join(
        f",hostfwd=tcp:{profile.address}:{host}-:{guest}" for host, guest in ((SSH_PORT, 22), (AGENT_PORT, AGENT_PORT))
    )
    command = _base(accelerator, profile.memory_mib, profile.cpus, bare_metal=profile.bare_metal)
    command += ["-name", profile.node]
    for device in (*((profile.iommu,) if profile.iommu else ()), *profile.graphics, *profile.ports):
        command += ["-device", device]
    command += _disk(overlay, "qcow2", profile.disk_place)
    network = f"virtio-net-pci,netdev=net,romfile=,{profile.network_place}"
    command += ["-netdev", f"user,id=net{forwards}", "-device", network]
    command += ["-device", f"isa-debug-exit,iobase={POWER_PORT:#x},iosize=1"]
    command += ["-fw_cfg", f"name={SEED_NAME},file={_escaped(seed)}"]
    command += ["-serial", f"file:{_escaped(serial)}", "-rtc", "base=utc"]
    return command


def finish_command(
    accelerator: Accelerator, disk: Path, kernel: Path, initrd: Path, serial: Path, root_uuid: str
) -> list[str]:
    """The image's first boot, with kernel and initrd from outside because the disk has no boot loader yet."""
    command = _base(accelerator, 1024, 2)
    command += _disk(disk, "raw", boots=False)
    command += ["-kernel", str(kernel), "-initrd", str(initrd)]
    command += ["-append", f"root=UUID={root_uuid} ro console=ttyS0 quiet katalab.finish"]
    command += ["-serial", f"file:{_escaped(serial)}", "-no-reboot"]
    return command


def _probe_key() -> str:
    version = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return f"{version} | {os.uname().release} | {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"


def judge_probe(console: str, errors: str, exit_status: int | None) -> Accelerator | None:
    """What a probe boot's output says so far; None while it says nothing yet.

    The kernel is given no root, so a panic about the missing root means that it booted all the way.
    """
    if "Unable to mount root" in console or "VFS: Cannot open root" in console:
        return Accelerator("kvm", "a kernel booted under it")
    complaint = re.search(
        r"KVM internal error.*|failed to set MSR.*|Could not access KVM.*|failed to initialize kvm.*", errors
    )
    if complaint:
        return Accelerator("tcg", f"KVM is unusable here ({complaint.group(0).strip()})")
    if exit_status is not None:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        return Accelerator("tcg", f"KVM is unusable here (QEMU ended with status {exit_status}: {last})")
    return None


def _probe(kernel: Path) -> Accelerator:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator("tcg", "/dev/kvm is missing or not accessible")
    with tempfile.TemporaryDirectory() as folder:
        serial, errors = Path(folder, "serial"), Path(folder, "errors")
        command = _base(Accelerator("kvm", ""), 512, 1)
        command += [
            "-kernel",
            str(kernel),
            "-append",
            "console=ttyS0 panic=0",
            "-serial",
            f"file:{serial}",
            "-no-reboot",
        ]
        with open(errors, "wb") as output:
            guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + _PROBE_SECONDS
        try:
            while time.monotonic() < deadline:
                status = guest.poll()
                console = serial.read_text(errors="replace") if serial.exists() else ""
                verdict = judge_probe(console, errors.read_text(errors="replace"), status)
                if verdict is not None:
                    return verdict
                time.sleep(0.2)
        finally:
            if guest.poll() is None:
                guest.kill()
            guest.wait()
    return Accelerator("tcg", f"KVM is unusable here (a kernel did not boot under it in {_PROBE_SECONDS} s)")


def accelerator(kernel: Path) -> Accelerator:
    """KVM if a kernel really boots under it, else TCG; the verdict holds for this boot of this machine."""
    forced = os.environ.get(ACCELERATOR_VARIABLE, "")
    if forced:
        if forced not in ("kvm", "tcg"):
            raise LabError(f"{ACCELERATOR_VARIABLE} is '{forced}'; it can be kvm or tcg")
        return Accelerator(forced, f"set by {ACCELERATOR_VARIABLE}")
    record, key = paths.CACHE / "kvm.json", _probe_key()
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["key"] == key:
            return Accelerator(known["name"], known["reason"])
    except (FileNotFoundError, ValueError, KeyError):
        pass
    verdict = _probe(kernel)
    paths.ensure(record.parent)
    temporary = record.with_name(f".kvm.{os.getpid()}")
    temporary.write_text(json.dumps({"key": key, "name": verdict.name, "reason": verdict.reason}), encoding="utf-8")
    os.replace(temporary, record)
    return verdict
