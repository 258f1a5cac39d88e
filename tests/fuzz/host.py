# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads the kernel's files, PCI functions and our own files on a host."""

from __future__ import annotations

import os

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._host_facts import confidential, framebuffers, platform
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu import acpi, arguments, diagnose
from ansible_collections.katagpu.cluster.plugins.module_utils._iommu import facts as iommu_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet import facts as kubelet_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet import flags
from ansible_collections.katagpu.cluster.plugins.module_utils._modules import facts as modules_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._pci import config_space, lspci, modalias, names, sysfs
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.address import sort_key
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import netlink, network, rules, storage

DEVICE = PciDevice("0000:65:00.0", class_code="030200", vendor_id="10de", device_id="2236")
LINE = rules.line_for(DEVICE, "vfio-pci")


class Files(HostRoot):
    """A host of a few files in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__("/nowhere")
        self.files = files

    def read_bytes(self, absolute: str, limit: int = 256 * 1024) -> bytes | None:
        data = self.files.get(absolute)
        return None if data is None else data[:limit]

    def list(self, absolute: str) -> list[str]:
        base = absolute.rstrip("/") + "/"
        return sorted({path[len(base) :].split("/")[0] for path in self.files if path.startswith(base)})

    def exists(self, absolute: str) -> bool:
        return absolute in self.files or self.is_dir(absolute)

    def is_dir(self, absolute: str) -> bool:
        return bool(self.list(absolute))

    def link_name(self, absolute: str) -> str | None:
        data = self.files.get(absolute)
        return None if data is None else os.path.basename(data.decode("utf-8", "replace"))

    def resolve(self, absolute: str) -> str | None:
        return absolute if self.exists(absolute) else None


def lspci_text(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    devices, unparsed = lspci.parse(text)
    assert [device.address for device in devices] == sorted({each.address for each in devices}, key=sort_key)
    for device in devices:
        assert PciDevice.from_dict(device.as_dict()).as_dict() == device.as_dict()
    assert all(isinstance(line, str) for line in unparsed)


def configuration_space(data: bytes) -> None:
    fields = config_space.decode(lambda size, offset: data[offset : offset + size])
    assert PciDevice("0000:00:00.0", **fields).as_dict()["express_type"] == fields.get("express_type")
    config_space.decode(lambda size, offset: data[offset : offset + size], multifunction=True)


def pci_names(data: bytes) -> None:
    ids = names.PciIds(data)
    for vendor, name in list(ids.vendor_names().items())[:20]:
        ids.device(vendor, "2236")
        assert ids.vendor(vendor) is None or name == "" or ids.vendor(vendor)
    root = Files({"/proc/sys/kernel/osrelease": b"6.12", "/lib/modules/6.12/modules.alias": data})
    modalias.with_modules(root, [DEVICE])
    modules_facts.read_facts(root)


def resource_file(data: bytes) -> None:
    for entry in sysfs._bars(data.decode("utf-8", "replace")):
        assert entry["type"] in ("io", "memory")


def acpi_tables(data: bytes) -> None:
    for reader in (acpi.dmar, acpi.ivrs):
        found = reader(data)
        assert found is None or found["units"] >= 0
    nodes = acpi.smmu_nodes(data)
    assert nodes is None or nodes >= 0


def kernel_says(data: bytes) -> None:
    """One text for all files that the diagnosis reads, and a command line of its first line."""
    line, _newline, rest = data.partition(b"\n")
    root = Files(
        {
            "/proc/cmdline": line,
            "/proc/cpuinfo": rest,
            "/proc/interrupts": rest,
            "/proc/iomem": rest,
            "/proc/stat": rest,
            "/etc/os-release": rest,
            "/proc/config.gz": data,
            "/proc/sys/kernel/osrelease": b"6.12",
            "/sys/kernel/security/lockdown": line,
            "/sys/firmware/acpi/tables/DMAR": data,
            "/sys/class/iommu/dmar0/intel-iommu/cap": line,
            "/sys/class/iommu/dmar0/intel-iommu/ecap": line,
            "/sys/kernel/iommu_groups/1/reserved_regions": rest,
            "/sys/kernel/iommu_groups/1/type": line,
            "/sys/fs/cgroup/misc.capacity": rest,
        }
    )
    facts = iommu_facts.read_facts(root)
    verdict = diagnose.diagnose(facts)
    assert verdict["reboot_would_help"] == bool(verdict["wanted_arguments"] or verdict["contradicting_arguments"])
    off, kept = arguments.switches_off(tokens.parse(facts["kernel_arguments"]))
    assert not any("off" in arguments.items(tokens.token(text)) for text in kept) and len(kept) <= len(off)
    framebuffers.read_framebuffers(root)
    confidential.read_confidential(root)
    platform.read_platform(root)


def mounts(data: bytes) -> None:
    root = Files({"/proc/1/mountinfo": data, "/proc/swaps": data, "/sys/class/block/nvme0n1": b""})
    storage.read_storage(root)
    for mount in storage.read_mounts(Files({"/proc/mounts": data})):
        assert mount.kind


def routes(data: bytes) -> None:
    files = {"/proc/net/route": data, "/proc/net/ipv6_route": data, "/proc/net/if_inet6": data}
    session = data.decode("utf-8", "replace")
    for path in files:
        network.read_network(Files({path: data}), session)
    network.read_network(Files(files), session)


def netlink_messages(data: bytes) -> None:
    for route in netlink.parse_routes(data):
        assert route.network.prefixlen <= route.network.max_prefixlen
    netlink.parse_addresses(data)


def udev_rules(data: bytes) -> None:
    before = data.decode("utf-8", "replace")
    kept = rules.parse(before)
    lines = {**kept, DEVICE.address: LINE}
    after = rules.render(before, lines)
    assert rules.parse(after) == lines
    assert rules.render(after, lines) == after
    rules.render_modules(lines)
    without = rules.render(after, {})
    assert not rules.parse(without) and rules.render(without, {}) == without
    # What others wrote stays as it is, in its order.
    rest = iter(f"{without or ''}\n".split("\n"))
    theirs = [line for line in before.split("\n") if line.strip() and not line.startswith(("ACTION", "#"))]
    assert all(line in rest for line in theirs)


def kubelet_arguments(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    flags.of_text(text)
    flags.of_unit(text)
    flags.of_unit(f"ExecStart={text}")
    words = text.split("\0")
    assert sum(map(len, flags.of_arguments(words).values())) == sum(word.startswith("--") for word in words)
    excerpt = kubelet_facts.excerpt(text, ["featureGates"])
    assert kubelet_facts.excerpt(excerpt, ["featureGates"]) == excerpt
    kubelet_facts.read_facts(
        Files({"/run/katagpu/kubelet-restart.json": data, "/var/lib/kubelet/kubeadm-flags.env": data})
    )
