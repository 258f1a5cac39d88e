# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine says about its IOMMU; nothing is judged here."""

from __future__ import annotations

import re
import zlib
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._iommu import acpi
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

ACPI_TABLES = "/sys/firmware/acpi/tables"
GROUPS = "/sys/kernel/iommu_groups"
UNITS = "/sys/class/iommu"
DEVICE_TREE = "/sys/firmware/devicetree/base"
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# The name of a group that vfio made for a device without an IOMMU; it isolates nothing.
NO_IOMMU = "vfio-noiommu"

_CONFIG_LIMIT = 1024 * 1024
_TABLES = ("DMAR", "IVRS", "IORT", "VIOT")
_FLAGS = ("vmx", "svm", "hypervisor", "smx", "sev", "sev_es", "sev_snp", "tdx_host_platform", "lm")
_VENDORS = {
    "GenuineIntel": "intel",
    "CentaurHauls": "intel",  # Zhaoxin publishes DMAR and follows VT-d.
    "Shanghai": "intel",
    "AuthenticAMD": "amd",
    "HygonGenuine": "amd",
}
_KERNEL_OPTIONS = (
    "CONFIG_INTEL_IOMMU",
    "CONFIG_INTEL_IOMMU_DEFAULT_ON",
    "CONFIG_AMD_IOMMU",
    "CONFIG_ARM_SMMU_V3",
    "CONFIG_IRQ_REMAP",
    "CONFIG_IOMMUFD",
    "CONFIG_IOMMU_DEFAULT_PASSTHROUGH",
    "CONFIG_VFIO_DEVICE_CDEV",
)


def read_facts(root: HostRoot) -> Dict[str, Any]:
    """Reads sysfs and procfs only; a file that is absent is an empty value."""
    cpuinfo = root.read("/proc/cpuinfo", 16384) or ""
    release = root.read_line("/proc/sys/kernel/osrelease") or ""
    return {
        "architecture": _architecture(cpuinfo),
        "cpu_vendor": _cpu_vendor(cpuinfo),
        "cpu_flags": _cpu_flags(cpuinfo),
        "acpi": root.is_dir(ACPI_TABLES),
        "firmware_tables": [
            name for name in _TABLES if any(_is_table(entry, name) for entry in root.list(ACPI_TABLES))
        ],
        "iort_smmu_nodes": acpi.smmu_nodes(root.read_bytes(f"{ACPI_TABLES}/IORT")),
        "dmar": acpi.dmar(root.read_bytes(f"{ACPI_TABLES}/DMAR")),
        "ivrs": acpi.ivrs(root.read_bytes(f"{ACPI_TABLES}/IVRS")),
        "device_tree": root.is_dir(DEVICE_TREE),
        "units": [_unit(root, name) for name in root.list(UNITS)],
        "groups": {name: _group(root, name) for name in sorted(root.list(GROUPS), key=_number)},
        "kernel_arguments": (root.read("/proc/cmdline", 65536) or "").strip(),
        "kernel_release": release,
        "kernel_options": _kernel_options(root, release),
        "remapped_interrupts": _remapped_interrupts(root.read("/proc/interrupts")),
        "allow_unsafe_interrupts": root.read_line("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"),
        "lockdown": _bracketed(root.read_line("/sys/kernel/security/lockdown")),
        "secure_boot": _secure_boot(root),
        "crash_kernel": (root.read_line("/sys/kernel/kexec_crash_size") or "0") != "0",
        "hypervisor": root.read_line("/sys/hypervisor/type") or "",
        "virtualization": _virtualization(root, cpuinfo),
    }


def _is_table(entry: str, name: str) -> bool:
    """The kernel appends a number where firmware publishes one table more than once."""
    return entry == name or (entry.startswith(name) and entry[len(name) :].isdigit())


def _number(name: str) -> Tuple[int, str]:
    return (int(name) if name.isdigit() else -1, name)


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{re.escape(name)}\s*:[ \t]?(.*)$", cpuinfo, re.MULTILINE)
    return match.group(1) if match else ""


def _architecture(cpuinfo: str) -> str:
    if _field(cpuinfo, "vendor_id"):
        return "x86_64" if "lm" in _field(cpuinfo, "flags").split() else "x86"
    if _field(cpuinfo, "CPU implementer"):
        return "aarch64"
    return ""


