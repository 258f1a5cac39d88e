# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes apart what lspci writes about a class, a vendor and a device.

Vendor and device names stand side by side in most styles with nothing between them. Where the vendor ends is known from
names: those of the caller's database, else the common ones below, else the legal form that most names end in.
"""

from __future__ import annotations

import re
from typing import Dict, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.classes import class_code

# Facts of pci.ids (pciids/pciids, version 2023.04.10). A name that vendors share stands with each, lest it say an ID.
COMMON_VENDORS: Dict[str, str] = {
    "025e": "Solidigm",
    "1000": "Broadcom / LSI",
    "1002": "Advanced Micro Devices, Inc. [AMD/ATI]",
    "1013": "Cirrus Logic",
    "1014": "IBM",
    "101c": "Western Digital",
    "1022": "Advanced Micro Devices, Inc. [AMD]",
    "1025": "Acer Incorporated [ALI]",
    "1028": "Dell",
    "102b": "Matrox Electronics Systems Ltd.",
    "103c": "Hewlett-Packard Company",
    "1043": "ASUSTeK Computer Inc.",
    "104a": "STMicroelectronics",
    "104c": "Texas Instruments",
    "104d": "Sony Corporation",
    "1055": "Microchip Technology / SMSC",
    "106b": "Apple Inc.",
    "1077": "QLogic Corp.",
    "108e": "Oracle/SUN",
    "10b5": "PLX Technology, Inc.",
    "10cf": "Fujitsu Limited.",
    "10de": "NVIDIA Corporation",
    "10df": "Emulex Corporation",
    "10ec": "Realtek Semiconductor Co., Ltd.",
    "1102": "Creative Labs",
    "1106": "VIA Technologies, Inc.",
    "111d": "Microsemi / PMC / IDT",
    "1120": "Dell EMC",
    "1166": "Broadcom",
    "1179": "Toshiba Corporation",
    "11ab": "Marvell Technology Group Ltd.",
    "11f8": "PMC-Sierra Inc.",
    "1217": "O2 Micro, Inc.",
    "126f": "Silicon Motion, Inc.",
    "1283": "Integrated Technology Express, Inc.",
    "12d8": "Pericom Semiconductor",
    "1344": "Micron Technology Inc",
    "1414": "Microsoft Corporation",
    "1425": "Chelsio Communications Inc",
    "144d": "Samsung Electronics Co Ltd",
    "1458": "Gigabyte Technology Co., Ltd",
    "1462": "Micro-Star International Co., Ltd. [MSI]",
    "14c3": "MEDIATEK Corp.",
    "14e4": "Broadcom Inc. and subsidiaries",
    "152d": "QUANTA Computer Inc",
    "1558": "CLEVO/KAPOK Computer",
    "1590": "Hewlett Packard Enterprise",
    "15ad": "VMware",
    "15b3": "Mellanox Technologies",
    "15b7": "Sandisk Corp",
    "15d9": "Super Micro Computer Inc",
    "168c": "Qualcomm Atheros",
    "16c3": "Synopsys, Inc.",
    "1734": "Fujitsu Technology Solutions",
    "177d": "Cavium, Inc.",
    "17aa": "Lenovo",
    "17cb": "Qualcomm Technologies, Inc",
    "1814": "Ralink corp.",
    "1849": "ASRock Incorporation",
    "1924": "Solarflare Communications",
    "1969": "Qualcomm Atheros",
    "197b": "JMicron Technology Corp.",
    "1987": "Phison Electronics Corporation",
    "19a2": "Emulex Corporation",
    "19e5": "Huawei Technologies Co., Ltd.",
    "1a03": "ASPEED Technology, Inc.",
    "1ae0": "Google, Inc.",
    "1af4": "Red Hat, Inc.",
    "1b21": "ASMedia Technology Inc.",
    "1b36": "Red Hat, Inc.",
    "1b4b": "Marvell Technology Group Ltd.",
    "1b73": "Fresco Logic",
    "1b96": "Western Digital",
    "1bb1": "Seagate Technology PLC",
    "1c58": "HGST, Inc.",
    "1c5c": "SK hynix",
    "1cc1": "ADATA Technology Co., Ltd.",
    "1cc4": "Shenzhen Unionmemory Information System Ltd.",
    "1d0f": "Amazon.com, Inc.",
    "1d17": "Zhaoxin",
    "1dd8": "AMD Pensando Systems",
    "1def": "Ampere Computing, LLC",
    "1e0f": "KIOXIA Corporation",
    "2646": "Kingston Technology Company, Inc.",
    "5853": "XenSource, Inc.",
    "8086": "Intel Corporation",
    "80ee": "InnoTek Systemberatung GmbH",
    "9004": "Adaptec",
    "9005": "Adaptec",
    "c0a9": "Micron/Crucial Technology",
}
# Names that other versions of pci.ids (2008 to 2025) gave the same vendors.
_OTHER_NAMES: Dict[str, str] = {
    "AMD Solarflare": "1924",
    "AMD [Advanced Micro Devices, Inc.]": "1022",
    "AMD/ATI [Advanced Micro Devices, Inc.]": "1002",
    "ATI Technologies Inc": "1002",
    "Advanced Micro Devices [AMD]": "1022",
    "Advanced Micro Devices [AMD] nee ATI": "1002",
    "Atheros Communications Inc.": "168c",
    "Broadcom Corporation": "14e4",
    "Broadcom Limited": "14e4",
    "Cavium Networks": "177d",
    "Giga-byte Technology": "1458",
    "Integrated Device Technology, Inc.": "111d",
    "Integrated Device Technology, Inc. [IDT]": "111d",
    "JMicron Technologies, Inc.": "197b",
    "LSI Logic / Symbios Logic": "1000",
    "Matrox Graphics, Inc.": "102b",
    "Micro-Star International Co., Ltd.": "1462",
    "Microchip Technology": "11f8",
    "Pensando Systems": "1dd8",
    "Qualcomm": "17cb",
    "Quanta Computer Inc": "152d",
    "Red Hat, Inc": "1af4",
    "Toshiba America Info Systems": "1179",
    "Union Memory (Shenzhen)": "1cc4",
    "VMware Inc": "15ad",
    "nVidia Corporation": "10de",
}

_STRONG = (
    r"Incorporated|Inc\.?|Corporation|Corp\.?|Co\.?,? ?Ltd\.?|Ltd\.?|Limited|LLC|GmbH|AG|PLC|Plc|B\.V\.|S\.A\.|N\.V\."
)
_WEAK = r"Company|Technologies|Technology|Semiconductors?|Systems|Electronics|Communications|Networks"
_BY_FORM = tuple(re.compile(rf"(\S.{{0,60}}?[ ,](?:{suffix})(?: \[[^\]]*\])?) (\S.*)\Z") for suffix in (_STRONG, _WEAK))
_WITH_ID = re.compile(r"(.*?)\s*\[([0-9a-f]{4})\]\Z", re.IGNORECASE)
_WITH_PAIR = re.compile(r"(.*?)\s*\[([0-9a-f]{4}):([0-9a-f]{4})\]\Z", re.IGNORECASE)
_ID = re.compile(r"[0-9a-f]{4}\Z", re.IGNORECASE)
_PAIR = re.compile(r"(?:Device |Unknown device )?([0-9a-f]{4}):([0-9a-f]{4})\Z", re.IGNORECASE)
_UNNAMED = re.compile(r"(?:Unknown )?(?:Class|Vendor|Device|Subsystem|ProgIf)(?: ([0-9a-f]{4}))?\Z", re.IGNORECASE)
# pciutils before 3.0 wrote "Unknown device", sometimes after a colon.
_UNNAMED_DEVICE = re.compile(r"(?:(.*?[^\s:]):? )?(?:Device|Unknown device) ([0-9a-f]{4})\Z")
_NO_NAME = ("", "Device", "Unknown device")
_UNNAMED_SUFFIX = re.compile(r"(.*?):? (?:Device|Unknown device)\Z")


class Named(NamedTuple):
    """A name with its ID; either may be missing."""

    id: Optional[str]
    name: Optional[str]


NOTHING = Named(None, None)


class Vendors:
    """Vendor names by ID and IDs by name, the caller's database before the common ones."""

    def __init__(self, database: Optional[Mapping[str, str]] = None) -> None:
        self._names: Dict[str, str] = dict(database or {})
        self._ids: Dict[str, Optional[str]] = dict(_OTHER_NAMES)
        for names in (COMMON_VENDORS, self._names):
            for vendor_id, name in names.items():
                # A name that two IDs share says nothing about the ID.
                self._ids[name] = vendor_id if self._ids.get(name, vendor_id) == vendor_id else None

    def id_of(self, name: Optional[str]) -> Optional[str]:
        return None if name is None else self._ids.get(name)

    def known(self, text: str, vendor_id: Optional[str]) -> Optional[str]:
        """The name of a known vendor with which a text begins, the longest there is."""
        for name in (self._names.get(vendor_id or ""), COMMON_VENDORS.get(vendor_id or "")):
            if name is not None and (text + " ").startswith(name + " "):
                return name
        end = len(text)
        while end > 0:
            if text[:end] in self._ids:
                return text[:end]
            end = text.rfind(" ", 0, end)
        return None

    def split(self, text: str, vendor_id: Optional[str]) -> Tuple[Optional[str], Optional[str]]:
        """Vendor and device name; a text whose vendor cannot be told apart is a device name altogether."""
        name = self.known(text, vendor_id)
        if name is not None:
            return name, text[len(name) :].strip() or None
        for form in _BY_FORM:
            match = form.match(text)
            if match is not None:
                return match.group(1), match.group(2)
        return None, text or None


