# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What speaks against handing over a device, each check over the whole selection."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.journal import JOURNAL, UNREADABLE, WEDGED
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import Refusal
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.wording import named, noun

# 3D controllers (0302) have no output, so they are no display to be left without.
_DISPLAYS = ("0300", "0301", "0380")
_OF_BMC = ("is the display of its remote console (BMC)",)
# Drivers from which an idle device can be taken while the system runs.
_LETS_GO = ("nouveau", "snd_hda_intel", "xhci_hcd", "nvidia-gpu", "nvidia", "nvidia-nvswitch", "pci-stub")
# From this version a removal that began with a user never ends, even when the user goes away.
_NVIDIA_WEDGES = 595


def needed_by_host(handed_over: Sequence[PciDevice], facts: Mapping[str, Any]) -> List[Refusal]:
    """Storage and network, whoever would bind the device in the end."""
    refusals = []
    critical = facts.get("critical") or {}
    for device in handed_over:
        reasons = [*(critical.get(device.address) or []), *(_OF_BMC if _is_of_bmc(device) else ())]
        if reasons and not drivers.is_vfio(device.driver):
            refusals.append(
                Refusal(
                    "A07",
                    device.address,
                    device.iommu_group,
                    f"{named(device)} (driver {device.driver}) of IOMMU group {device.iommu_group} is needed by the host: "
                    f"it {', '.join(reasons)}.",
                    "Binding it would take the disk, the network or the console away from the host.",
                    "leave it out; if it shares its group with a GPU, enable ACS in the firmware or move the card.",
                    f"{PCI_DEVICES}/{device.address}",
                )
            )
    return refusals


def _is_of_bmc(device: PciDevice) -> bool:
    """ASPEED, Matrox G200, HiSilicon Hibmc: what the remote console of a server shows."""
    return device.has_class("03") and (device.id or "").startswith(("1a03:", "102b:05", "19e5:1711"))


def last_display(devices: Sequence[PciDevice], handed_over: Sequence[PciDevice]) -> List[Refusal]:
    going = {device.address for device in handed_over}
    displays = [device for device in devices if device.has_class(*_DISPLAYS)]
    if any(device.address not in going and not drivers.is_vfio(device.driver) for device in displays):
        return []
    boot = [device for device in displays if device.boot_vga]
    taken = [device for device in boot or displays if device.address in going and not drivers.is_vfio(device.driver)]
    return [
        Refusal(
            "A15",
            device.address,
            device.iommu_group,
            f"{named(device)} is the only display of the host"
            + (" and the one it booted with (boot_vga 1)." if device.boot_vga else "."),
            "Binding it would leave the host without a console.",
            "make a BMC or integrated display primary in the firmware, or leave this device out.",
            f"{PCI_DEVICES}/{device.address}/boot_vga",
        )
        for device in taken
    ]


def divided(changing: Sequence[PciDevice], facts: Mapping[str, Any]) -> List[Refusal]:
    """Virtual functions and mediated devices go down with the device they are made from."""
    refusals = []
    for device in changing:
        functions = (facts.get("sriov") or {}).get(device.address) or 0
        mediated = (facts.get("mdev") or {}).get(device.address) or []
        if functions or mediated:
            what = f"{functions} virtual functions" if functions else f"{len(mediated)} mediated devices"
            refusals.append(
                Refusal(
                    "C09",
                    device.address,
                    device.iommu_group,
                    f"{named(device)} has {what}.",
                    "They would vanish from whoever uses them.",
                    "remove them first (sriov_numvfs, mdev), or leave the device out.",
                    f"{PCI_DEVICES}/{device.address}",
                )
            )
    return refusals


def driver_missing(
    changing: Mapping[str, str], devices: Sequence[PciDevice], facts: Mapping[str, Any]
) -> List[Refusal]:
    """C(changing) is address to driver. Where modules cannot be read, such as in a copied tree, nothing is said."""
    refusals = []
    by_address = {device.address: device for device in devices}
    for address, driver in changing.items():
        if drivers.is_available(driver, facts.get("drivers") or {}) is False:
            refusals.append(
                Refusal(
                    "driver_unavailable",
                    address,
                    by_address[address].iommu_group,
                    f"The running kernel has no driver {driver} for {named(by_address[address])}.",
                    "The device would have no driver at all after the next boot.",
                    "install the module package of this kernel, or name another driver.",
                    "/lib/modules",
                )
            )
    return refusals


