# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which boot loader owns the kernel's arguments, and what to do where this collection must not edit it."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

GRUB = "grub"
GRUBBY = "grubby"
SYSTEMD_BOOT = "systemd_boot"
RPM_OSTREE = "rpm_ostree"
UNKNOWN = "unknown"

_MICRO = ("opensuse-microos", "opensuse-leap-micro", "sle-micro", "sl-micro", "opensuse-aeon", "opensuse-kalpa")
_OF_SDBOOTUTIL = ("grub2-bls", "systemd-boot")


class Bootloader(NamedTuple):
    name: str
    supported: bool
    reason: str


class _Rule(NamedTuple):
    """C(fix) is what to do on a host that is refused; nothing where the collection edits it."""

    name: str
    applies: Callable[[Dict[str, Any]], bool]
    what: str
    fix: Optional[str]


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


def _bls_with_grub(hints: Dict[str, Any]) -> bool:
    return hints["bls_entries"] and (hints["runs_blscfg"] or hints["bls_enabled"] or _has("/usr/sbin/grubby")(hints))


def _transactional(hints: Dict[str, Any]) -> bool:
    return _is(*_MICRO)(hints) or (_has("/usr/sbin/transactional-update")(hints) and hints["read_only_root"])


# The order matters: an owner above the boot loader comes before the loader that it drives.
_RULES: Tuple[_Rule, ...] = (
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
        "transactional_update",
        _transactional,
        "transactional-update, whose boot configuration lies in the snapshot that boots next",
        "run transactional-update shell, change GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub there (or /etc/kernel/cmdline, where"
        " sdbootutil update-all-entries writes the entries), then run transactional-update --continue grub.cfg and reboot",
    ),
    _Rule(
        RPM_OSTREE,
        lambda hints: "/run/ostree-booted" in hints["paths"] and "/usr/bin/rpm-ostree" in hints["paths"],
        "rpm-ostree",
        None,
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
        "sdbootutil",
        lambda hints: hints["loader_type"] in _OF_SDBOOTUTIL,
        "sdbootutil, which seals the disk's key to the entries",
        "edit /etc/kernel/cmdline and run sdbootutil update-all-entries",
    ),
    _Rule(
        "uki",
        lambda hints: hints["booted_uki"] or (_systemd_boot(hints) and bool(hints["ukis"])),
        "a unified kernel image, which has them inside and may be signed",
        "edit /etc/kernel/cmdline, build the image of every installed kernel anew (kernel-install add) and sign it",
    ),
    _Rule(
        SYSTEMD_BOOT,
        lambda hints: _systemd_boot(hints) and not hints["bls_entries"],
        "systemd-boot, of which no loader entry was found",
        "mount the EFI system partition at /efi, /boot or /boot/efi, and see that loader/entries has an entry for Linux",
    ),
    _Rule(SYSTEMD_BOOT, _systemd_boot, "systemd-boot", None),
    _Rule(
        GRUBBY,
        lambda hints: _bls_with_grub(hints) and not hints["runs_blscfg"],
        "loader entries that no grub.cfg reads with blscfg",
        "run grub2-mkconfig -o /boot/grub2/grub.cfg, and grubby --update-kernel=ALL --args=... --remove-args=...",
    ),
    _Rule(GRUBBY, _bls_with_grub, "GRUB with Boot Loader Specification entries", None),
    _Rule(
        "extlinux",
        lambda hints: _has("/boot/extlinux/extlinux.conf")(hints) and not hints["defaults"],
        "extlinux",
        "edit its append lines",
    ),
)


def detect(hints: Dict[str, Any]) -> Bootloader:
    """The first owner that fits; what is left is GRUB with a generated grub.cfg, as Debian, Ubuntu and SUSE ship it."""
    for rule in _RULES:
        if not rule.applies(hints):
            continue
        if rule.fix is None:
            return Bootloader(rule.name, True, "")
        reason = f"The kernel's arguments belong to {rule.what}, which this collection does not edit. Fix: {rule.fix}."
        return Bootloader(rule.name, False, reason)
    refusal = _grub_refusal(hints)
    if refusal is None:
        return Bootloader(GRUB, True, "")
    return Bootloader(GRUB if hints["defaults"] else UNKNOWN, False, refusal)


def is_debian(hints: Dict[str, Any]) -> bool:
    return _like(hints, "debian", "ubuntu") or "/usr/sbin/update-grub" in hints["paths"]


def is_suse(hints: Dict[str, Any]) -> bool:
    return _like(hints, "suse", "opensuse", "sles", "sled")


def _grub_refusal(hints: Dict[str, Any]) -> Optional[str]:
    if not hints["defaults"]:
        return (
            "No boot loader was recognised: there is no /etc/default/grub and no sign of another one. "
            "Fix: set the kernel's arguments where this machine keeps them (a PXE server, a hypervisor, U-Boot)."
        )
    if is_suse(hints):
        return _suse_refusal(hints)
    if hints["mkconfig_reads_drop_ins"] is False or not is_debian(hints):
        return (
            "GRUB of this distribution is not edited: its grub-mkconfig does not read /etc/default/grub.d. "
            "Fix: edit GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub and run grub2-mkconfig -o /boot/grub2/grub.cfg."
        )
    return None


def _suse_refusal(hints: Dict[str, Any]) -> Optional[str]:
    if "/boot/grub2/grub.cfg" not in hints["paths"]:
        return (
            "This host has /etc/default/grub and no /boot/grub2/grub.cfg, so it is not known what GRUB reads. "
            "Fix: install the boot loader (update-bootloader --reinit), or set the kernel's arguments by hand."
        )
    if hints["menus_on_esp"]:
        return (
            f"{', '.join(hints['menus_on_esp'])} has boot entries of its own where a stub belongs, so GRUB may never read "
            "/boot/grub2/grub.cfg. Fix: let grub2-install write the stub anew, then run again."
        )
    return None
