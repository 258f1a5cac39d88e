# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a machine description the way lspci would print it, in each of its styles.

The formats are those of pciutils 3.9 (lspci.c, ls-kernel.c, lib/names.c). C(expected) says which facts a style can show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NAMES, NUMBERS, BOTH = "names", "numbers", "both"


@dataclass(frozen=True)
class Style:
    shape: str = "line"
    texts: str = NAMES
    kernel: bool = False
    verbose: int = 0
    domain: bool = False


STYLES = {
    "plain": Style(),
    "n": Style(texts=NUMBERS),
    "nn": Style(texts=BOTH),
    "D": Style(domain=True),
    "k": Style(kernel=True),
    "nk": Style(texts=NUMBERS, kernel=True),
    "nnk": Style(texts=BOTH, kernel=True),
    "Dnnk": Style(texts=BOTH, kernel=True, domain=True),
    "v": Style(kernel=True, verbose=1),
    "nnv": Style(texts=BOTH, kernel=True, verbose=1),
    "vv": Style(kernel=True, verbose=2),
    "nvv": Style(texts=NUMBERS, kernel=True, verbose=2),
    "vvnnk": Style(texts=BOTH, kernel=True, verbose=2),
    "mm": Style(shape="mm"),
    "nmm": Style(shape="mm", texts=NUMBERS),
    "mmnn": Style(shape="mm", texts=BOTH, domain=True),
    "vmm": Style(shape="vmm"),
    "nvmm": Style(shape="vmm", texts=NUMBERS),
    "vmmnn": Style(shape="vmm", texts=BOTH),
    "vmmk": Style(shape="vmm", kernel=True),
    "Dvmmnnk": Style(shape="vmm", texts=BOTH, kernel=True, domain=True),
}

# What happens to captures on their way into documents and tickets.
DISTORTIONS: dict[str, Callable[[str], str]] = {
    "as_printed": lambda text: text,
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "indented_by_blanks": lambda text: "".join(
        f"      {line.replace(chr(9), ' ' * 8)}\n" for line in text.splitlines()
    ),
    "indentation_lost": lambda text: "".join(f"{line.strip()}\n" for line in text.splitlines()),
    "coloured": lambda text: "".join(f"\x1b[1;31m{line}\x1b[0m\n" for line in text.splitlines()),
    "quoted": lambda text: "".join(f"> {line}\n" for line in text.splitlines()),
}


def render(machine: dict[str, Any], style: Style) -> str:
    functions = sorted(machine["pci"], key=lambda function: function["address"])
    with_domain = style.domain or any(not function["address"].startswith("0000:") for function in functions)
    write = {"line": _lines, "mm": _quoted, "vmm": _record}[style.shape]
    return "".join(write(function, style, _slot(function, with_domain)) for function in functions)


def expected(function: dict[str, Any], style: Style) -> dict[str, Any]:
    """The facts of a function that a style shows, under the names of the product's device."""
    subsystem = function.get("subsystem", "").split(":") if _shows_subsystem(function, style) else [None, None]
    detailed = style.verbose > 0 or style.shape == "vmm"
    shows_prog_if = style.verbose > 0 or style.shape != "line"
    facts = {
        "address": function["address"],
        "class_code": function["class"] if shows_prog_if else function["class"][:4],
        "class_name": function["class_name"] if style.texts != NUMBERS else None,
        "vendor_name": function["vendor_name"] if style.texts != NUMBERS else None,
        "device_name": function.get("device_name") if style.texts != NUMBERS else None,
        "device_id": None if style.texts == NAMES and "device_name" in function else function["device"],
        "subsystem_device_id": subsystem[1],
        "revision": None if function.get("revision", "00") == "00" else function["revision"],
        "driver": function.get("driver") if style.kernel else None,
        "modules": function.get("modules", []) if style.kernel else [],
        "iommu_group": function.get("group") if detailed else None,
        "numa_node": function.get("numa_node") if detailed else None,
        "bars": [_bar(bar, style.verbose) for bar in function.get("bars", [])] if style.verbose else [],
    }
    if style.texts != NAMES:
        facts["vendor_id"] = function["vendor"]
        facts["subsystem_vendor_id"] = subsystem[0]
    return facts


