# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What machines the lab can be: data only.

PCI IDs are those of the pci.ids database; classes and subsystem IDs as real cards show them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.machines.gpu_device import Bar, Function

KIB, MIB = 1024, 1024 * 1024
NVIDIA = 0x10DE


@dataclass(frozen=True)
class Slot:
    """A device on the root bus; more than one function makes it a multi-function device."""

    number: int
    functions: tuple[Function, ...]


@dataclass(frozen=True)
class Profile:
    """A kind of machine and the place it has in the lab."""

    name: str
    node: str
    address: str
    slots: tuple[Slot, ...]
    memory_mib: int = 1536
    cpus: int = 2
    iommu: str = "intel-iommu,intremap=on,caching-mode=on"
    graphics: tuple[str, ...] = ()
    # OVMF with systemd-boot in place of SeaBIOS with GRUB.
    uefi: bool = False
    description: str = ""


# The BARs are small on purpose: the real 32 GiB window would need 64-bit BARs, and nothing here reads it.
_GPU_BARS = (Bar(16 * MIB), Bar(64 * MIB, prefetchable=True))

A10 = Function(
    vendor=NVIDIA,
    device=0x2236,
    class_code=0x030200,
    subsystem_vendor=NVIDIA,
    subsystem_device=0x1482,
    revision=0xA1,
    bars=_GPU_BARS,
)
RTX_A6000 = Function(
    vendor=NVIDIA,
    device=0x2230,
    class_code=0x030000,
    subsystem_vendor=NVIDIA,
    subsystem_device=0x1459,
    revision=0xA1,
    bars=_GPU_BARS,
    multifunction=True,
)
RTX_A6000_AUDIO = Function(
    vendor=NVIDIA,
    device=0x1AEF,
    class_code=0x040300,
    subsystem_vendor=NVIDIA,
    subsystem_device=0x1459,
    revision=0xA1,
    bars=(Bar(16 * KIB),),
    interrupt_pin=2,
)

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="a10",
            node="kata-a10",
            address="127.0.0.11",
            slots=(Slot(8, (A10,)),),
            description="NVIDIA A10, one function, no display",
        ),
        Profile(
            name="workstation",
            node="kata-workstation",
            address="127.0.0.12",
            slots=(Slot(8, (RTX_A6000, RTX_A6000_AUDIO)),),
            graphics=("VGA,id=display,vgamem_mb=8,romfile=vgabios-stdvga.bin",),
            description="RTX A6000 with its audio function in one IOMMU group; an emulated VGA is the boot display",
        ),
        Profile(
            name="uefi",
            node="kata-uefi",
            address="127.0.0.18",
            slots=(Slot(8, (A10,)),),
            uefi=True,
            description="NVIDIA A10 in a machine that starts by UEFI, with systemd-boot and entries of kernel-install",
        ),
    )
}
