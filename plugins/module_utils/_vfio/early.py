# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our rules in the initramfs: which images get them, and when those that exist have to be made anew.

An image that has the rule sets the override there, which no later step of the boot resets, so a display driver in the image does
not take the device; the VFIO driver itself need not be in it. Without such a driver an image needs no rule. An image with lines
that we have removed would go on to apply them.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._modules.facts import module_name
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers, rules

DROP_IN = "/etc/dracut.conf.d/katagpu-vfio.conf"
_DROP_IN_TEXT = f'# Managed by katagpu.cluster.vfio_binding.\ninstall_items+=" {rules.RULES} "\n'

# Its hook copies every rule of /etc/udev/rules.d.
INITRAMFS_TOOLS = "initramfs-tools"
DRACUT = "dracut"
OTHER = "other"
# Displays and processing accelerators; their other functions have drivers that our rule makes let go.
_CLAIMED = ("03", "12")


class Early(NamedTuple):
    """C(state) is that of the file once all is done, C(commands) what makes the images, C(warning) what we cannot do."""

    state: Optional[str] = None
    drop_in: Optional[str] = None
    commands: Sequence[List[str]] = ()
    warning: str = ""


def decide(
    facts: Mapping[str, Any],
    before: Optional[str],
    drop_in: Optional[str],
    lines: Mapping[str, str],
    taken: Sequence[PciDevice],
) -> Early:
    """C(before) is the file of rules and C(drop_in) that of dracut as they are, C(lines) are ours from now on."""
    early: Mapping[str, Any] = facts.get("early") or {}
    generator, state, known = early.get("generator"), rules.images(before), rules.parse(before)
    wanted = _DROP_IN_TEXT if generator == DRACUT and lines else None
    had_lines = generator == INITRAMFS_TOOLS or (generator == DRACUT and drop_in is not None)
    spoilt = had_lines and any(lines.get(address) != line for address, line in known.items())
    grabbed = _grabbed(early, lines, taken)
    missing = bool(grabbed) and (state != rules.MADE or dict(lines) != known)
    if not early.get("images"):
        return Early(None, wanted)
    if generator not in (INITRAMFS_TOOLS, DRACUT) or not early.get("commands"):
        return Early(None, wanted, warning=_by_hand(grabbed) if missing else "")
    if spoilt or missing or state == rules.PENDING:
        return Early(rules.MADE, wanted, list(early["commands"]))
    return Early(state if dict(lines) == known else None, wanted)


def _grabbed(early: Mapping[str, Any], lines: Mapping[str, str], taken: Sequence[PciDevice]) -> Dict[str, List[str]]:
    """Displays that another driver would claim, with those drivers that nothing keeps out."""
    kept_out = set(early.get("kept_out") or ())
    found = {}
    for device in taken:
        others = sorted(
            name
            for name in {module_name(one) for one in device.modules}
            if not drivers.is_vfio(name) and name not in kept_out
        )
        if device.address in lines and device.has_class(*_CLAIMED) and others:
            found[device.address] = others
    return found


def _by_hand(grabbed: Mapping[str, Sequence[str]]) -> str:
    names = sorted({name for found in grabbed.values() for name in found})
    return (
        f"Nothing keeps {', '.join(names)} out of the initramfs, and how it is made on this host is not known to this module. If it is in"
        f" there, it takes {', '.join(grabbed)} before {rules.RULES} is read. Keep it out by the kernel argument"
        f" modprobe.blacklist={','.join(names)}, or have {rules.RULES} put into the initramfs (rpm-ostree initramfs-etc"
        f" --track={rules.RULES}; FILES of mkinitcpio) and make it anew."
    )