def parse_class(text: str) -> Optional[Named]:
    """C(3D controller [0302]), C(3D controller), C(0302), C(Class 0302); nothing where it is none of these."""
    text = text.strip()
    single = parse_single(text)
    if single.id is not None:
        return single
    return None if single.name is None else Named(class_code(single.name), single.name)


def parse_single(text: str) -> Named:
    """One class, vendor or device on its own, as the machine-readable styles write them."""
    text = text.strip()
    match = _WITH_ID.match(text)
    if match is not None:
        return Named(match.group(2).lower(), None if _UNNAMED.match(match.group(1)) else match.group(1) or None)
    if _ID.match(text):
        return Named(text.lower(), None)
    unnamed = _UNNAMED.match(text)
    if unnamed is not None and unnamed.group(1) is not None:
        return Named(unnamed.group(1).lower(), None)
    return Named(None, text or None)


def parse_pair(text: str, vendors: Vendors) -> Tuple[Named, Named]:
    """Vendor and device as they stand together in the styles for people."""
    text = text.strip()
    match = _PAIR.match(text)
    if match is not None:
        return Named(match.group(1).lower(), None), Named(match.group(2).lower(), None)
    match = _WITH_PAIR.match(text)
    if match is not None:
        vendor_id, device_id = match.group(2).lower(), match.group(3).lower()
        vendor_name, device_name = _names(match.group(1), vendor_id, vendors)
        return Named(vendor_id, vendor_name), Named(device_id, device_name)
    match = _UNNAMED_DEVICE.match(text)
    if match is not None and _is_vendor(match.group(1), None, vendors):
        return Named(vendors.id_of(match.group(1)), match.group(1)), Named(match.group(2).lower(), None)
    vendor_name, device_name = vendors.split(text, None)
    return Named(vendors.id_of(vendor_name), vendor_name), Named(None, device_name)


def _names(text: str, vendor_id: str, vendors: Vendors) -> Tuple[Optional[str], Optional[str]]:
    if text in _NO_NAME:
        return None, None
    unnamed = _UNNAMED_SUFFIX.match(text)
    if unnamed is not None and _is_vendor(unnamed.group(1), vendor_id, vendors):
        return unnamed.group(1), None
    return vendors.split(text, vendor_id)


def _is_vendor(text: Optional[str], vendor_id: Optional[str], vendors: Vendors) -> bool:
    """Whether what stands before "Device" is a vendor's name alone, and not the beginning of a device's name."""
    return text is None or vendors.known(text, vendor_id) in (None, text)
