# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses devices by address, vendor, ID, class and driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, List, Mapping, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.address import require_all
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice

NO_DRIVER = "none"


@dataclass(frozen=True)
class Selection:
    """Within one field any value may fit, across fields all given ones must; an empty field excludes nothing."""

    addresses: Tuple[str, ...] = ()
    vendors: Tuple[str, ...] = ()
    ids: Tuple[str, ...] = ()
    classes: Tuple[str, ...] = ()
    drivers: Tuple[str, ...] = ()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Selection:
        """Checks every value, so that a misspelt one is refused and does not silently choose nothing."""
        return cls(
            addresses=tuple(require_all(options.get("addresses") or [], "addresses", "address")),
            vendors=tuple(require_all(options.get("vendors") or [], "vendors", "vendor")),
            ids=tuple(require_all(options.get("ids") or [], "ids", "id")),
            classes=tuple(require_all(options.get("classes") or [], "classes", "class")),
            drivers=tuple(options.get("drivers") or ()),
        )

    def has(self, device: PciDevice) -> bool:
        return (
            (not self.addresses or device.address in self.addresses)
            and (not self.vendors or device.vendor_id in self.vendors)
            and (not self.ids or device.id in self.ids or f"{device.vendor_id}:" in self.ids)
            and (not self.classes or device.has_class(*self.classes))
            and (not self.drivers or (device.driver or NO_DRIVER) in self.drivers)
        )


def select(devices: Iterable[PciDevice], selection: Selection) -> List[PciDevice]:
    return [device for device in devices if selection.has(device)]
