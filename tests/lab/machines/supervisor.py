# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One small process per machine: serves its PCI functions, runs QEMU, and writes down how QEMU ended.

    python -m tests.lab.machines.supervisor --profile a10 --status FILE -- qemu-system-x86_64 ARGS...

It outlives the command that started it and stays through guest reboots. QEMU dies with it, never without it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tests.lab import processes
from tests.lab.machines.gpu_device import GpuDevice, ProtocolError
from tests.lab.machines.profiles import PROFILES, ROOT_BUS, Profile

_PR_SET_PDEATHSIG = 1
CRASHES_ALLOWED = 3
PANIC = b"Kernel panic - not syncing"
# How often the serial log is looked at.
LOOK_SECONDS = 2.0


def device_arguments(profile: Profile, descriptors: Sequence[int]) -> list[str]:
    """QEMU's arguments for the profile's functions, one socket each, in the order of the profile."""
    arguments: list[str] = []
    remaining = list(descriptors)
    for slot in profile.slots:
        for number, _function in enumerate(slot.functions):
            name = f"gpu{slot.number}-{number}" if slot.bus == ROOT_BUS else f"gpu-{slot.bus}-{number}"
            options = f"x-pci-proxy-dev,id={name},fd={remaining.pop(0)},addr={slot.number:x}.{number}"
            if slot.bus != ROOT_BUS:
                options += f",bus={slot.bus}"
            if number == 0 and len(slot.functions) > 1:
                options += ",multifunction=on"
            arguments += ["-device", options]
    return arguments


def _serve(device: GpuDevice, label: str) -> None:
    try:
        device.serve()
    except (ProtocolError, OSError) as problem:
        # The guest then sees a device that no longer answers; QEMU itself ends with its own message.
        print(f"supervisor | {label}: {problem}", file=sys.stderr, flush=True)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Status:
    """The supervisor's notes, replaced atomically at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {}

    def write(self, **changes: Any) -> None:
        self.content.update(changes)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.content, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)


class Machine:
    """QEMU with its devices, started again where QEMU itself crashes, as a server that loses power comes back, and where
    the guest's kernel panics, as a watchdog resets a server.

    QEMU 7.2 now and then ends with a segmentation fault when a guest with a proxy device resets, and under emulation a
    kernel with two processors now and then panics early, when it patches its own code.
    """

    def __init__(self, profile: Profile, status: Status, command: list[str], serial: Path | None = None) -> None:
        self.profile = profile
        self.status = status
        self.command = command
        self.serial = serial
        self.crashes = 0
        self.child: subprocess.Popen[bytes] | None = None
        self.asked_to_stop = threading.Event()

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        self.asked_to_stop.set()
        if self.child is not None:
            self.child.terminate()

    def _start(self) -> subprocess.Popen[bytes]:
        theirs: list[socket.socket] = []
        for slot in self.profile.slots:
            for number, function in enumerate(slot.functions):
                here, there = socket.socketpair()
                theirs.append(there)
                device = GpuDevice(here, function)
                threading.Thread(
                    target=_serve, args=(device, f"{slot.bus} {slot.number:02x}.{number}"), daemon=True
                ).start()
        descriptors = [one.fileno() for one in theirs]
        child = subprocess.Popen(
            [*self.command, *device_arguments(self.profile, descriptors)],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no other thread runs Python code that holds a lock here
        )
        for one in theirs:
            one.close()
        return child

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        while True:
            try:
                return child.wait(timeout=LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                # QEMU begins the file anew at each start, so it is about this one; a console writes little.
                if self.serial is not None and self.serial.exists() and PANIC in self.serial.read_bytes():
                    print("supervisor | the guest's kernel panicked", file=sys.stderr, flush=True)
                    child.kill()

    def run(self) -> int:
        """Run QEMU to its end; its exit status is ours."""
        while True:
            self.child = child = self._start()
            if self.asked_to_stop.is_set():
                child.terminate()
            self.status.write(
                state="running",
                qemu_pid=child.pid,
                qemu_start_time=processes.start_time(child.pid),
                started=time.time(),
                crashes=self.crashes,
            )
            code = self._wait(child)
            if self.asked_to_stop.is_set():
                why = "stopped by the lab"
            elif code == 0:
                why = "the guest powered off"
            elif code < 0 and self.crashes < CRASHES_ALLOWED:
                self.crashes += 1
                print(f"supervisor | QEMU crashed with signal {-code}; started again", file=sys.stderr, flush=True)
                continue
            else:
                why = f"QEMU ended with status {code}"
            self.status.write(state="ended", exit_status=code, reason=why, ended=time.time())
            return code


def run(profile: Profile, status: Status, command: list[str], serial: Path) -> int:
    machine = Machine(profile, status, command, serial)
    signal.signal(signal.SIGTERM, machine.stop)
    signal.signal(signal.SIGINT, machine.stop)
    return machine.run()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.machines.supervisor")
    parser.add_argument("--profile", required=True, choices=sorted(PROFILES))
    parser.add_argument("--status", required=True, type=Path)
    parser.add_argument("--serial", required=True, type=Path, help="where QEMU writes the guest's console")
    parser.add_argument("command", nargs="+", help="QEMU and its arguments, after --")
    options = parser.parse_args(arguments)
    return run(PROFILES[options.profile], Status(options.status), options.command, options.serial)


if __name__ == "__main__":
    sys.exit(main())
