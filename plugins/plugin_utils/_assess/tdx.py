# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host can start virtual machines with Intel TDX, and if not, whose fault it is.

The kernel hides tdx_host_platform where the firmware has TDX off and also while it could hibernate (arch/x86/virt/vmx/tdx/tdx.c
tdx_init), and KVM has TDX off until it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import tee
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import Finding

_MODULE = "kvm_intel"
_ASKED = f"{_MODULE}.tdx=1"
_NO_HIBERNATION = "nohibernate"
_EVIDENCE = (f"/sys/module/{_MODULE}/parameters/tdx", "/proc/cpuinfo")
_FIRMWARE = (
    "in the firmware setup or through the BMC enable TME, TME-MT, TDX, the SEAM loader, SGX and x2APIC, set the TME-MT/TDX key split to 1"
    " or more and node interleaving off, and reboot the host."
)


def arguments(view: HostView) -> tee.Arguments:
    """What was asked for at this boot is asked for again, because it is why nothing is missing now."""
    wanted = []
    if _hibernates(view) or _carries(view, _NO_HIBERNATION):
        wanted.append(_NO_HIBERNATION)
    if not _enabled(view) or _carries(view, _ASKED):
        wanted.append(_ASKED)
    return tee.Arguments(present=tuple(wanted), absent=(f"{_MODULE}.tdx=0",))


def judge(view: HostView, variant: Mapping[str, Any], kernel: str) -> list[Finding]:
    if view.part("iommu").get("cpu_vendor") != "intel":
        return [tee.other_cpu(view, str(variant["title"]))]
    if _enabled(view):
        return tee.keys(view, variant, _FIRMWARE)
    missing = tee.no_module(view, _MODULE, "tdx", kernel)
    if missing:
        return missing
    found = tee.switched_off(view, _MODULE, ("tdx",))
    asked = _carries(view, _ASKED) or any(tee.is_on(value) for _path, value in tee.options_of(view, _MODULE, "tdx"))
    if not asked and not found:
        found.append(tee.to_come(view, "cc_option", f"KVM has TDX off until the kernel argument {_ASKED} is given."))
    if "tdx_host_platform" in tee.flags(view):
        return found or [_not_initialised(view)]
    if not _hibernates(view):
        fact = "the firmware does not offer TDX: the processor does not show the flag tdx_host_platform."
        return [*found, tee.stop(view, "cc_firmware", fact, _FIRMWARE, _EVIDENCE)]
    fact = f"this kernel can hibernate, and gives TDX up for it; the kernel argument {_NO_HIBERNATION} is missing."
    return [
        *found,
        tee.to_come(view, "cc_option", fact, ("/sys/power/disk", "/proc/cmdline")),
        tee.unknown(view, "whether the firmware offers TDX cannot be seen while the kernel can hibernate.", _EVIDENCE),
    ]


def _not_initialised(view: HostView) -> Finding:
    return tee.stop(
        view,
        "cc_firmware",
        "KVM was asked for TDX and has it off, so the kernel could not start the TDX module.",
        f"look at dmesg | grep -i tdx; where it says that the module is not loaded, {_FIRMWARE}",
        _EVIDENCE,
    )


def _enabled(view: HostView) -> bool:
    return tee.is_on(tee.parameter(view, _MODULE, "tdx"))


def _carries(view: HostView, argument: str) -> bool:
    return tokens.carries(tee.line(view), tokens.token(argument))


def _hibernates(view: HostView) -> bool:
    """The kernel itself says when it cannot: by lockdown, by an argument, or because it was built so."""
    return tee.facts(view).get("hibernation") not in (None, "", "[disabled]")
