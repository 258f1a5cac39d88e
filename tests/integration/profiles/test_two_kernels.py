# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two kernels installed: what the host phase does holds for both, also for the one that does not run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.profiles.machine import Machine, documented, of, stopping, up


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield from up("two_kernels", request)


GPU, AUDIO = "0000:00:08.0", "0000:00:08.1"
WANTED = "intel_iommu=on"
# Without the argument that keeps nouveau out, its blacklist has to be in each initramfs.
OPTIONS = ("-e", "host_iommu_blacklist_argument=false", "-e", "katagpu_vfio_owner=host")
BLACKLIST = "etc/modprobe.d/katagpu.conf"


def releases(machine: Machine) -> list[str]:
    return sorted(machine.guest("ls /boot/vmlinuz-*").replace("/boot/vmlinuz-", "").split())


def running(machine: Machine) -> str:
    return machine.guest("uname -r").strip()


def last_word(arguments: list[str]) -> str:
    """The kernel takes the last one; what the administrator has in /etc/default/grub stays."""
    return next((word for word in reversed(arguments) if word.startswith("intel_iommu=")), "")


def entries(machine: Machine) -> dict[str, list[list[str]]]:
    """Kernel release to the arguments of its entries in grub.cfg."""
    found: dict[str, list[list[str]]] = {}
    for line in machine.guest("cat /boot/grub/grub.cfg").splitlines():
        words = line.split()
        if words[:1] == ["linux"]:
            found.setdefault(words[1].rpartition("/vmlinuz-")[2], []).append(words[2:])
    return found


def blacklisted(machine: Machine) -> dict[str, bool]:
    """Kernel release to whether its initramfs has the blacklist."""
    script = f'for one in /boot/initrd.img-*; do echo "$one $(lsinitramfs $one | grep -c {BLACKLIST})"; done'
    rows = [line.split() for line in machine.guest(script).splitlines()]
    return {row[0].partition("initrd.img-")[2]: row[1] != "0" for row in rows}


def test_there_are_two_kernels(machine: Machine) -> None:
    assert len(releases(machine)) == 2
    assert set(entries(machine)) == set(releases(machine))
    assert set(blacklisted(machine).items()) == {(release, False) for release in releases(machine)}
    assert machine.groups() == {}


def test_preflight(machine: Machine) -> None:
    machine.found = machine.preflight(*OPTIONS)
    assert stopping(machine.found) == []
    assert {one["state"] for one in of(machine.found, "A04")} == {"will_be_fixed_by"}


def test_hosts_prepares_both(machine: Machine) -> None:
    machine.prepared(*OPTIONS)
    assert set(blacklisted(machine).items()) == {(release, True) for release in releases(machine)}
    for release, found in entries(machine).items():
        # The entries for a rescue have only what holds for every boot.
        assert any(last_word(arguments) == WANTED for arguments in found), (release, found)
    assert machine.drivers() == {GPU: "vfio-pci", AUDIO: "vfio-pci"}


def test_the_kernel_that_did_not_run_boots_with_it(machine: Machine) -> None:
    before = running(machine)
    (other,) = set(releases(machine)) - {before}
    identifier = machine.guest("awk -F\"'\" '/menuentry_id_option/ {print $(NF-1)}' /boot/grub/grub.cfg").split()
    menu = next(one for one in identifier if one.startswith("gnulinux-advanced-"))
    entry = next(one for one in identifier if one.startswith(f"gnulinux-{other}-advanced-"))
    machine.guest(f"grub-reboot '{menu}>{entry}'")
    machine.reboot()
    assert running(machine) == other
    assert WANTED in machine.guest("cat /proc/cmdline").split()
    assert machine.module("iommu_info")["state"] == "active"
    assert machine.drivers() == {GPU: "vfio-pci", AUDIO: "vfio-pci"}
    assert "nouveau" not in machine.guest("cut -d' ' -f1 /proc/modules").split()
    machine.outcome.append(
        "``hosts.yml`` (with ``katagpu_vfio_owner: host`` and ``host_iommu_blacklist_argument: false``) writes the argument to the boot"
        " entries of both kernels and the blacklist of nouveau to the initramfs of both, and reboots the node once. The other kernel,"
        " booted after that, has the IOMMU, the bindings and no nouveau either."
    )


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    """Under the other kernel."""
    machine.unchanged(*OPTIONS)


def test_the_documentation_says_so(machine: Machine) -> None:
    documented(machine)
