# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where fuzzing begins: files of real machines, from the fixtures of the unit tests, and a few that show the grammar."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.fuzz.host import LINE
from tests.unit import config_space, lspci_render, machines

_FIXTURES = Path(__file__).resolve().parents[1] / "unit" / "fixtures"
_MOUNTINFO = (
    b"22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
    b"35 22 0:31 /@ /srv\\040a rw - btrfs /dev/mapper/vg-lv rw\n36 22 0:40 / /tank rw - zfs tank rw\n"
)
_MOUNTS = b"/dev/nvme0n1p2 / ext4 rw 0 0\n"
_SWAPS = b"Filename Type Size Used Priority\n/dev/nvme0n1p3 partition 999 0 -2\n"
_ROUTES = (
    b"Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    b"bond0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
)
_ROUTES6 = b"20010db8000000000000000000000000 40 " + b"0" * 32 + b" 00 " + b"0" * 32 + b" 400 1 0 1 ens1\n"
_ADDRESSES6 = b"20010db8000000000000000000000001 02 40 00 80 ens1\n"
_CPUINFO = b"vendor_id\t: GenuineIntel\nflags\t\t: vmx lm hypervisor\n"
_INTERRUPTS = b" 9: 0 IR-IO-APIC 9-fasteoi acpi\n"
_IOMEM = b"  e0000000-e0ffffff : BOOTFB\n"
_RESERVED = b"0x00000000fee00000 0x00000000feefffff msi\n"
_KUBELET = b"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
runtimeRequestTimeout: 0s
featureGates:
  Mine: true # why
