# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of one PCI function, whichever source it came from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Tuple

NVIDIA = "10de"


@dataclass(frozen=True)
class PciDevice:
    """Everything but the address may be unknown; lspci captures leave much out, and sysfs has no names."""

    address: str
    class_code: Optional[str] = None
    class_name: Optional[str] = None
    vendor_id: Optional[str] = None
    device_id: Optional[str] = None
    subsystem_vendor_id: Optional[str] = None
    subsystem_device_id: Optional[str] = None
    vendor_name: Optional[str] = None
    device_name: Optional[str] = None
    revision: Optional[str] = None
    driver: Optional[str] = None
    modules: Tuple[str, ...] = ()
    iommu_group: Optional[str] = None
    driver_override: Optional[str] = None
    numa_node: Optional[int] = None
    boot_vga: Optional[bool] = None
    parent: Optional[str] = None
    # Functions that the kernel has linked to a display function, such as its audio function.
    consumers: Tuple[str, ...] = ()
    # From configuration space.
    express_type: Optional[str] = None
    multifunction: Optional[bool] = None
    link: Optional[Mapping[str, Any]] = field(default=None, hash=False)
    acs: Optional[Mapping[str, Any]] = field(default=None, hash=False)
    resizable_bars: Tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    # How the kernel can reset the device, the first way first; nothing where it does not say.
    reset_methods: Optional[Tuple[str, ...]] = None
    power_state: Optional[str] = None
    bars: Tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    sriov: Optional[Mapping[str, Any]] = field(default=None, hash=False)

    @property
    def slot(self) -> str:
        """The address without its function: C(0000:65:00)."""
        return self.address.rpartition(".")[0]

    @property
    def is_bridge(self) -> bool:
        """Whether this is a PCI-to-PCI bridge, which a VFIO group may hold without its being bound."""
        return self.has_class("0604")

    @property
    def is_endpoint(self) -> bool:
        """Whether this is anything but a bridge of the PCI fabric, host bridges included."""
        return not (self.is_bridge or self.has_class("0600"))

    @property
    def is_nvidia_gpu(self) -> bool:
        return self.vendor_id == NVIDIA and self.has_class("0300", "0302")

    @property
    def id(self) -> Optional[str]:
        """Vendor and device as lspci writes them: C(10de:2236)."""
        return None if self.vendor_id is None or self.device_id is None else f"{self.vendor_id}:{self.device_id}"

    def has_class(self, *prefixes: str) -> bool:
        return (self.class_code or "").startswith(prefixes)

    def having(self, **known: Any) -> PciDevice:
        """A copy with other values; dataclasses.replace would set all fields one by one for each of hundreds."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **known)
        return copy

    def as_dict(self) -> Dict[str, Any]:
        # Not dataclasses.asdict: its deep copies cost more than reading the devices did.
        data = {name: getattr(self, name) for name in _NAMES}
        data["modules"] = list(self.modules)
        data["consumers"] = list(self.consumers)
        data["bars"] = [dict(region) for region in self.bars]
        data["resizable_bars"] = [dict(register) for register in self.resizable_bars]
        data["reset_methods"] = None if self.reset_methods is None else list(self.reset_methods)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PciDevice:
        """The inverse of C(as_dict); keys of a later schema are ignored."""
        known = {name: data[name] for name in _NAMES if name in data}
        known["modules"] = tuple(known.get("modules") or ())
        known["consumers"] = tuple(known.get("consumers") or ())
        known["bars"] = tuple(known.get("bars") or ())
        known["resizable_bars"] = tuple(known.get("resizable_bars") or ())
        if known.get("reset_methods") is not None:
            known["reset_methods"] = tuple(known["reset_methods"])
        return cls(**known)


_NAMES = tuple(entry.name for entry in fields(PciDevice))
