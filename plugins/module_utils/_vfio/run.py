# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, plan, apply, read again: the whole transaction, without a module object."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.address import require_all
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers, rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.apply import LiveBinding, Writer
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import SCAN_INTERVAL, read_facts, read_in_use
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.holders import Stat, stat_number
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import (
    IDLE,
    REFUSE,
    SAME_SLOT,
    Members,
    VfioDesired,
    VfioPlan,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import addresses_of_interest, plan

_NODE_SECONDS = 10.0
_POLL = 0.1


class Refused(KatagpuError):
    """Carries the plan, whose refusals are the message."""

    def __init__(self, refused: VfioPlan, host: str) -> None:
        super().__init__("\n".join(refusal.message(host) for refusal in refused.refusals))
        self.plan = refused


class Host:
    """All of the outside world that the transaction needs, so that a test can put its own in place."""

    def __init__(
        self,
        root: HostRoot,
        writer: Writer,
        execute: Callable[[List[str]], None],
        ssh_connection: str = "",
        stat_node: Stat = stat_number,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        runs_here: Optional[bool] = None,
    ) -> None:
        self.root = root
        self.writer = writer
        self.execute = execute
        self.ssh_connection = ssh_connection
        self.stat_node = stat_node
        self.sleep = sleep
        self.clock = clock
        self.runs_here = root.is_live if runs_here is None else runs_here

    def read(self, desired: VfioDesired) -> Tuple[List[PciDevice], Dict[str, Any]]:
        devices = read_devices(self.root)
        facts = read_facts(self.root, (), self.ssh_connection)
        if desired.live == IDLE and self.runs_here:
            facts["in_use"] = read_in_use(self.root, addresses_of_interest(devices, desired), stat_node=self.stat_node)
        return devices, facts


def desired_from(params: Mapping[str, Any]) -> VfioDesired:
    """From the options of the module, checked and in canonical form."""
    return VfioDesired(
        addresses=tuple(require_all(params.get("addresses") or [], "addresses", "address")),
        ids=tuple(require_all(params.get("ids") or [], "ids", "id")),
        classes=tuple(require_all(params.get("classes") or [], "classes", "class")),
        state=params.get("state") or "bound",
        driver=params.get("driver") or "auto",
        members=_members(params.get("members")),
        foreign_owner=tuple(require_all(params.get("foreign_owner") or [], "foreign_owner", "address")),
        live=params.get("live") or "never",
        persistent=params.get("persistent") is not False,
    )


def run(host: Host, desired: VfioDesired, check_mode: bool) -> Dict[str, Any]:
    devices, facts = host.read(desired)
    wanted = _accepted(plan(devices, facts, desired), host)
    if wanted.live_steps and host.runs_here:
        # A monitor may open the device now and then, so one clean look does not make it idle.
        host.sleep(SCAN_INTERVAL)
        devices, facts = host.read(desired)
        wanted = _accepted(plan(devices, facts, desired), host)
    steps = wanted.live_steps if host.runs_here else ()
    commands = _commands(wanted)
    result = {**wanted.as_dict(), "changed": bool(wanted.writes or steps), "commands": commands, "warnings": []}
    result["diff"] = _diff(wanted, facts)
    result.pop("writes")
    if check_mode or not result["changed"]:
        return result
    _apply(host, wanted, facts, commands)
    _confirm(host, desired)
    result["warnings"] = _missing_nodes(host, wanted)
    return result


def _accepted(candidate: VfioPlan, host: Host) -> VfioPlan:
    if candidate.refusals:
        raise Refused(candidate, host.root.read_line("/proc/sys/kernel/hostname") or "")
    return candidate


def _apply(host: Host, wanted: VfioPlan, facts: Mapping[str, Any], commands: Sequence[List[str]]) -> None:
    """Files first, for they can be put back with certainty."""
    before = facts.get("persistent_files") or {}
    try:
        _write(host.root, wanted.writes)
        if host.runs_here:
            for command in commands:
                host.execute(command)
            LiveBinding(host.root, host.writer, host.clock, host.sleep).run(wanted.live_steps)
    except BaseException:
        _write(host.root, {path: before.get(path) for path in wanted.writes})
        raise


def _write(root: HostRoot, writes: Mapping[str, Optional[str]]) -> None:
    for path, text in writes.items():
        if text is None:
            root.remove(path)
        else:
            root.write_atomic(path, text)


def _confirm(host: Host, desired: VfioDesired) -> None:
    devices, facts = host.read(desired)
    # What we have bound is no longer to be taken, so a user that came meanwhile is none of our business.
    facts["in_use"] = {}
    again = plan(devices, facts, desired)
    if again.refusals or again.writes or (again.live_steps and host.runs_here):
        remaining = sorted([*again.writes, *(step.address for step in again.live_steps)])
        reasons = " ".join(refusal.reason for refusal in again.refusals)
        raise KatagpuError(
            f"[B08][block] All writes were accepted, but a second read differs: {', '.join(remaining) or reasons}. "
            "Something else manages the same devices or files. Fix: let one party own the binding. "
            f"Evidence: {rules.RULES}, /sys/bus/pci/devices."
        )


def _missing_nodes(host: Host, wanted: VfioPlan) -> List[str]:
    """The node of a group appears through udev, a moment after the binding."""
    if not host.runs_here:
        return []
    groups = {step.group for step in wanted.live_steps if step.driver is not None and drivers.is_vfio(step.driver)}
    deadline = host.clock() + _NODE_SECONDS
    while True:
        missing = sorted(group for group in groups if group and not host.root.exists(f"/dev/vfio/{group}"))
        if not missing or host.clock() >= deadline:
            break
        host.sleep(_POLL)
    return [f"/dev/vfio/{group} did not appear; is module vfio_iommu_type1 loaded?" for group in missing]


def _commands(wanted: VfioPlan) -> List[List[str]]:
    """Only the rules are read again. No event is triggered, so no device changes its driver by that."""
    commands = [["udevadm", "control", "--reload"]] if rules.RULES in wanted.writes else []
    modules = sorted({drivers.module_name(step.driver) for step in wanted.live_steps if step.driver is not None})
    return [*commands, *(["modprobe", name] for name in modules)]


def _diff(wanted: VfioPlan, facts: Mapping[str, Any]) -> List[Dict[str, str]]:
    moving = [binding for binding in wanted.bindings if binding.when != "unchanged"]
    lines = [
        f"{binding.address}: {binding.before or 'no driver'} -> {binding.after or 'the driver the kernel chooses'}"
        + (" (at the next boot)" if binding.when == "boot" else "")
        for binding in moving
    ]
    parts = [{"prepared": "".join(f"{line}\n" for line in lines)}] if lines else []
    files = facts.get("persistent_files") or {}
    for path, text in wanted.writes.items():
        parts.append(
            {
                "before_header": path,
                "after_header": path,
                "before": files.get(path) or "",
                "after": text or "",
            }
        )
    return parts


def _members(value: Any) -> Members:
    if value in (None, REFUSE, SAME_SLOT):
        return str(value or REFUSE)
    if isinstance(value, (list, tuple)):
        return tuple(require_all([str(entry) for entry in value], "members", "address"))
    raise KatagpuError(
        f"members: {value!r} is none of its values. Nothing was changed. "
        "Fix: use refuse, same_slot or a list of addresses."
    )