x: &a [1, {b: "c"}]
y: *a
"""
_UNIT = b"[Service]\nEnvironment=\"A=--config=/x\"\nExecStart=/usr/bin/kubelet \\\n --config '/a b' --feature-gates=A=true,B=false\n"
_RANCHER = b"kubelet-arg:\n  - feature-gates=A=true\nkubelet-arg+: max-pods=9\nwhen: 2001-01-01 10:00:00\n"
_CDI = b"""cdiVersion: 0.5.0
kind: nvidia.com/pgpu
devices:
- {name: "0", containerEdits: {deviceNodes: [{path: /dev/vfio/12}]}}
"""
_TOML = b'version = 2\ndisabled_plugins = ["cri"]\n[plugins."io.containerd.grpc.v1.cri"]\nx = 1\n'
_MARK = {"boot_id": "a", "cordoned_by_us": True, "rolls": ["kata-deploy"]}
_HELM = {
    "name": "gpu-operator",
    "namespace": "gpu-operator",
    "version": 2,
    "info": {"status": "deployed", "last_deployed": "x"},
    "chart": {"metadata": {"name": "gpu-operator", "version": "v26.7.0"}},
    "config": {"driver": {"enabled": False}},
}
_ALIASES = (
    b"alias pci:v000010DEd*sv*sd*bc03sc02i00* nouveau\nkernel/drivers/vfio/pci/vfio-pci.ko.xz: a b\n"
    b"10de  NVIDIA Corporation\n\t2236  GA102GL [A10]\n\t\t10de 1482  A10\nC 03  Display controller\n"
)
# A default route by interface 2 and an address of it, as rtnetlink(7) lays them out.
_ROUTE = (
    struct.pack("=8BI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("=HHI", 8, 4, 2) + struct.pack("=HHI", 8, 15, 254)
)
_ADDRESS = struct.pack("=4BI", 2, 24, 0, 0, 2) + struct.pack("=HH4B", 8, 2, 192, 0, 2, 1)
_RESOURCE = b"0x00000000fb000000 0x00000000fbffffff 0x0000000000040200\n0x0 0x0 0x0\n"


def seeds(target: str) -> list[bytes]:
    return _SEEDS[target]


def _files(folder: str, *parts: str) -> list[bytes]:
    """Of all fixtures of a folder: the files whose paths have one of the parts."""
    return [
        text.encode()
        for description in _descriptions(folder)
        for name, text in description.get("files", {}).items()
        if any(part in name for part in parts)
    ]


def _binary() -> list[bytes]:
    return [
        base64.b64decode(text)
        for description in _descriptions("loaders")
        for text in description.get("binary", {}).values()
    ]


def _descriptions(folder: str) -> list[dict[str, Any]]:
    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((_FIXTURES / folder).glob("*.yml"))]
    return [description for description in found if isinstance(description, dict)]


def _spaces() -> Iterator[bytes]:
    for name in machines.names():
        for function in machines.load(name).get("pci", []):
            description: Any = function.get("config")
            if description is not None:
                yield bytes.fromhex(description) if isinstance(description, str) else config_space.space(description)
    yield config_space.space(config_space.port("root_port", (0x1F, 0x1D)))


def _lspci() -> Iterator[bytes]:
    styles = list(lspci_render.STYLES.values())
    for place, name in enumerate(machines.names()):
        machine = machines.load(name)
        machine["pci"] = machine.get("pci", [])[:6]
        yield lspci_render.render(machine, styles[place % len(styles)]).encode()


def _tables() -> list[bytes]:
    def table(signature: bytes, body: bytes, header: bytes = bytes(12)) -> bytes:
        return signature + struct.pack("<I", 36 + len(header) + len(body)) + bytes(28) + header + body

    unit = struct.pack("<HH", 0, 16) + bytes(12)
    return [
        table(b"DMAR", unit + unit, b"\x26\x01" + bytes(10)),
        table(b"IVRS", struct.pack("<BBH", 0x11, 0, 8) + bytes(4)),
        table(b"IORT", struct.pack("<BHB", 4, 8, 0) + bytes(4), struct.pack("<II", 1, 48) + bytes(4)),
    ]


def _message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def _json(data: Any) -> bytes:
    return json.dumps(data).encode()


_CMDLINES = [*_files("boot", "/proc/cmdline"), *_files("loaders", "/proc/cmdline", "/etc/kernel/cmdline")]
_SAID = [line.strip() + b"\n" + _CPUINFO + _INTERRUPTS + _IOMEM + _RESERVED for line in _CMDLINES[:4]]
_DEFAULTS = [*_files("boot", "/etc/default/grub"), *_files("loaders", "/etc/default/grub")]
_ENTRIES = _files("loaders", "/loader/entries/")
_SEEDS: dict[str, list[bytes]] = {
    "kernel_arguments": [*_CMDLINES, b'a="b c" -- init console=tty0 console=ttyS0 "d e"'],
    "wished_arguments": [b'intel_iommu=on\ndyndbg="file a +p"\0iommu=off\nquiet', b"modprobe.blacklist=a,b\0"],
    "grub_default": _DEFAULTS,
    "grub_default_edit": _DEFAULTS,
    "grub_drop_in": [b'intel_iommu=on\nx="a b"', *_files("boot", "grub.d")],
    "grub_configuration": [*_files("boot", "grub.cfg"), *_files("loaders", "grub.cfg")],
    "loader_entry": _ENTRIES,
    "grub_environment": [*_files("loaders", "grubenv"), b"# GRUB Environment Block\na=b\n" + b"#" * 995],
    "staged_deployment": _binary(),
    "lspci_text": [*_lspci()],
    "configuration_space": [*_spaces()][:20],
    "pci_names": [_ALIASES],
    "resource_file": [_RESOURCE],
    "acpi_tables": _tables(),
    "kernel_says": _SAID,
    "mounts": [_MOUNTINFO, _MOUNTS, _SWAPS],
    "netlink_messages": [_message(24, _ROUTE), _message(20, _ADDRESS), _message(24, _ROUTE) + _message(3, b"")],
    "routes": [_ROUTES, _ROUTES6, _ADDRESSES6],
    "udev_rules": [LINE.encode(), b"# of an administrator\n" + LINE.encode() + b"\n"],
    "kubelet_arguments": [_UNIT, b"--config\0/x\0--v=2", _json({"boot_id": "a", "reasons": ["x"]}), _KUBELET],
    "kubelet_configuration": [_KUBELET, _json({"kind": "KubeletConfiguration", "featureGates": None})],
    "rancher_arguments": [_RANCHER],
    "cdi_specification": [_CDI, _json({"kind": "nvidia.com/pgpu", "devices": [{"name": 1}]})],
    "containerd_configuration": [_TOML],
    "annotations": [_json(_MARK), _json(["a", "b"])],
    "helm_release": [_json(_HELM)],
}