def _cpu_vendor(cpuinfo: str) -> str:
    vendor = _field(cpuinfo, "vendor_id").strip()
    if vendor:
        return _VENDORS.get(vendor, vendor.lower())
    return "arm" if _field(cpuinfo, "CPU implementer") else ""


def _cpu_flags(cpuinfo: str) -> List[str]:
    flags = (_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split()
    return [flag for flag in _FLAGS if flag in flags and flag != "lm"]


def _unit(root: HostRoot, name: str) -> Dict[str, Any]:
    """C(cap) and C(ecap) are Intel's registers, C(features) is AMD's; both are hexadecimal text as sysfs has them."""
    unit: Dict[str, Any] = {"name": name}
    for folder in ("intel-iommu", "amd-iommu"):
        for attribute in ("address", "version", "cap", "ecap", "features"):
            value = root.read_line(f"{UNITS}/{name}/{folder}/{attribute}")
            if value is not None:
                unit[attribute] = value
    return unit


def _group(root: HostRoot, name: str) -> Dict[str, Any]:
    lines = (root.read(f"{GROUPS}/{name}/reserved_regions", 16384) or "").splitlines()
    return {
        "devices": root.list(f"{GROUPS}/{name}/devices"),
        "name": root.read_line(f"{GROUPS}/{name}/name") or "",
        "type": root.read_line(f"{GROUPS}/{name}/type") or "",
        "reserved_regions": [line.split()[:3] for line in lines if len(line.split()) >= 3],
    }


def _kernel_options(root: HostRoot, release: str) -> Dict[str, str]:
    """Only the options that decide about an IOMMU; empty where the distribution ships no configuration."""
    options: Dict[str, str] = {}
    if not release:
        return options
    for path in (f"/boot/config-{release}", f"/lib/modules/{release}/config", "/proc/config.gz"):
        text = (
            _unpacked(root.read_bytes(path, _CONFIG_LIMIT)) if path.endswith(".gz") else root.read(path, _CONFIG_LIMIT)
        )
        if not text:
            continue
        for name in _KERNEL_OPTIONS:
            match = re.search(rf"^{name}=(\S+)$", text, re.MULTILINE)
            options[name] = match.group(1) if match else "n"
        break
    return options


def _unpacked(data: Optional[bytes]) -> str:
    """Nothing where the archive is cut, for an option that is then not found would pass for one that is not set."""
    archive = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = archive.decompress(data or b"", _CONFIG_LIMIT)
    except zlib.error:
        return ""
    return text.decode("utf-8", "replace") if archive.eof else ""


def _remapped_interrupts(interrupts: Optional[str]) -> Optional[bool]:
    """x86 kernels prefix the interrupt chip with C(IR-) when interrupts go through the remapping hardware."""
    if interrupts is None:
        return None
    if re.search(r"\sIR-(IO-APIC|PCI-MSI)", interrupts):
        return True
    if re.search(r"\s(IO-APIC|PCI-MSI)", interrupts):
        return False
    return None


def _secure_boot(root: HostRoot) -> Optional[bool]:
    """Four bytes of attributes and one of value; nothing on a machine without UEFI variables."""
    data = root.read_bytes(SECURE_BOOT, 8)
    return None if data is None or len(data) < 5 else data[4] == 1


def _bracketed(line: Optional[str]) -> str:
    match = re.search(r"\[(\w+)\]", line or "")
    return match.group(1) if match else ""


def _virtualization(root: HostRoot, cpuinfo: str) -> str:
    """The product name of the virtual machine where the CPU says that it is one."""
    if "hypervisor" not in _field(cpuinfo, "flags").split():
        if _field(cpuinfo, "vendor_id"):
            return ""
        # arm64 has no such CPU flag, so the firmware's words are all there is.
        vendor = root.read_line("/sys/class/dmi/id/sys_vendor") or ""
        known = ("QEMU", "KVM", "VMware", "Xen", "Amazon EC2", "Google", "Microsoft Corporation")
        return vendor if vendor in known and not _is_metal(root) else ""
    names = [root.read_line(f"/sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")]
    return " ".join(name for name in names if name) or "unknown hypervisor"


def _is_metal(root: HostRoot) -> bool:
    return "metal" in (root.read_line("/sys/class/dmi/id/product_name") or "").lower()