def _bar(bar: list[Any], verbose: int) -> dict[str, Any]:
    index, kind, address, size, bits, prefetchable = bar
    return {
        "index": index if verbose > 1 else None,
        "type": kind,
        "address": f"0x{address:x}",
        "size": size,
        "bits": bits,
        "prefetchable": bool(prefetchable),
        "assigned": True,
    }


def _slot(function: dict[str, Any], with_domain: bool) -> str:
    address: str = function["address"]
    return address if with_domain else address.split(":", 1)[1]


def _shows_subsystem(function: dict[str, Any], style: Style) -> bool:
    return "subsystem" in function and (style.kernel or style.verbose > 0 or style.shape != "line")


def _class(function: dict[str, Any], style: Style) -> str:
    code, name = str(function["class"])[:4], str(function["class_name"])
    if style.texts == NUMBERS:
        return code
    # Where only the base class has a name, its number is printed as well.
    return f"{name} [{code}]" if style.texts == BOTH or code == "ff00" else name


def _pair(vendor: str, device: str, vendor_name: str | None, device_name: str | None, style: Style) -> str:
    if style.texts == NUMBERS:
        return f"{vendor}:{device}"
    if style.texts == BOTH:
        return " ".join(filter(None, [vendor_name, device_name or "Device", f"[{vendor}:{device}]"]))
    if vendor_name is None:
        return f"Device {vendor}:{device}"
    return f"{vendor_name} {device_name or 'Device ' + device}"


def _single(number: str, name: str | None, unknown: str, style: Style) -> str:
    if style.texts == NUMBERS:
        return number
    if style.texts == BOTH:
        return f"{name or unknown} [{number}]"
    return name or f"{unknown} {number}"


def _subsystem_vendor_name(function: dict[str, Any]) -> str | None:
    same = function["subsystem"].split(":")[0] == function["vendor"]
    return function["vendor_name"] if same else None


def _lines(function: dict[str, Any], style: Style, slot: str) -> str:
    names = function.get("vendor_name"), function.get("device_name")
    head = f"{slot} {_class(function, style)}: {_pair(function['vendor'], function['device'], *names, style)}"
    if function.get("revision", "00") != "00":
        head += f" (rev {function['revision']})"
    if style.verbose and len(function["class"]) == 6:
        head += f" (prog-if {function['class'][4:]} [Some interface])"
    details = [*_subsystem_lines(function, style), *_verbose_lines(function, style)]
    if style.kernel and "driver" in function:
        details.append(f"Kernel driver in use: {function['driver']}")
    if style.kernel and function.get("modules"):
        details.append(f"Kernel modules: {', '.join(function['modules'])}")
    text = "".join(f"{line}\n" for line in [head, *(f"\t{detail}" for detail in details)])
    return text + ("\n" if style.verbose else "")


def _subsystem_lines(function: dict[str, Any], style: Style) -> list[str]:
    is_bridge = function["class"].startswith("0604")
    if not _shows_subsystem(function, style) or (is_bridge and style.verbose):
        return []
    return [f"Subsystem: {_subsystem(function, style)}"]


def _subsystem(function: dict[str, Any], style: Style) -> str:
    vendor, device = function["subsystem"].split(":")
    return _pair(vendor, device, _subsystem_vendor_name(function), None, style)


