# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, plan, apply, read again: the whole transaction, without a module object."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.address import require_all
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.modalias import with_modules
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers, rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.apply import LiveBinding, Writer
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.drivers import read_drivers
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import SCAN_INTERVAL, read_facts, read_in_use
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.journal import (
    LEFT,
    RUNNING,
    Journal,
    Leftover,
    foreseen,
    leftover,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.lock import exclusive
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import (
    IDLE,
    REFUSE,
    SAME_SLOT,
    LiveStep,
    Members,
    VfioDesired,
    VfioPlan,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.plan import addresses_of_interest, plan
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Stat, stat_number

_NODE_SECONDS = 10.0
_POLL = 0.1


class Refused(KatagpuError):
    """Carries the plan, whose refusals are the message."""

    def __init__(self, refused: VfioPlan, host: str, halfway: Sequence[LiveStep] = ()) -> None:
        lines = [refusal.message(host) for refusal in refused.refusals]
        if halfway:
            names = ", ".join(step.address for step in halfway)
            lines.append(
                f"A run that was killed left {names} between two drivers; a run without a refusal puts that back."
            )
        super().__init__("\n".join(lines))
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
        devices = with_modules(self.root, read_devices(self.root))
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
        member_driver=params.get("member_driver") or "auto",
        foreign_owner=tuple(require_all(params.get("foreign_owner") or [], "foreign_owner", "address")),
        live=params.get("live") or "never",
        persistent=params.get("persistent") is not False,
    )


class _Judged(NamedTuple):
    devices: List[PciDevice]
    facts: Dict[str, Any]
    left: Leftover
    plan: VfioPlan


def run(host: Host, desired: VfioDesired, check_mode: bool) -> Dict[str, Any]:
    judged = _judge(host, desired)
    result = _result(host, judged)
    if check_mode:
        return _result(host, _look_again(host, desired, judged)) if result["changed"] else result
    if not result["changed"]:
        _close(host, judged)
        return result
    if not host.runs_here:
        _apply(host, desired, judged, result["commands"])
        _confirm(host, desired)
        return result
    with exclusive(host.root):
        # Another run may have ended just now, and time has passed in any case.
        judged = _look_again(host, desired, judged)
        result = _result(host, judged)
        judged = _recovered(host, desired, judged)
        applied = _apply(host, desired, judged, result["commands"])
        _confirm(host, desired)
        _close(host, judged)
        result["warnings"] += _missing_nodes(host, applied)
    return result


def _close(host: Host, judged: _Judged) -> None:
    """What a run noted and nobody has to take back any more; that something got stuck is remembered."""
    if host.runs_here and (judged.facts.get("journal") or {}).get("state") in (RUNNING, LEFT):
        Journal(host.root).clear()


def _judge(host: Host, desired: VfioDesired) -> _Judged:
    devices, facts = host.read(desired)
    left = leftover(devices, facts.get("journal")) if host.runs_here else Leftover()
    devices = foreseen(devices, left.halfway)
    return _Judged(devices, facts, left, _accepted(plan(devices, facts, desired), host, left))


def _look_again(host: Host, desired: VfioDesired, judged: _Judged) -> _Judged:
    """A monitor may open the device now and then, so one clean look does not make it idle."""
    if judged.plan.live_steps and host.runs_here:
        host.sleep(SCAN_INTERVAL)
    return _judge(host, desired)


def _result(host: Host, judged: _Judged) -> Dict[str, Any]:
    wanted, halfway = judged.plan, judged.left.halfway
    steps = wanted.live_steps if host.runs_here else ()
    result = {**wanted.as_dict(), "changed": bool(wanted.writes or steps or halfway)}
    result["warnings"] = [wanted.early_warning] if wanted.early_warning else []
    result.update(commands=_commands(wanted), recovered=[step.address for step in halfway])
    result["diff"] = _diff(judged)
    result.pop("writes")
    return result


def _accepted(candidate: VfioPlan, host: Host, left: Leftover) -> VfioPlan:
    if candidate.refusals:
        raise Refused(candidate, host.root.read_line("/proc/sys/kernel/hostname") or "", left.halfway)
    return candidate


def _recovered(host: Host, desired: VfioDesired, judged: _Judged) -> _Judged:
    """Puts back what a run that was killed left in the middle, and judges again what that made of it."""
    if not judged.left.halfway:
        return judged
    _live(host).put_back(judged.left.halfway)
    again = _judge(host, desired)
    return again._replace(left=Leftover((), judged.left.reached))


def _live(host: Host) -> LiveBinding:
    def holders(address: str) -> Sequence[str]:
        return read_in_use(host.root, [address], stat_node=host.stat_node).get(address, [])

    return LiveBinding(host.root, host.writer, holders, host.clock, host.sleep)


def _apply(host: Host, desired: VfioDesired, judged: _Judged, commands: Sequence[List[str]]) -> VfioPlan:
    """Files before bindings, for they can be put back with certainty."""
    wanted, facts = judged.plan, judged.facts
    loading = [command for command in commands if command[0] == "modprobe"]
    if host.runs_here and loading:
        for command in loading:
            host.execute(command)
        # Only a driver that is loaded says how it is spelled.
        wanted = plan(judged.devices, {**facts, "drivers": read_drivers(host.root)}, desired)
    before = facts.get("persistent_files") or {}
    try:
        _write(host.root, {**wanted.writes, **(wanted.staged if host.runs_here else {})})
        if host.runs_here:
            for command in commands:
                if command not in loading and command not in wanted.refresh:
                    host.execute(command)
            if wanted.live_steps:
                _live(host).run(wanted.live_steps, _earlier(judged.left.reached, wanted))
    except BaseException:
        _write(host.root, {path: before.get(path) for path in wanted.writes})
        raise
    if host.runs_here:
        _refresh(host, wanted)
    return wanted


def _refresh(host: Host, wanted: VfioPlan) -> None:
    """Last, because no failure of the steps before may leave an image with lines that were taken back."""
    try:
        for command in wanted.refresh:
            host.execute(command)
    except KatagpuError as error:
        text = str(error).replace("Nothing was changed.", "").strip()
        raise KatagpuError(
            f"{text} Everything else is done. {rules.RULES} notes that the initramfs is to be made anew. "
            "Fix: solve what it reports (often a full /boot), and run again."
        ) from error
    _write(host.root, {path: wanted.writes[path] for path in wanted.staged})


def _earlier(reached: Sequence[LiveStep], wanted: VfioPlan) -> List[LiveStep]:
    """Of the same groups, and not to be changed again: they share the fate of the transaction."""
    again = {step.address for step in wanted.live_steps}
    return [step for step in reached if step.group in wanted.groups and step.address not in again]


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
    """The node of a group, or of a device where the kernel has no more than these, appears a moment after the binding."""
    if not host.runs_here:
        return []
    bound = [
        step for step in wanted.live_steps if step.driver is not None and drivers.is_vfio(step.driver) and step.group
    ]
    deadline = host.clock() + _NODE_SECONDS
    while True:
        missing = sorted({str(step.group) for step in bound if not _has_node(host.root, step)})
        if not missing or host.clock() >= deadline:
            break
        host.sleep(_POLL)
    return [f"/dev/vfio/{group} did not appear; is module vfio_iommu_type1 loaded?" for group in missing]


def _has_node(root: HostRoot, step: LiveStep) -> bool:
    names = root.list(f"{PCI_DEVICES}/{step.address}/vfio-dev")
    return root.exists(f"/dev/vfio/{step.group}") or any(root.exists(f"/dev/vfio/devices/{name}") for name in names)


def _commands(wanted: VfioPlan) -> List[List[str]]:
    """Only the rules are read again. No event is triggered, so no device changes its driver by that."""
    modules = sorted({drivers.module_name(step.driver) for step in wanted.live_steps if step.driver is not None})
    reload = [["udevadm", "control", "--reload"]] if rules.RULES in wanted.writes else []
    return [*(["modprobe", name] for name in modules), *reload, *wanted.refresh]


def _diff(judged: _Judged) -> List[Dict[str, str]]:
    wanted, files = judged.plan, judged.facts.get("persistent_files") or {}
    lines = [f"{step.address}: put back to {step.before or 'no driver'} first" for step in judged.left.halfway]
    lines += [
        f"{binding.address}: {binding.before or 'no driver'} -> {binding.after or 'the driver the kernel chooses'}"
        + (" (at the next boot)" if binding.when == "boot" else "")
        for binding in wanted.bindings
        if binding.when != "unchanged"
    ]
    parts = [{"prepared": "".join(f"{line}\n" for line in lines)}] if lines else []
    for path, text in wanted.writes.items():
        part = {"before_header": path, "after_header": path, "before": files.get(path) or "", "after": text or ""}
        parts.append(part)
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
