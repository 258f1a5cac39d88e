# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What decides about the kernel's arguments on this machine: the boot loader, its sources and what it starts."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import (
    bls,
    bootloader,
    generate,
    grub_cfg,
    grub_env,
    hints,
    ostree,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

DROP_INS = "/etc/default/grub.d"
TEMPLATE = "/etc/kernel/cmdline"
VENDOR_TEMPLATE = "/usr/lib/kernel/cmdline"
_GRUB_ENTRIES = "/boot/loader/entries"
_ENVIRONMENT = "/boot/grub2/grubenv"
# Files that a kernel or a boot loader would not take are small; what is larger is not one of them.
_ENTRY_LIMIT = 64 * 1024

Generated = Dict[str, List[Dict[str, Any]]]


def read_facts(root: HostRoot) -> Dict[str, Any]:
    """C(generated) has one entry for each kernel that can be started, those first that the boot loader prefers.

    C(files) are GRUB's sources in the order in which grub-mkconfig reads them, C(loader) what loader entries depend on, and
    C(read_at_boot) the files that the next boot reads its arguments from.
    """
    cfgs = {path: text for path in hints.grub_cfg_paths(root) for text in [_text(root, path)] if text is not None}
    entries = _entries(root)
    seen = hints.read_hints(root, cfgs, list(entries))
    found = bootloader.detect(seen)
    drop_ins = found.name == bootloader.GRUB and bool(
        seen["mkconfig_reads_drop_ins"] or (seen["mkconfig_reads_drop_ins"] is None and not bootloader.is_suse(seen))
    )
    files = _sources(root, drop_ins)
    reason = found.reason
    generated: Generated
    loader: Dict[str, Any] = {}
    uncertain: List[str] = []
    if found.name == bootloader.RPM_OSTREE:
        staged = root.read_bytes(ostree.STAGED)
        generated = ostree.deployments(_of(entries, _GRUB_ENTRIES), staged)
        reason = _ostree_reason(generated, staged)
        if ostree.is_pending(generated, root.read("/proc/cmdline", 65536) or ""):
            uncertain.append("another deployment than the one that runs is pending, and the next boot starts it")
    elif found.name in (bootloader.GRUBBY, bootloader.SYSTEMD_BOOT):
        with_grub = found.name == bootloader.GRUBBY
        texts = _of(entries, _GRUB_ENTRIES) if with_grub else entries
        loader = _loader(root, texts, cfgs if with_grub else None)
        generated = _loader_entries(loader, with_grub)
        reason = reason or _other_folder(loader)
        uncertain += [f"{path} is a unified kernel image and is not edited" for path in seen["ukis"]]
    else:
        generated = {
            path: [e.as_dict() for e in grub_cfg.entries(cfgs[path])] for path in hints.GRUB_CFG if path in cfgs
        }
    return {
        "bootloader": found.name,
        "supported": found.supported and not reason,
        "reason": reason,
        "running": (root.read("/proc/cmdline", 65536) or "").strip(),
        "files": files,
        "modes": {path: root.mode(path) for path in files},
        "drop_ins": drop_ins,
        "regenerate": _regenerate(seen),
        "generated": generated,
        "loader": loader,
        "notes": uncertain,
        "read_at_boot": read_at_boot(generated, loader),
    }


def candidates(root: HostRoot) -> Tuple[str, ...]:
    """Every file of C(read_at_boot), whichever boot loader it is."""
    return (*hints.GRUB_CFG, *_entries(root), _environment_path(root))


def read_at_boot(generated: Generated, loader: Dict[str, Any]) -> List[str]:
    environment = loader.get("environment") or {}
    named = any("kernelopts" in bls.names(text) for text in loader.get("entries", {}).values())
    return [*generated, *([environment["path"]] if named and environment else [])]


def _text(root: HostRoot, path: str) -> Optional[str]:
    return root.read(path, hints.GENERATED_LIMIT)


def _sources(root: HostRoot, drop_ins: bool) -> Dict[str, str]:
    files: Dict[str, str] = {}
    names = sorted(name for name in root.list(DROP_INS) if name.endswith(".cfg") and not name.startswith("."))
    for path in (hints.DEFAULTS, *(f"{DROP_INS}/{name}" for name in names if drop_ins)):
        text = root.read(path)
        if text is not None:
            files[path] = text
    return files