def _verbose_lines(function: dict[str, Any], style: Style) -> list[str]:
    if style.verbose == 0:
        return []
    lines = []
    if style.verbose == 1:
        flags = ["Flags: bus master", "fast devsel", "latency 0"]
        flags += [f"NUMA node {function['numa_node']}"] if "numa_node" in function else []
        flags += [f"IOMMU group {function['group']}"] if "group" in function else []
        lines.append(", ".join(flags))
    else:
        lines.append("Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B-")
        lines.append("Status: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR-")
        lines.append("Latency: 0, Cache Line Size: 64 bytes")
        lines += [f"NUMA node: {function['numa_node']}"] if "numa_node" in function else []
        lines += [f"IOMMU group: {function['group']}"] if "group" in function else []
    for index, kind, address, size, bits, prefetchable in function.get("bars", []):
        region = f"Region {index}: " if style.verbose > 1 else ""
        pre = "prefetchable" if prefetchable else "non-prefetchable"
        where = f"I/O ports at {address:x}" if kind == "io" else f"Memory at {address:x} ({bits}-bit, {pre})"
        lines.append(f"{region}{where} [size={_size(size)}]")
    if function["class"].startswith("0604"):
        lines.append("Bus: primary=00, secondary=01, subordinate=01, sec-latency=0")
        lines.append("I/O behind bridge: [disabled] [32-bit]")
        if style.verbose > 1:
            lines.append("BridgeCtl: Parity- SERR+ NoISA- VGA- VGA16- MAbort- >Reset- FastB2B-")
            lines.append("\tPriDiscTmr- SecDiscTmr- DiscTmrStat- DiscTmrSERREn-")
        if "subsystem" in function:
            lines.append(f"Capabilities: [c0] Subsystem: {_subsystem(function, style)}")
    lines.append("Capabilities: [60] Express (v2) Endpoint, MSI 00")
    if style.verbose > 1:
        lines.append("\tDevCap:\tMaxPayload 256 bytes, PhantFunc 0, Latency L0s unlimited, L1 <64us")
        lines.append("\t\tExtTag+ AttnBtn- AttnInd- PwrInd- RBE+ FLReset+")
        lines.append("\t\tMaxPayload 128 bytes, MaxReadReq 512 bytes")
        lines.append("\t\tSlot #3, PowerLimit 75.000W; Interlock- NoCompl+")
        lines.append("Capabilities: [e0 v1] L1 PM Substates")
        lines.append("\t\t  PortCommonModeRestoreTime=255us PortTPowerOnTime=10us")
        lines.append("Capabilities: [1a0 v1] Single Root I/O Virtualization (SR-IOV)")
        lines.append("\tRegion 0: Memory at 00003c0000000000 (64-bit, prefetchable)")
    return lines


def _size(size: int) -> str:
    for unit, factor in (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _quoted(function: dict[str, Any], style: Style, slot: str) -> str:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    fields = [slot, quote(_class(function, style))]
    fields.append(quote(_single(function["vendor"], function["vendor_name"], "Vendor", style)))
    fields.append(quote(_single(function["device"], function.get("device_name"), "Device", style)))
    if function.get("revision", "00") != "00":
        fields.append(f"-r{function['revision']}")
    if len(function["class"]) == 6:
        fields.append(f"-p{function['class'][4:]}")
    if "subsystem" in function:
        vendor, device = function["subsystem"].split(":")
        fields.append(quote(_single(vendor, _subsystem_vendor_name(function), "Unknown vendor", style)))
        fields.append(quote(_single(device, None, "Device", style)))
    else:
        fields += ['""', '""']
    return " ".join(fields) + "\n"


def _record(function: dict[str, Any], style: Style, slot: str) -> str:
    lines = [("Slot", slot), ("Class", _class(function, style))]
    lines.append(("Vendor", _single(function["vendor"], function["vendor_name"], "Vendor", style)))
    lines.append(("Device", _single(function["device"], function.get("device_name"), "Device", style)))
    if "subsystem" in function:
        vendor, device = function["subsystem"].split(":")
        lines.append(("SVendor", _single(vendor, _subsystem_vendor_name(function), "Unknown vendor", style)))
        lines.append(("SDevice", _single(device, None, "Device", style)))
    if function.get("revision", "00") != "00":
        lines.append(("Rev", function["revision"]))
    if len(function["class"]) == 6:
        lines.append(("ProgIf", function["class"][4:]))
    if style.kernel:
        lines += [("Driver", function["driver"])] if "driver" in function else []
        lines += [("Module", module) for module in function.get("modules", [])]
    lines += [("NUMANode", str(function["numa_node"]))] if "numa_node" in function else []
    lines += [("IOMMUGroup", function["group"])] if "group" in function else []
    return "".join(f"{key}:\t{value}\n" for key, value in lines) + "\n"
