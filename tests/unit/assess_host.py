# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines as facts: a tree is built, read by the real readers and judged by the real phases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._host_facts.collect import Request, collect
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.host import assess
from tests.unit import machines

KERNEL = "6.12.48+deb13-amd64"
GPU = "0000:65:00.0"
AUDIO = "0000:65:00.1"
RELEASE = _releases.lookup("23.9")
ARTIFACTS = RELEASE["artifacts"]["dir"]
MODULES = ("vfio", "vfio-pci", "vfio_iommu_type1", "vhost_vsock", "vhost_net", "nouveau", "kvm_intel", "snd-hda-intel")


def gpu(**more: Any) -> dict[str, Any]:
    return {"address": GPU, "class": "030200", "vendor": "10de", "device": "2236", "driver": "nouveau", **more}


def audio(**more: Any) -> dict[str, Any]:
    return {"address": AUDIO, "class": "040300", "vendor": "10de", "device": "1aef", "driver": "snd_hda_intel", **more}


def bmc_display(**more: Any) -> dict[str, Any]:
    return {"address": "0000:03:00.0", "class": "030000", "vendor": "1a03", "device": "2000", "boot_vga": 1, **more}


def machine(
    *functions: Mapping[str, Any],
    arguments: str = "quiet",
    firmware: str = "DMAR",
    flags: str = "vmx",
    vendor: str = "GenuineIntel",
    loaded: tuple[str, ...] = (),
    kvm: bool = True,
    files: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A Debian server with GRUB."""
    content = {
        "/proc/cpuinfo": f"vendor_id : {vendor}\nflags : fpu lm {flags}\n",
        "/proc/cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{KERNEL} root=/dev/sda1 ro {arguments}\n",
        "/proc/modules": "".join(f"{name} 1 0 - Live 0x0\n" for name in loaded),
        "/proc/sys/kernel/osrelease": f"{KERNEL}\n",
        "/proc/sys/kernel/random/boot_id": "4f746628-5775-4479-aaaa-394c0faedef9\n",
        "/etc/machine-id": "728afaec4678466693b066679238be21\n",
        "/etc/os-release": 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
        "/etc/default/grub": f'GRUB_CMDLINE_LINUX_DEFAULT="{arguments}"\nGRUB_CMDLINE_LINUX=""\n',
        "/usr/sbin/update-grub": "",
        "/usr/sbin/grub-mkconfig": "for x in ${sysconfdir}/default/grub.d/*.cfg ; do\n",
        "/boot/grub/grub.cfg": f"menuentry 'Debian' {{\n\tlinux /boot/vmlinuz-{KERNEL} root=/dev/sda1 ro {arguments}\n}}\n",
        f"/lib/modules/{KERNEL}/modules.builtin": "",
        f"/lib/modules/{KERNEL}/modules.dep": "".join(f"kernel/x/{name}.ko.xz:\n" for name in MODULES),
        **(files or {}),
    }
    if firmware:
        content[f"/sys/firmware/acpi/tables/{firmware}"] = "x"
    if kvm:
        content["/dev/kvm"] = ""
    for group in {function.get("group") for function in functions} - {None}:
        content[f"/dev/vfio/{group}"] = ""
    dirs = ["/sys/kernel/iommu_groups", "/sys/firmware/acpi/tables", "/sys/bus/pci/devices"]
    return {"pci": [dict(function) for function in functions], "files": content, "dirs": dirs}


def read(description: Mapping[str, Any], root: Path) -> dict[str, Any]:
    machines.build(dict(description), root)
    for path, seconds in description.get("modified", {}).items():
        os.utime(root / path.lstrip("/"), (seconds, seconds))
    return collect(HostRoot(str(root)), Request(artifacts_dirs=(ARTIFACTS,)))


def judge(description: Mapping[str, Any], root: Path, **given: Any) -> dict[str, Any]:
    facts = read(description, root)
    return assess(
        facts,
        given.get("desired"),
        given.get("release", RELEASE),
        "gpu-01",
        given.get("cluster_node"),
        given.get("accepted"),
        given.get("verify", False),
    )


def ids(answer: Mapping[str, Any], state: str = "open", severity: str = "block") -> list[str]:
    return [item["id"] for item in answer["findings"] if (item["state"], item["severity"]) == (state, severity)]
