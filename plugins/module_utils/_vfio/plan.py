# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one computation of what a binding would do, for check mode, the real run and the controller's assessment."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import checks, drivers, early, ordering, rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import (
    AUTO,
    BOUND,
    IDLE,
    NEVER,
    Binding,
    LiveStep,
    Refusal,
    VfioDesired,
    VfioPlan,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.selection import Selection, select


def plan(devices: Sequence[PciDevice], facts: Mapping[str, Any], desired: VfioDesired) -> VfioPlan:
    """A plan with refusals has no writes and no steps."""
    _check(desired)
    selection = select(devices, facts, desired)
    if desired.state == BOUND:
        return _plan_bound(devices, facts, desired, selection)
    return _plan_restored(facts, desired, selection)


def addresses_of_interest(devices: Sequence[PciDevice], desired: VfioDesired) -> List[str]:
    """What may be taken, so that holders are looked up for it before the plan is made."""
    selection = select(devices, {}, desired)
    return [device.address for device in selection.taken]


def _plan_bound(
    devices: Sequence[PciDevice], facts: Mapping[str, Any], desired: VfioDesired, selection: Selection
) -> VfioPlan:
    known = facts.get("drivers") or {}
    wanted = {device.address: _driver(device, desired, known, selection.targets) for device in selection.taken}
    moving = [device for device in selection.taken if not drivers.same(device.driver, wanted[device.address])]
    refusals = list(selection.refusals)
    refusals += checks.needed_by_host([*selection.taken, *selection.foreign], facts)
    refusals += checks.last_display(devices, [*selection.taken, *selection.foreign])
    refusals += checks.divided(moving, facts)
    refusals += checks.driver_missing({device.address: wanted[device.address] for device in moving}, devices, facts)
    refusals += checks.overridden_elsewhere(wanted, devices, facts)
    live = desired.live == IDLE
    if live:
        refusals += checks.busy(moving, facts) + checks.wedged(moving, facts)
    bindings = tuple(
        Binding(
            device.address,
            device.iommu_group,
            device.driver,
            wanted[device.address],
            "unchanged" if device not in moving else ("now" if live else "boot"),
        )
        for device in selection.taken
    )
    if refusals:
        return _refused(selection, bindings, refusals)
    lines = {device.address: rules.line_for(device, wanted[device.address]) for device in selection.taken}
    return VfioPlan(
        groups=selection.groups,
        bindings=bindings,
        asserted=_asserted(selection),
        **_files(facts, desired, lines, taken=selection.taken),
        live_steps=_steps(moving, wanted) if live else (),
        reboot_required=bool(moving) and not live,
    )


def _plan_restored(facts: Mapping[str, Any], desired: VfioDesired, selection: Selection) -> VfioPlan:
    """Without our rule and the override the kernel chooses again, as it would have without us."""
    overridden = [
        device
        for device in selection.taken
        if drivers.is_vfio(device.driver) and device.address not in desired.foreign_owner
    ]
    live = desired.live == IDLE
    refusals = list(selection.refusals)
    if live:
        # Without its driver a physical function has no virtual ones.
        refusals += (
            checks.busy(overridden, facts) + checks.wedged(overridden, facts) + checks.divided(overridden, facts)
        )
    when = "now" if live else "boot"
    bindings = tuple(
        Binding(device.address, device.iommu_group, device.driver, None, when)
        if device in overridden
        else Binding(device.address, device.iommu_group, device.driver, device.driver, "unchanged")
        for device in selection.taken
    )
    if refusals:
        return _refused(selection, bindings, refusals)
    # A line for a device that is gone is removed by its address.
    gone = [*desired.addresses, *(device.address for device in selection.taken)]
    return VfioPlan(
        groups=selection.groups,
        bindings=bindings,
        **_files(facts, desired, {}, gone),
        live_steps=_steps(overridden, {}) if live else (),
        reboot_required=bool(overridden) and not live,
    )


def _check(desired: VfioDesired) -> None:
    if not (desired.addresses or desired.ids or desired.classes):
        raise KatagpuError("No device is selected. Nothing was changed. Fix: name addresses, ids or classes.")
    both = sorted(set(desired.addresses) & set(desired.foreign_owner))
    if both:
        raise KatagpuError(
            f"{', '.join(both)} is in addresses and in foreign_owner. One party owns the binding of a device. "
            "Nothing was changed. Fix: leave it out of one of them."
        )
    if desired.driver not in (AUTO, drivers.STUB) and not drivers.is_vfio(desired.driver):
        raise KatagpuError(
            f"driver: {desired.driver} is not a driver of the VFIO family, so its group could not be passed on. "
            "Nothing was changed. Fix: use auto, vfio-pci, a variant such as nvgrace_gpu_vfio_pci, or pci-stub."
        )
    if desired.live == NEVER and not desired.persistent:
        raise KatagpuError(
            "live: never with persistent: false would do nothing at all. Nothing was changed. Fix: change one of them."
        )


def _driver(device: PciDevice, desired: VfioDesired, known: Mapping[str, Any], targets: Tuple[str, ...]) -> str:
    if desired.member_driver == drivers.STUB and device.address not in targets:
        return drivers.STUB
    return drivers.choose(device, known) if desired.driver == AUTO else drivers.spell(desired.driver, known)


def _refused(selection: Selection, bindings: Tuple[Binding, ...], refusals: Sequence[Refusal]) -> VfioPlan:
    unique = list(dict.fromkeys(refusals))
    return VfioPlan(groups=selection.groups, bindings=bindings, asserted=_asserted(selection), refusals=tuple(unique))


def _asserted(selection: Selection) -> Tuple[Mapping[str, Any], ...]:
    return tuple(
        {
            "address": device.address,
            "group": device.iommu_group,
            "driver": device.driver,
            "viable": drivers.is_viable(device.driver),
        }
        for device in selection.foreign
    )


def _steps(moving: Sequence[PciDevice], wanted: Mapping[str, str]) -> Tuple[LiveStep, ...]:
    """Siblings first: a display function goes last, for its audio function depends on it."""
    ordered = sorted(moving, key=lambda device: device.has_class("03"))
    return tuple(
        LiveStep(device.address, device.iommu_group, device.driver, device.driver_override, wanted.get(device.address))
        for device in ordered
    )


def _files(
    facts: Mapping[str, Any],
    desired: VfioDesired,
    lines: Mapping[str, str],
    gone: Sequence[str] = (),
    taken: Sequence[PciDevice] = (),
) -> Dict[str, Any]:
    """What of the plan concerns files: each path with its new text, or with nothing where the file goes; empty where the files are
    as they should be."""
    if not desired.persistent:
        return {}
    files = facts.get("persistent_files") or {}
    before = files.get(rules.RULES)
    merged = {**rules.parse(before), **lines}
    for address in gone:
        merged.pop(address, None)
    found = early.decide(facts, before, files.get(early.DROP_IN), merged, taken)
    after = {
        rules.RULES: rules.render(before, merged, found.state),
        rules.MODULES_LOAD: rules.render_modules(merged),
        early.DROP_IN: found.drop_in,
        **ordering.render(merged),
    }
    staged = {rules.RULES: rules.render(before, merged, rules.PENDING)} if found.commands else {}
    return {
        "writes": {path: text for path, text in after.items() if text != files.get(path)},
        "refresh": tuple(list(command) for command in found.commands),
        "staged": staged,
        "early_warning": found.warning,
    }
