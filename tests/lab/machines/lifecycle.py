# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a machine up, look at it, take it down."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.lab import paths, processes, state
from tests.lab.errors import LabError
from tests.lab.machines import arguments, image, qemu, seed, uefi
from tests.lab.machines.profiles import PROFILES, Profile

Progress = Callable[[str], None]
BOOT_TIMEOUT_SECONDS = 600


def profile_of(name: str) -> Profile:
    """The profile of that machine or node name."""
    for profile in PROFILES.values():
        if name in (profile.name, profile.node):
            return profile
    raise LabError(f"there is no machine '{name}'; there are: {', '.join(sorted(PROFILES))}")


def folder_of(profile: Profile) -> Path:
    """Where a machine's overlay, seed and notes are."""
    return paths.MACHINES / profile.name


def supervisor_status(profile: Profile) -> dict[str, Any]:
    """What the machine's supervisor last wrote."""
    try:
        content: dict[str, Any] = json.loads((folder_of(profile) / "status.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content


def is_up(profile: Profile) -> bool:
    """Whether the machine's supervisor, and so its QEMU, runs."""
    return processes.find(f"machine-{profile.name}") is not None


def ssh_command(profile: Profile, command: Sequence[str] = (), *, connect_timeout: int = 20) -> list[str]:
    """An ssh command line to the machine, as strict about host keys as Ansible is."""
    options = {
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": f'"{paths.KNOWN_HOSTS}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
        "ConnectTimeout": str(connect_timeout),
        "ServerAliveInterval": "15",
        # OpenSSH's first choice is a post-quantum exchange, half a second of emulated arithmetic per connection.
        "KexAlgorithms": "curve25519-sha256",
    }
    argv = ["ssh", "-F", "/dev/null", "-i", str(paths.SSH_KEY), "-p", str(qemu.SSH_PORT)]
    for key, value in options.items():
        argv += ["-o", f"{key}={value}"]
    return [*argv, f"root@{profile.address}", *command]


def _banner(profile: Profile) -> bool:
    # QEMU's forward accepts at once, whether or not sshd is there: only the banner tells.
    try:
        with socket.create_connection((profile.address, qemu.SSH_PORT), timeout=2) as connection:
            connection.settimeout(3)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_for_ssh(profile: Profile, progress: Progress, timeout_seconds: float = BOOT_TIMEOUT_SECONDS) -> float:
    """Wait until a command runs over SSH; seconds it took."""
    began = said = time.monotonic()
    while True:
        now = time.monotonic()
        if not is_up(profile):
            why = supervisor_status(profile).get("reason", "its supervisor ended")
            raise LabError(f"machine {profile.name}: {why} (logs: {paths.LOGS}/machine-{profile.name}*.log)")
        if _banner(profile):
            result = subprocess.run(ssh_command(profile, ["true"]), capture_output=True, text=True, check=False)
            if result.returncode == 0:
                return time.monotonic() - began
            if "Permission denied" in result.stderr or "Host key verification failed" in result.stderr:
                raise LabError(f"machine {profile.name}: SSH refuses the lab's key: {result.stderr.strip()}")
        if now - began > timeout_seconds:
            raise LabError(
                f"machine {profile.name} does not answer SSH after {timeout_seconds:.0f} s "
                f"(serial log: {paths.LOGS}/machine-{profile.name}-serial.log)"
            )
        if now - said >= 15:
            said = now
            progress(f"booting ... {now - began:.0f} s")
        time.sleep(0.5)


def _base(profile: Profile, progress: Progress) -> Path:
    if profile.uefi:
        return uefi.build(progress)
    return arguments.with_arguments(image.build(progress, profile.packages), profile.kernel_arguments, progress)


def _overlay(profile: Profile, base: Path, fresh: bool) -> Path:
    folder = folder_of(profile)
    overlay = folder / "disk.qcow2"
    if fresh and folder.exists():
        shutil.rmtree(folder)
    paths.ensure(folder, 0o700)
    marker = folder / "image"
    if overlay.exists() and (not marker.exists() or marker.read_text(encoding="utf-8") != str(base)):
        # Its base is not the one it was made on: the content would be nonsense.
        overlay.unlink()
    if not overlay.exists():
        for name in ("ssh_host_ed25519_key", uefi.VARIABLES_NAME):
            (folder / name).unlink(missing_ok=True)
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(overlay)]
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise LabError(f"qemu-img could not make the disk of {profile.name}: {result.stderr.strip()}")
        marker.write_text(str(base), encoding="utf-8")
    return overlay


def _address_is_free(profile: Profile) -> None:
    for port in (qemu.SSH_PORT, qemu.AGENT_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((profile.address, port))
            except OSError as problem:
                raise LabError(
                    f"machine {profile.name}: {profile.address}:{port} cannot be used ({problem.strerror}); "
                    "another lab may be up on this computer"
                ) from None


def machine_up(name: str, progress: Progress, *, fresh: bool = False) -> dict[str, Any]:
    """Bring a machine up and wait for SSH; nothing happens when it is up already. Returns its record."""
    profile = profile_of(name)
    process = f"machine-{profile.name}"
    if is_up(profile):
        if not fresh:
            wait_for_ssh(profile, progress)
            progress("is up")
            record: dict[str, Any] = state.load()["machines"][profile.name]
            return record
        machine_down(profile.name)
    base = _base(profile, progress)
    problem = image.prerequisites()
    if problem:
        raise LabError(problem)
    accelerator = qemu.accelerator(base.with_name("vmlinuz"))
    progress(accelerator.describe())
    _address_is_free(profile)
    overlay = _overlay(profile, base, fresh)
    folder = folder_of(profile)
    serial = paths.ensure(paths.LOGS) / f"{process}-serial.log"
    command = qemu.machine_command(profile, accelerator, overlay, seed.write(profile, folder), serial)
    if profile.uefi:
        command += uefi.firmware_arguments(folder)
    status = folder / "status.json"
    status.unlink(missing_ok=True)
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "tests.lab.machines.supervisor",
        "--profile",
        profile.name,
        "--status",
        status,
        "--serial",
        serial,
    ]
    started = processes.start(process, [*argv, "--", *command], log=paths.LOGS / f"{process}.log")
    record = {
        "name": profile.name,
        "node": profile.node,
        "address": profile.address,
        "ssh_port": qemu.SSH_PORT,
        "agent_port": qemu.AGENT_PORT,
        "accelerator": accelerator.name,
        "accelerator_reason": accelerator.reason,
        "pid": started["pid"],
        "start_time": started["start_time"],
        "serial_log": str(serial),
        "image": str(base),
    }
    with state.locked() as current:
        current["machines"][profile.name] = record
    took = wait_for_ssh(profile, progress)
    progress(f"answers SSH after {took:.0f} s")
    return record


def machine_down(name: str) -> bool:
    """End a machine and remove its disk; False when there was none."""
    profile = profile_of(name)
    ended = processes.stop(f"machine-{profile.name}")
    folder = folder_of(profile)
    existed = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    with state.locked() as current:
        current["machines"].pop(profile.name, None)
    return ended or existed


def machine_status(profile: Profile) -> dict[str, Any]:
    """One row about a machine for `status`."""
    record = state.load()["machines"].get(profile.name, {})
    notes = supervisor_status(profile)
    row = {"name": profile.name, "node": profile.node, "address": profile.address, "state": "down"}
    process = processes.find(f"machine-{profile.name}")
    if process is None:
        if notes.get("reason"):
            row["state"] = f"ended: {notes['reason']}"
        elif notes:
            row["state"] = "ended: its supervisor was killed"
        return row
    guest = int(notes.get("qemu_pid", 0))
    return row | {
        "state": "up",
        "accelerator": record.get("accelerator", "?"),
        "uptime_seconds": round(processes.age_seconds(process)),
        "rss_mib": (processes.rss_kib(guest) + processes.rss_kib(process["pid"])) // 1024,
        "pid": guest,
        "supervisor_pid": process["pid"],
    }
