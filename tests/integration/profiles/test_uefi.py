# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-boot with the entries of Debian's kernel-install on an EFI system partition, in place of GRUB."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.integration.profiles.machine import Machine, documented, of, stopping, up


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield from up("uefi", request)


GPU = "0000:00:08.0"
TEMPLATE = "/etc/kernel/cmdline"
# Without the argument that keeps nouveau out, its blacklist has to be in the initramfs, and Debian's update-initramfs makes
# the entry anew. The binding is ours, so that it is seen here.
OPTIONS = ("-e", '{"host_iommu_blacklist_argument": false, "katagpu_vfio_owner": "host"}')
BLACKLIST = "etc/modprobe.d/katagpu.conf"


def words(machine: Machine) -> list[str]:
    return machine.guest("cat /proc/cmdline").split()


def entries(machine: Machine) -> dict[str, list[str]]:
    """Kernel release to the arguments of its entry, read without the code under test."""
    found: dict[str, list[str]] = {}
    for text in machine.guest("for one in /boot/efi/loader/entries/*; do cat $one; echo; done").strip().split("\n\n"):
        fields = dict(re.findall(r"^(\w+) +(.*)$", text, re.MULTILINE))
        found[fields["version"]] = fields["options"].split()
    return found


def iommu(arguments: list[str]) -> str:
    """The last one counts for the kernel, and the role leaves what stands before it."""
    return next((word for word in reversed(arguments) if word.startswith("intel_iommu=")), "")


def test_it_was_started_by_systemd_boot(machine: Machine) -> None:
    loader = machine.guest("cat /sys/firmware/efi/efivars/LoaderInfo-*").replace("\0", "")
    assert "systemd-boot 257" in loader
    assert "no grub" in machine.guest("ls /boot/grub /etc/default/grub 2>/dev/null || echo no grub")
    (release,) = entries(machine)
    assert release == machine.guest("uname -r").strip()
    assert "90-loaderentry.install" in machine.guest("cat /boot/efi/loader/entries/*")
    assert machine.groups() == {} and "intel_iommu=off" in words(machine)


def test_arguments_are_put_in_and_taken_out_again(machine: Machine) -> None:
    wanted = {"present": ["katagpu.test=1", 'dyndbg="file drivers/vfio/* +p"'], "absent": ["intel_iommu=off"]}
    before = machine.looks()
    texts = machine.guest(f"cat {TEMPLATE} /boot/efi/loader/entries/*")
    planned = machine.module("kernel_cmdline", "--check", "--diff", **wanted)
    assert machine.looks() == before
    done = machine.module("kernel_cmdline", "--diff", **wanted)
    assert done["bootloader"] == "systemd_boot"
    assert done["files"][-1] == TEMPLATE and len(done["files"]) == 2
    for key in ("changed", "configured", "files", "shown", "reboot_required"):
        assert planned[key] == done[key], key
    assert f"+++ after: {TEMPLATE}" in done["shown"]
    (options,) = entries(machine).values()
    assert " ".join(options) == done["configured"]
    assert options[-4:] == ["katagpu.test=1", 'dyndbg="file', "drivers/vfio/*", '+p"'] and iommu(options) == ""
    assert "katagpu.test=1" in machine.guest(f"cat {TEMPLATE}")
    changed = machine.looks()
    again = machine.module("kernel_cmdline", **wanted)
    assert not again["changed"] and machine.looks() == changed
    machine.module("kernel_cmdline", present=["intel_iommu=off"], absent=["katagpu.test", "dyndbg"])
    after = machine.guest(f"cat {TEMPLATE} /boot/efi/loader/entries/*")
    assert [sorted(line.split()) for line in after.splitlines()] == [
        sorted(line.split()) for line in texts.splitlines()
    ]


def test_a_partition_that_is_not_mounted_is_refused(machine: Machine) -> None:
    before = machine.guest(f"cat {TEMPLATE} && umount /boot/efi")
    refused = machine.module("kernel_cmdline", present=["katagpu.test=1"], absent=[])
    after = machine.guest(f"cat {TEMPLATE} && find /boot/efi -mindepth 1 && mount /boot/efi")
    assert refused["failed"] and "[B22][block]" in refused["msg"] and "mount the EFI system partition" in refused["msg"]
    assert after == before


def test_preflight(machine: Machine) -> None:
    machine.found = machine.preflight(*OPTIONS)
    assert stopping(machine.found) == []
    assert {one["state"] for one in of(machine.found, "A04")} == {"will_be_fixed_by"}


def test_hosts_prepares_it(machine: Machine) -> None:
    machine.prepared(*OPTIONS)
    assert iommu(words(machine)) == "intel_iommu=on"
    assert machine.module("iommu_info")["state"] == "active"
    assert [GPU] in machine.groups().values()
    assert machine.drivers() == {GPU: "vfio-pci"}
    # The initramfs that the boot loader starts is the copy on the partition, and not the one below /boot.
    image = "/boot/efi/$(cat /etc/machine-id)/$(uname -r)/initrd.img-$(uname -r)"
    assert BLACKLIST in machine.guest(f"lsinitramfs {image}").split()
    assert "nouveau" not in machine.guest("cut -d' ' -f1 /proc/modules").split()
    machine.outcome.append(
        "``hosts.yml`` (with ``katagpu_vfio_owner: host`` and ``host_iommu_blacklist_argument: false``) makes the initramfs anew,"
        " writes the arguments to ``/etc/kernel/cmdline`` and to the loader entry, drains the node and reboots it once. The IOMMU"
        " is on, the GPU is on ``vfio-pci``, and nouveau is not loaded."
    )


def test_a_kernel_that_is_installed_later_starts_with_them(machine: Machine) -> None:
    """The kernel that runs once more under another name, which costs no package and is the same for kernel-install."""
    later = machine.guest("uname -r").strip() + "-later"
    machine.guest(
        f"cd /boot && cp -al /lib/modules/$(uname -r) /lib/modules/{later} && cp vmlinuz-$(uname -r) vmlinuz-{later}"
        f" && cp initrd.img-$(uname -r) initrd.img-{later} && kernel-install add {later} /boot/vmlinuz-{later}"
    )
    found = entries(machine)
    assert len(found) == 2
    for release, options in found.items():
        assert iommu(options) == "intel_iommu=on", release
    result = machine.module("kernel_cmdline", present=["intel_iommu=on"], absent=[])
    assert not result["changed"] and not result["reboot_required"]
    assert next(one["release"] for one in result["entries"]) == later
    machine.guest(
        f"kernel-install remove {later} && rm -rf /lib/modules/{later} /boot/vmlinuz-{later} /boot/initrd.img-{later}"
    )
    assert list(entries(machine)) == [machine.guest("uname -r").strip()]
    machine.outcome.append("A kernel that ``kernel-install`` adds afterwards starts with the arguments too.")


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.unchanged(*OPTIONS)


def test_the_documentation_says_so(machine: Machine) -> None:
    documented(machine)
