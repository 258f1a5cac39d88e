# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How devices are called in messages."""

from __future__ import annotations

from typing import Iterable

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import NVIDIA, PciDevice

_NOUNS = (
    ("0108", "NVMe disk"),
    ("01", "storage controller"),
    ("02", "network card"),
    ("0403", "audio function"),
    ("0604", "bridge"),
    ("0c03", "USB controller"),
    ("03", "display"),
)


def noun(device: PciDevice) -> str:
    if device.is_nvidia_gpu:
        return "GPU"
    if device.vendor_id == NVIDIA and device.has_class("0680"):
        return "NVSwitch"
    return next((word for prefix, word in _NOUNS if device.has_class(prefix)), "device")


def named(device: PciDevice) -> str:
    return f"{noun(device)} {device.address}"


def described(device: PciDevice, reasons: Iterable[str] = ()) -> str:
    """Such as C(0000:01:00.0 (NVMe disk, driver nvme, holds /))."""
    facts = [noun(device), f"driver {device.driver}" if device.driver else "no driver", *reasons]
    return f"{device.address} ({', '.join(facts)})"