def _entries(root: HostRoot) -> Dict[str, str]:
    """All loader entries. A folder that is reached by two names counts once."""
    found: Dict[str, str] = {}
    seen = set()
    for folder in [f"{base}/loader/entries" for base in hints.BOOT_ROOTS]:
        real = root.resolve(folder)
        if real in seen:
            continue
        seen.add(real)
        for name in root.list(folder):
            path = f"{folder}/{name}"
            text = root.read(path, _ENTRY_LIMIT) if name.endswith(".conf") and not name.startswith(".") else None
            if text is not None:
                found[path] = text
    return found


def _of(entries: Dict[str, str], folder: str) -> Dict[str, str]:
    return {path: text for path, text in entries.items() if path.startswith(f"{folder}/")}


def _loader(root: HostRoot, entries: Dict[str, str], cfgs: Optional[Dict[str, str]]) -> Dict[str, Any]:
    """With C(cfgs) it is GRUB that reads the entries, and puts in variables for names."""
    environment: Optional[Dict[str, str]] = None
    variables: Dict[str, str] = {}
    if cfgs is not None:
        path = _environment_path(root)
        text = root.read(path, 4096)
        environment = {"path": path, "text": text or ""}
        for cfg in cfgs.values():
            variables.update(grub_env.assigned(cfg)[1])
        variables.update(grub_env.parse(text or ""))
        for cfg in cfgs.values():
            variables.update(grub_env.assigned(cfg)[0])
    templates = {path: root.read(path, 65536) for path in (TEMPLATE, VENDOR_TEMPLATE)}
    defaults, template = root.modified(hints.DEFAULTS), root.modified(TEMPLATE)
    return {
        "entries": entries,
        "environment": environment,
        "variables": variables,
        "machine_id": root.read_line("/etc/machine-id"),
        "templates": {path: text for path, text in templates.items() if text is not None},
        # kernel-install of Fedora and RHEL makes the template anew from /etc/default/grub where that is younger.
        "template_outdated": defaults is not None and template is not None and template < defaults,
    }


def _environment_path(root: HostRoot) -> str:
    """On RHEL 8 with UEFI it is a link to the EFI system partition."""
    real = root.resolve(_ENVIRONMENT)
    return real if real is not None and not real.startswith("/..") else _ENVIRONMENT


def _loader_entries(loader: Dict[str, Any], with_grub: bool) -> Generated:
    machine_id = None if with_grub else loader["machine_id"]
    entries: Dict[str, str] = loader["entries"]
    saved = loader["variables"].get("saved_entry", "")
    found: Generated = {}
    for path in sorted(entries, key=lambda path: (bls.identity(path) == saved, bls.order(path)), reverse=True):
        text = entries[path]
        arguments = entry_arguments(text, loader["variables"] if with_grub else None)
        found[path] = [bls.summary(path, text, arguments, machine_id)]
    return found


def entry_arguments(text: str, variables: Optional[Dict[str, str]]) -> str:
    """GRUB takes the first line of options and expands it, systemd-boot joins all of them."""
    values = [field.value for field in bls.options(text)]
    if variables is None:
        return " ".join(values)
    return bls.expand(values[0], variables).strip() if values else ""


def _other_folder(loader: Dict[str, Any]) -> str:
    folder = loader["variables"].get("blsdir", "")
    if folder in ("", "/loader/entries", "/boot/loader/entries"):
        return ""
    return (
        f"GRUB's variable blsdir makes it read its entries from {folder}, which this collection does not edit. "
        "Fix: use grubby --update-kernel=ALL, or remove the variable."
    )


def _ostree_reason(generated: Generated, staged: Optional[bytes]) -> str:
    if not ostree.is_readable(staged):
        return (
            f"A deployment is staged, and {ostree.STAGED} does not tell its kernel arguments. "
            "Fix: boot it, or drop it with rpm-ostree cleanup --pending; then run again."
        )
    if not generated:
        return (
            f"rpm-ostree owns the kernel's arguments, and {_GRUB_ENTRIES} has no deployment. "
            "Fix: run rpm-ostree kargs --append-if-missing=... --delete-if-present=... by hand."
        )
    return ""


def _regenerate(seen: Dict[str, Any]) -> List[str]:
    if bootloader.is_suse(seen):
        return [*generate.MKCONFIG, "/boot/grub2/grub.cfg"]
    return generate.UPDATE_GRUB
