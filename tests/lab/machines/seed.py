# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to one machine: its name and its SSH keys, handed to the guest as a small tar."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import tarfile
from pathlib import Path

from tests.lab import paths
from tests.lab.errors import LabError
from tests.lab.machines.profiles import Profile
from tests.lab.machines.qemu import SSH_PORT


def _keygen(path: Path, comment: str) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"ssh-keygen failed: {result.stderr.strip()}")


def lab_key() -> Path:
    """The lab's own login key; made once per state folder."""
    paths.ensure(paths.SSH_DIR, 0o700)
    with open(paths.SSH_DIR / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not paths.SSH_KEY.exists():
            _keygen(paths.SSH_KEY, "katagpu-lab")
    return paths.SSH_KEY


def remember_host(profile: Profile, host_key: str) -> None:
    """Put the machine's host key into known_hosts, in place of an older one."""
    name = f"[{profile.address}]:{SSH_PORT}"
    with open(paths.SSH_DIR / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = paths.KNOWN_HOSTS.read_text(encoding="utf-8").splitlines() if paths.KNOWN_HOSTS.exists() else []
        lines = [line for line in known if not line.startswith(f"{name} ")]
        kind, key = host_key.split()[:2]
        temporary = paths.KNOWN_HOSTS.with_suffix(".tmp")
        temporary.write_text("\n".join([*lines, f"{name} {kind} {key}"]) + "\n", encoding="utf-8")
        os.replace(temporary, paths.KNOWN_HOSTS)


def _tar(files: dict[str, tuple[int, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (mode, content) in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = mode, len(content)
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write(profile: Profile, folder: Path) -> Path:
    """Write the machine's seed into its folder; its host key is made once and kept with the overlay."""
    login = lab_key().with_suffix(".pub").read_bytes()
    host_key = folder / "ssh_host_ed25519_key"
    if not host_key.exists():
        _keygen(host_key, profile.node)
    public = host_key.with_suffix(".pub").read_bytes()
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {profile.node}\n::1 localhost ip6-localhost ip6-loopback\n"
    seed = folder / "seed.tar"
    seed.write_bytes(
        _tar(
            {
                "etc/hostname": (0o644, f"{profile.node}\n".encode()),
                "etc/hosts": (0o644, hosts.encode()),
                "etc/ssh/ssh_host_ed25519_key": (0o600, host_key.read_bytes()),
                "etc/ssh/ssh_host_ed25519_key.pub": (0o644, public),
                "root/.ssh/": (0o700, b""),
                "root/.ssh/authorized_keys": (0o600, login),
            }
        )
    )
    remember_host(profile, public.decode())
    return seed
