# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which boot loader owns the kernel's arguments, and what to do where this collection must not edit it."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

GRUB = "grub"
UNKNOWN = "unknown"


class Bootloader(NamedTuple):
    name: str
    supported: bool
    reason: str


class _Rule(NamedTuple):
    name: str
    applies: Callable[[Dict[str, Any]], bool]
    what: str
    fix: str


def _is(*ids: str) -> Callable[[Dict[str, Any]], bool]:
    return lambda hints: hints["os_release"].get("ID", "") in ids


def _has(*paths: str) -> Callable[[Dict[str, Any]], bool]:
    return lambda hints: any(path in hints["paths"] for path in paths)


def _like(hints: Dict[str, Any], *families: str) -> bool:
    release = hints["os_release"]
    return bool({release.get("ID", ""), *release.get("ID_LIKE", "").split()} & set(families))


def _systemd_boot(hints: Dict[str, Any]) -> bool:
    if hints["loader_info"]:
        return bool(hints["loader_info"].startswith("systemd-boot"))
    loader = any(path.endswith("/loader/loader.conf") for path in hints["paths"])
    return loader and not any(path.endswith("/grub.cfg") for path in hints["paths"])


# The order matters: an owner above the boot loader comes before the loader that it drives.
_REFUSED: Tuple[_Rule, ...] = (
    _Rule(
        "talos",
        _is("talos"),
        "Talos Linux",
        "set machine.install.extraKernelArgs in the machine configuration and upgrade",
    ),
    _Rule(
        "machine_config_operator",
        lambda hints: _is("rhcos", "scos")(hints) or "/etc/machine-config-daemon" in hints["paths"],
        "the OpenShift Machine Config Operator",
        "apply a MachineConfig with spec.kernelArguments",
    ),
    _Rule(
        "flatcar",
        _is("flatcar"),
        "Flatcar Container Linux",
        "set kernel_arguments in the Butane configuration of the machine",
    ),
    _Rule("bottlerocket", _is("bottlerocket"), "Bottlerocket", "set settings.boot.kernel-parameters through its API"),
    _Rule("nixos", _is("nixos"), "NixOS", "set boot.kernelParams in its configuration and rebuild"),
    _Rule(
        "harvester",
        lambda hints: "harvester" in hints["os_release"].get("VARIANT_ID", "").lower(),
        "Harvester",
        "set os.additionalKernelArguments in its configuration",
    ),
    _Rule("ubuntu_core", _is("ubuntu-core"), "Ubuntu Core", "run snap set system system.kernel.append=..."),
    _Rule(
        "rpm_ostree",
        lambda hints: "/run/ostree-booted" in hints["paths"] and "/usr/bin/rpm-ostree" in hints["paths"],
        "rpm-ostree",
        "run rpm-ostree kargs --append-if-missing=... --delete-if-present=...",
    ),
    _Rule(
        "bootc",
        _has("/run/ostree-booted"),
        "an image-based host (ostree or bootc)",
        "put the arguments into the image under /usr/lib/bootc/kargs.d",
    ),
    _Rule(
        "proxmox_boot_tool",
        _has("/etc/kernel/proxmox-boot-uuids"),
        "proxmox-boot-tool",
        "edit /etc/kernel/cmdline (or /etc/default/grub where it drives GRUB) and run proxmox-boot-tool refresh",
    ),
    _Rule(
        "kernelstub",
        _has("/etc/kernelstub/configuration"),
        "kernelstub",
        "run kernelstub --add-options ... or --delete-options ...",
    ),
    _Rule(
        "raspberry_pi",
        _has("/boot/firmware/cmdline.txt"),
        "the Raspberry Pi firmware",
        "edit /boot/firmware/cmdline.txt",
    ),
    _Rule("zipl", _has("/etc/zipl.conf"), "zipl", "edit the boot entries and run zipl"),
    _Rule(
        "systemd_boot",
        _systemd_boot,
        "systemd-boot",
        "edit /etc/kernel/cmdline and run kernel-install for every installed kernel",
    ),
    _Rule(
        "grubby",
        lambda hints: hints["bls_entries"] and (hints["bls_enabled"] or "/usr/sbin/grubby" in hints["paths"]),
        "GRUB with Boot Loader Specification entries (grubby)",
        "run grubby --update-kernel=ALL --args=... --remove-args=...",
    ),
    _Rule(
        "extlinux",
        lambda hints: _has("/boot/extlinux/extlinux.conf")(hints) and not hints["defaults"],
        "extlinux",
        "edit its append lines",
    ),
)


def detect(hints: Dict[str, Any]) -> Bootloader:
    """The first owner that fits; GRUB as Debian and Ubuntu ship it is the one that is edited."""
    for rule in _REFUSED:
        if rule.applies(hints):
            reason = f"The kernel's arguments belong to {rule.what}, which this collection does not edit yet. Fix: {rule.fix}."
            return Bootloader(rule.name, False, reason)
    refusal = _grub_refusal(hints)
    if refusal is None:
        return Bootloader(GRUB, True, "")
    return Bootloader(GRUB if hints["defaults"] else UNKNOWN, False, refusal)


def _grub_refusal(hints: Dict[str, Any]) -> Optional[str]:
    if not hints["defaults"]:
        return (
            "No boot loader was recognised: there is no /etc/default/grub and no sign of another one. "
            "Fix: set the kernel's arguments where this machine keeps them (a PXE server, a hypervisor, U-Boot)."
        )
    if hints["mkconfig_reads_drop_ins"] is False or not (
        _like(hints, "debian", "ubuntu") or "/usr/sbin/update-grub" in hints["paths"]
    ):
        return (
            "GRUB of this distribution is not edited yet: its grub-mkconfig does not read /etc/default/grub.d. "
            "Fix: edit GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub and run grub2-mkconfig -o /boot/grub2/grub.cfg."
        )
    return None


def known_names() -> List[str]:
    return [GRUB, *(rule.name for rule in _REFUSED)]
