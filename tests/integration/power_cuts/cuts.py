# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine whose power is cut while playbooks/hosts.yml changes it, and what is looked at afterwards.

The power goes at a change of a file, told by inotify in the guest: QEMU ends at once, and what the guest had not written to its
disk is lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.integration import guest_changes, lab
from tests.lab.machines import lifecycle, profiles

MACHINE = "workstation"
PROFILE = profiles.PROFILES[MACHINE]
GPU = ("0000:00:08.0", "0000:00:08.1")
FOLDERS = (
    *(
        "/etc/default",
        "/etc/default/grub.d",
        "/etc/modprobe.d",
        "/etc/modules-load.d",
        "/etc/udev/rules.d",
        "/etc/systemd/system",
        "/etc/initramfs-tools",
    ),
    *("/etc/initramfs-tools/hooks", "/boot", "/boot/grub", "/var/lib/kubelet", "/var/lib/katagpu"),
    *(f"/sys/bus/pci/devices/{address}" for address in GPU),
    *("/sys/bus/pci/drivers/vfio-pci", "/sys/bus/pci"),
)
# What the run makes, as opposed to what it makes it with.
STATE = r"""
cat /proc/cmdline | tr ' ' '\n' | grep -v BOOT_IMAGE
grep -H . /etc/default/grub.d/*.cfg /etc/modprobe.d/katagpu* /etc/modules-load.d/katagpu* /etc/udev/rules.d/*katagpu* 2>&1
grep -rH . /etc/systemd/system/katagpu* /etc/systemd/system/multi-user.target.d 2>&1 | sort
grep -E '^\s*linux' /boot/grub/grub.cfg
cat /var/lib/kubelet/config.yaml
for device in /sys/bus/pci/devices/0000:00:08.*; do
  echo "$device $(basename "$(readlink $device/driver)") $(cat $device/driver_override) $(basename "$(readlink $device/iommu_group)")"
done
ls -A /boot /boot/grub /etc/default /etc/default/grub.d /etc/modprobe.d /etc/modules-load.d /etc/udev/rules.d
ls -A /etc/systemd/system /etc/systemd/system/multi-user.target.d
for image in /boot/initrd.img-*; do lsinitramfs "$image" | sort | sha256sum; done
cut -d' ' -f1 /proc/modules | grep -E '^(nouveau|vfio)' | sort
"""


@dataclass(frozen=True)
class Cut:
    """One try: the change after which the power went, whether the machine booted, and whether a plain rerun ended as an undisturbed run does."""

    number: int
    event: str
    booted: bool
    rerun: int
    differs: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def survived(self) -> bool:
        return self.booted and self.rerun == 0 and not self.differs


def fresh() -> None:
    """The machine from an untouched disk, and nothing of it left in the API."""
    lab.lab("machine-down", MACHINE)
    lab.lab("cluster-up")
    lab.kubectl("delete", "node", PROFILE.node, "--ignore-not-found")
    lab.lab("up", "--machines", MACHINE)
    # What the lab has just put there is not what is cut.
    lab.guest(MACHINE, "sync")


def hosts(variables: Mapping[str, Any], *, until_cut: bool = False) -> lab.PlaybookRun:
    killed = (lambda: not lifecycle.is_up(PROFILE)) if until_cut else None
    return lab.playbook("hosts", "-e", json.dumps(dict(variables)), kill_when=killed)


def state() -> list[str]:
    return lab.guest(MACHINE, STATE).splitlines()


def undisturbed(variables: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The changes of a run until it reboots the machine, and the state that it leaves."""
    fresh()
    with guest_changes.watched(MACHINE, FOLDERS) as changes:
        run = hosts(variables)
        assert run.returncode == 0, run.output
        events = changes()
    return events, state()


def tried(number: int, variables: Mapping[str, Any], wanted: list[str]) -> Cut | None:
    """Nothing where the run ended before that change came."""
    begun = time.monotonic()
    fresh()
    with guest_changes.watched(MACHINE, FOLDERS, number) as changes:
        hosts(variables, until_cut=True)
        events = changes()
    if lifecycle.is_up(PROFILE):
        return None
    last = events[-1] if events else "the first change"
    try:
        lab.lab("up", "--machines", MACHINE)
    except AssertionError as problem:
        return Cut(number, last, False, -1, [str(problem)], time.monotonic() - begun)
    again = hosts(variables)
    differs = sorted(set(wanted) ^ set(state())) if again.returncode == 0 else again.output.splitlines()[-40:]
    return Cut(number, last, True, again.returncode, differs, time.monotonic() - begun)