def overridden_elsewhere(
    wanted: Mapping[str, str], devices: Sequence[PciDevice], facts: Mapping[str, Any]
) -> List[Refusal]:
    """C(wanted) is address to driver. Of two that set the driver at each boot, the last one wins."""
    by_address = {device.address: device for device in devices}
    refusals = []
    for address, other in (facts.get("driverctl") or {}).items():
        if address in wanted and not drivers.same(other, wanted[address]):
            refusals.append(
                Refusal(
                    "C12",
                    address,
                    by_address[address].iommu_group,
                    f"driverctl binds {named(by_address[address])} to {other or 'no driver'} at every boot.",
                    "Two parties would set its driver, and the last one wins.",
                    f"remove that (driverctl --noprobe unset-override {address}), or leave the device out.",
                    f"/etc/driverctl.d/pci-{address}",
                )
            )
    return refusals


def busy(stepping: Sequence[PciDevice], facts: Mapping[str, Any]) -> List[Refusal]:
    """For what would be taken from a driver while the system runs."""
    refusals = []
    in_use: Dict[str, List[str]] = facts.get("in_use") or {}
    for device in stepping:
        holders = in_use.get(device.address) or []
        if holders:
            refusals.append(_in_use(device, holders))
        elif device.driver is not None and not drivers.is_vfio(device.driver) and device.driver not in _LETS_GO:
            refusals.append(
                Refusal(
                    "unknown_driver",
                    device.address,
                    device.iommu_group,
                    f"{named(device)} is held by driver {device.driver}.",
                    "Whether that driver lets go of a device in a running system is not known.",
                    "use live: never; the device is then bound at the next boot.",
                    f"{PCI_DEVICES}/{device.address}/driver",
                )
            )
        elif device.driver == "nvidia" and _major(facts.get("nvidia_version")) >= _NVIDIA_WEDGES:
            refusals.append(
                Refusal(
                    "C02",
                    device.address,
                    device.iommu_group,
                    f"{named(device)} is held by the NVIDIA driver {facts.get('nvidia_version')}.",
                    "Taking a device from this version can block for ever.",
                    "use live: never; the device is then bound at the next boot.",
                    "/proc/driver/nvidia/version",
                )
            )
    return refusals


def wedged(stepping: Sequence[PciDevice], facts: Mapping[str, Any]) -> List[Refusal]:
    """A second write would queue behind one that is stuck in the kernel, whichever device it is for."""
    entry = facts.get("journal") or {}
    if not stepping or not entry.get("this_boot"):
        return []
    if entry["state"] == WEDGED:
        return [
            Refusal(
                "C01",
                str(entry["wedged"]),
                None,
                f"A write to sysfs for {entry['wedged']} has not returned since an earlier run of this boot.",
                "WEDGED, reboot required: it cannot be ended, and another one would wait behind it.",
                "drain the node and reboot it; live: never prepares the binding for that boot.",
                JOURNAL,
            )
        ]
    if entry["state"] == UNREADABLE:
        return [
            Refusal(
                "journal",
                stepping[0].address,
                stepping[0].iommu_group,
                f"{JOURNAL} is there and cannot be understood.",
                "What an earlier run left in the middle is not known.",
                "look at the drivers of the devices (lspci -nnk), then remove the file; or use live: never and reboot.",
                JOURNAL,
            )
        ]
    return []


def _in_use(device: PciDevice, holders: Sequence[str]) -> Refusal:
    return Refusal(
        "C01",
        device.address,
        device.iommu_group,
        f"{named(device)} of IOMMU group {device.iommu_group} is in use: {'; '.join(holders)}.",
        f"Taking the {noun(device)} from driver {device.driver} now could block for ever or harm what uses it.",
        "end what uses it, or use live: never and reboot.",
        "/proc/*/fd by device number",
    )


def _major(version: Any) -> int:
    text = str(version or "").partition(".")[0]
    return int(text) if text.isdigit() else 0
