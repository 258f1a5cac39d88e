# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts.yml leaves behind on a machine, seen with other eyes than ours."""

from __future__ import annotations

from typing import Any

import pytest


def test_the_kernel_runs_with_the_iommu(host: Any) -> None:
    assert "intel_iommu=on" in host.file("/proc/cmdline").content_string.split()
    assert host.file("/sys/kernel/iommu_groups/0").is_directory


def test_our_arguments_are_in_a_file_of_ours(host: Any) -> None:
    ours = host.file("/etc/default/grub.d/99-katagpu.cfg")
    assert ours.exists
    assert ours.mode == 0o644
    assert "intel_iommu=on" in ours.content_string
    # What the administrator wrote is kept as it was.
    assert 'GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=off"' in host.file("/etc/default/grub").content_string


@pytest.mark.parametrize("module", ["vfio_pci", "vhost_vsock", "vhost_net"])
def test_modules_are_loaded_at_boot(host: Any, module: str) -> None:
    folder = host.check_output("cat /etc/modules-load.d/katagpu*.conf").split()
    assert module in [name.replace("-", "_") for name in folder]


def test_nouveau_stays_out(host: Any) -> None:
    assert "nouveau" not in host.check_output("cat /proc/modules")


def test_every_endpoint_that_shares_a_group_with_a_gpu_is_on_vfio(host: Any) -> None:
    addresses = host.check_output("lspci -Dn -d 10de: | cut -d' ' -f1").split()
    assert addresses
    for address in addresses:
        members = host.check_output(f"ls /sys/bus/pci/devices/{address}/iommu_group/devices").split()
        for member in members:
            pci_class = host.file(f"/sys/bus/pci/devices/{member}/class").content_string
            if pci_class.startswith("0x0604"):
                continue
            driver = host.run(f"readlink /sys/bus/pci/devices/{member}/driver").stdout
            gpu = pci_class.startswith("0x03")
            assert driver.strip().endswith("/vfio-pci") or (gpu and not driver), f"{member} is on {driver!r}"
