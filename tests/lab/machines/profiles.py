# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What machines the lab can be: data only.

PCI IDs are those of the pci.ids database; classes and subsystem IDs as real cards show them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.lab.machines import recipe
from tests.lab.machines.gpu_device import Bar, Function

KIB, MIB = 1024, 1024 * 1024
NVIDIA = 0x10DE
ROOT_BUS = "pcie.0"
INTEL_IOMMU = "intel-iommu,intremap=on,caching-mode=on"
DISPLAY = "VGA,id=display,vgamem_mb=8,romfile=vgabios-stdvga.bin"
AMD_IOMMU = "amd-iommu,intremap=on"


@dataclass(frozen=True)
class Slot:
    """A device on a bus; more than one function makes it a multi-function device."""

    number: int
    functions: tuple[Function, ...]
    bus: str = ROOT_BUS


@dataclass(frozen=True)
class Profile:
    """A kind of machine and the place it has in the lab."""

    name: str
    node: str
    address: str
    slots: tuple[Slot, ...]
    memory_mib: int = 1536
    cpus: int = 2
    # Nothing is a firmware that publishes no IOMMU.
    iommu: str = INTEL_IOMMU
    graphics: tuple[str, ...] = ()
    # OVMF with systemd-boot in place of SeaBIOS with GRUB.
    uefi: bool = False
    # Of GRUB_CMDLINE_LINUX_DEFAULT; the base disk has recipe.KERNEL_ARGUMENTS.
    kernel_arguments: str = recipe.KERNEL_ARGUMENTS
    # Ports that the slots below name as their bus, and where the disk and the network card are.
    ports: tuple[str, ...] = ()
    disk_place: str = "addr=3"
    network_place: str = "addr=2"
    # The processor does not say that it is one of a virtual machine.
    bare_metal: bool = False
    # Packages beyond those of the recipe, which make it another base disk.
    packages: tuple[str, ...] = ()
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

# The same card in a slot of a port, where it has a link.
A10_IN_SLOT = replace(A10, integrated=False)
GH100 = Function(
    vendor=NVIDIA,
    device=0x2336,
    class_code=0x030200,
    subsystem_vendor=NVIDIA,
    subsystem_device=0x18BE,
    revision=0xA1,
    bars=_GPU_BARS,
)
NVSWITCH = Function(
    vendor=NVIDIA,
    device=0x22A3,
    class_code=0x068000,
    subsystem_vendor=NVIDIA,
    subsystem_device=0x1796,
    revision=0xA1,
    bars=(Bar(32 * MIB),),
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
            graphics=(DISPLAY,),
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
        Profile(
            name="no_iommu",
            node="kata-no-iommu",
            address="127.0.0.21",
            slots=(Slot(8, (A10,)),),
            iommu="",
            kernel_arguments="quiet",
            bare_metal=True,
            description="A10; the firmware publishes no IOMMU, as where it is switched off in the BIOS",
        ),
        Profile(
            name="kernel_off",
            node="kata-kernel-off",
            address="127.0.0.22",
            slots=(Slot(8, (A10,)),),
            kernel_arguments="quiet intel_iommu=on iommu=off intel_iommu=off",
            description="A10; a DMAR table, and kernel arguments that contradict one another and keep the IOMMU off",
        ),
        Profile(
            name="shared_group",
            node="kata-shared-group",
            address="127.0.0.23",
            slots=(
                Slot(0, (A10_IN_SLOT,), bus="disk-side"),
                Slot(0, (A10_IN_SLOT,), bus="network-side"),
                Slot(0, (A10_IN_SLOT,), bus="alone"),
            ),
            kernel_arguments="quiet",
            # Functions of one device without ACS, as the slots of many a desktop processor: what is below them is one group.
            ports=(
                "ioh3420,id=disk-side,chassis=1,addr=5.0,multifunction=on,disable-acs=on",
                "ioh3420,id=disk,chassis=2,addr=5.1,disable-acs=on",
                "ioh3420,id=network-side,chassis=3,addr=6.0,multifunction=on,disable-acs=on",
                "ioh3420,id=network,chassis=4,addr=6.1,disable-acs=on",
                "pcie-root-port,id=alone,chassis=5,addr=7.0,multifunction=on",
            ),
            disk_place="bus=disk",
            network_place="bus=network",
            description="three A10: one in the IOMMU group of the disk of /, one in that of the network card, both below"
            " root ports without ACS, and one below a root port with ACS",
        ),
        Profile(
            name="hgx",
            node="kata-hgx",
            address="127.0.0.24",
            slots=(
                *(Slot(number, (GH100,)) for number in range(8, 16)),
                *(Slot(number, (NVSWITCH,)) for number in range(16, 20)),
            ),
            kernel_arguments="quiet",
            description="eight GPUs [10de:2336] and four NVSwitches [10de:22a3], each at a slot of its own",
        ),
        Profile(
            name="amd",
            node="kata-amd",
            address="127.0.0.25",
            slots=(Slot(8, (RTX_A6000, RTX_A6000_AUDIO)),),
            iommu=AMD_IOMMU,
            # This IOMMU is a PCI function itself and would take the display's slot.
            graphics=(f"{DISPLAY},addr=5",),
            kernel_arguments="quiet amd_iommu=off",
            description="RTX A6000 with its audio function, an AMD IOMMU (IVRS table), kernel argument amd_iommu=off",
        ),
        Profile(
            name="two_kernels",
            node="kata-two-kernels",
            address="127.0.0.26",
            slots=(Slot(8, (RTX_A6000, RTX_A6000_AUDIO)),),
            graphics=(DISPLAY,),
            packages=("linux-image-rt-amd64",),
            description="RTX A6000 with its audio function; Debian's general kernel and its real-time kernel are installed",
        ),
        Profile(
            name="busy",
            node="kata-busy",
            address="127.0.0.27",
            slots=(Slot(8, (RTX_A6000, RTX_A6000_AUDIO)),),
            graphics=(DISPLAY,),
            kernel_arguments="quiet",
            description="RTX A6000 with its audio function; a process holds the device nodes of both. No driver makes nodes for these"
            " identities, so ``uio_pci_generic`` with its ``/dev/uio0`` and ``/dev/uio1`` stands for a driver of the card",
        ),
    )
}
