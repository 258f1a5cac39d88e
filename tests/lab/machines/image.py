# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the guests' base disk without loop devices: mmdebstrap, mke2fs -d, one boot to install GRUB, qcow2."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.lab import paths
from tests.lab.errors import LabError
from tests.lab.machines import apt_sources, qemu, recipe

Progress = Callable[[str], None]

# command -> Debian package that has it
COMMANDS: dict[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
FINISH_TIMEOUT_SECONDS = 900


def which(command: str) -> str | None:
    """Like shutil.which, also looking where only root's PATH usually points."""
    return shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing_packages() -> list[str]:
    """Debian packages the lab's machines need and this machine lacks, sorted."""
    missing = {package for command, package in COMMANDS.items() if which(command) is None}
    if not apt_sources.DEFAULT_KEYRING.exists():
        missing.add("debian-archive-keyring")
    if "qemu-system-x86" not in missing and not any(
        Path(folder, "vgabios-stdvga.bin").exists() for folder in ("/usr/share/seabios", "/usr/share/qemu")
    ):
        missing.add("seabios")
    return sorted(missing)


def prerequisites() -> str | None:
    """One clear line about what is missing, or None."""
    missing = missing_packages()
    if missing:
        return f"missing Debian packages: {' '.join(missing)}. Fix: apt-get install {' '.join(missing)}"
    if not image_path().exists() and os.geteuid() != 0:
        return "the guest image is not built yet and building it needs root (mmdebstrap, file ownership). Fix: run as root once"
    return None


def image_path(packages: Sequence[str] = ()) -> Path:
    """Where the finished base disk is, or will be, with packages beyond those of the recipe."""
    return paths.IMAGES / recipe.digest(" ".join(packages)) / "base.qcow2"


def run(argv: Sequence[str | Path], log: Path, what: str, env: Mapping[str, str] | None = None) -> None:
    """A step of the build, or a LabError with the end of what it said."""
    with open(log, "ab") as output:
        code = subprocess.run(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, check=False
        ).returncode
    if code != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise LabError(f"{what} failed with status {code}: {' | '.join(tail)} (log: {log})")


def _write_files(tree: Path, files: recipe.Files) -> None:
    for name, (mode, content) in files.items():
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # The tree is a guest's: a link in it must not lead a write out of it.
        target.unlink(missing_ok=True)
        target.write_text(content, encoding="utf-8")
        target.chmod(mode)


def bootstrap(
    work: Path,
    log: Path,
    packages: Sequence[str] = recipe.PACKAGES,
    early_files: recipe.Files = recipe.EARLY_FILES,
    hooks: Sequence[str] = (),
) -> Path:
    """The guest's files in a folder. Hooks are shell commands that run last, with the folder as their first argument."""
    tree, early = work / "tree", work / "early"
    _write_files(early, early_files)
    early.chmod(0o755)
    argv: list[str | Path] = ["mmdebstrap", "--variant=apt", "--architectures=amd64", "--format=directory"]
    argv += [f"--include={','.join(packages)}"]
    for excluded in recipe.EXCLUDED_PATHS:
        argv.append(f"--dpkgopt=path-exclude={excluded}")
    for option in apt_sources.proxy_options():
        argv.append(f"--aptopt={option}")
    argv += ['--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io", "--dpkgopt=force-confold"]
    argv.append(f'--essential-hook=cp -a --no-preserve=ownership {early}/. "$1"/')
    argv += [f"--customize-hook={hook}" for hook in hooks]
    argv += [recipe.SUITE, tree, apt_sources.mirror_line(recipe.SUITE, work)]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    run(argv, log, "mmdebstrap", env={**os.environ, "PATH": path, "TMPDIR": str(work), "LC_ALL": "C.UTF-8"})
    return tree


def customize(tree: Path, files: recipe.Files, links: Mapping[str, str]) -> None:
    """What makes it a machine of the lab."""
    (tree / recipe.BUILD_INITRAMFS).unlink()
    _write_files(tree, files)
    for name, target in links.items():
        link = tree / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    for name in ("usr/lib/udev/hwdb.bin", "etc/udev/hwdb.bin"):
        (tree / name).unlink(missing_ok=True)
    # The root password stays locked; the lab's key is the only way in.
    for stale in (tree / "var/cache/apt").glob("*.bin"):
        stale.unlink()


def _make_disk(tree: Path, disk: Path, root_uuid: str, log: Path) -> None:
    size = recipe.DISK_MIB << 20
    with open(disk, "wb") as output:
        output.truncate(size)
        first, sectors = recipe.PARTITION_OFFSET // 512, (size - recipe.PARTITION_OFFSET) // 512
        # One bootable Linux partition; the CHS fields are the usual "too large" filler.
        entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", first, sectors)
        output.seek(440)
        output.write(os.urandom(4) + b"\0\0" + entry + bytes(48) + b"\x55\xaa")
    make_root(tree, disk, recipe.PARTITION_OFFSET, size - recipe.PARTITION_OFFSET, root_uuid, log)


def make_root(tree: Path, disk: Path, offset: int, size: int, root_uuid: str, log: Path) -> None:
    """A file system with the tree, in a part of the disk."""
    features = "^orphan_file,^metadata_csum_seed,^64bit"
    argv: list[str | Path] = [which("mke2fs") or "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", features]
    argv += ["-m", "1", "-L", "root", "-U", root_uuid, "-E", f"offset={offset},lazy_itable_init=1"]
    run([*argv, "-d", tree, disk, str(size // 4096)], log, "mke2fs")


def _finish(work: Path, tree: Path, disk: Path, root_uuid: str, log: Path, progress: Progress) -> None:
    """Boot once with the kernel from outside; the guest installs GRUB on its own disk and powers off."""
    kernel, initrd, serial = work / "vmlinuz", work / "initrd.img", work / "serial.log"
    shutil.copy(max((tree / "boot").glob("vmlinuz-*")), kernel)
    shutil.copy(max((tree / "boot").glob("initrd.img-*")), initrd)
    accelerator = qemu.accelerator(kernel)
    progress(f"first boot ({accelerator.describe()})")
    argv = qemu.finish_command(accelerator, disk, kernel, initrd, serial, root_uuid)
    with open(log, "ab") as output:
        guest = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    deadline = time.monotonic() + FINISH_TIMEOUT_SECONDS
    said = time.monotonic()
    try:
        while guest.poll() is None:
            if time.monotonic() > deadline:
                raise LabError(
                    f"the guest did not finish installing its boot loader in {FINISH_TIMEOUT_SECONDS} s (log: {serial})"
                )
            if time.monotonic() - said >= 15:
                said = time.monotonic()
                progress("first boot, installing GRUB")
            time.sleep(0.2)
    finally:
        if guest.poll() is None:
            guest.kill()
            guest.wait()
    text = serial.read_text(encoding="utf-8", errors="replace") if serial.exists() else ""
    if "katalab: finish ok" not in text:
        kept = paths.ensure(paths.LOGS) / "image-serial.log"
        kept.write_text(text, encoding="utf-8")
        raise LabError(f"the guest did not install its boot loader (serial log: {kept}; QEMU's messages: {log})")


def cached(final: Path, progress: Progress, make: Callable[[Path, Path, Progress], Path]) -> Path:
    """The disk of that path, made by `make(work, log, progress)` as a raw one where the cache does not have it.

    Safe to call from several processes. The kernel is kept beside the disk as vmlinuz, for the KVM probe.
    """
    if final.exists():
        return final
    problem = prerequisites()
    if problem:
        raise LabError(problem)
    paths.ensure(paths.IMAGES)
    with open(paths.IMAGES / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.exists():
            return final
        log = paths.ensure(paths.LOGS) / "image.log"
        log.write_bytes(b"")
        began = time.monotonic()

        def say(line: str) -> None:
            progress(f"{line} ... {time.monotonic() - began:.0f} s")

        with tempfile.TemporaryDirectory(prefix="build-", dir=paths.IMAGES) as folder:
            work = Path(folder)
            work.chmod(0o755)
            progress(f"building the guest image, Debian {recipe.SUITE} (once; log: {log})")
            disk = make(work, log, say)
            ready = work / "ready"
            ready.mkdir()
            run(
                ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, ready / "base.qcow2"], log, "qemu-img convert"
            )
            shutil.copy(work / "vmlinuz", ready / "vmlinuz")
            if final.parent.exists():
                shutil.rmtree(final.parent)
            os.rename(ready, final.parent)
        progress(f"guest image ready after {time.monotonic() - began:.0f} s, {final.stat().st_blocks * 512 >> 20} MiB")
    return final


def build(progress: Progress, packages: Sequence[str] = ()) -> Path:
    """The base disk of the machines with BIOS and GRUB."""

    def make(work: Path, log: Path, say: Progress) -> Path:
        return _make(work, log, say, [*recipe.PACKAGES, *packages])

    return cached(image_path(packages), progress, make)


def _make(work: Path, log: Path, say: Progress, packages: Sequence[str]) -> Path:
    tree = bootstrap(work, log, packages)
    say("packages installed")
    root_uuid = str(uuid.uuid4())
    fstab = {"etc/fstab": (0o644, f"UUID={root_uuid} / ext4 errors=remount-ro 0 0\n")}
    customize(tree, {**recipe.FILES, **fstab}, recipe.LINKS)
    disk = work / "disk.raw"
    _make_disk(tree, disk, root_uuid, log)
    say("disk made")
    _finish(work, tree, disk, root_uuid, log, say)
    return disk
