# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebinds devices of a running system, all of them or none, and believes only what it reads afterwards."""

from __future__ import annotations

import time
from typing import Callable, List, Optional, Protocol, Sequence, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import drivers
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.journal import JOURNAL, LEFT, WEDGED, Journal
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import LiveStep
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import DRIVERS_PROBE, PCI_DEVICES
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.writer import Outcome

# The driver link appears with the write that binds; this only covers a kernel that probes asynchronously.
_SETTLE = 2.0
_POLL = 0.05


class Writer(Protocol):
    def write(self, path: str, text: str) -> Outcome: ...


class BindingFailed(KatagpuError):
    """C(wedged) names the device whose write did not return; C(left) those that could not be put back."""

    def __init__(self, message: str, wedged: Optional[str] = None, left: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.wedged = wedged
        self.left = list(left)


class _StepFailed(Exception):
    def __init__(self, reason: str, wedged: bool = False) -> None:
        super().__init__(reason)
        self.wedged = wedged


class LiveBinding:
    """C(holders) says who uses a device at this moment; it is asked right before each unbind."""

    def __init__(
        self,
        root: HostRoot,
        writer: Writer,
        holders: Callable[[str], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root = root
        self._writer = writer
        self._holders = holders
        self._clock = clock
        self._sleep = sleep
        self._journal = Journal(root)

    def run(self, steps: Sequence[LiveStep], earlier: Sequence[LiveStep] = ()) -> None:
        """C(earlier) are steps of a run that was killed, which are part of the same transaction."""
        begun: List[LiveStep] = list(earlier)
        for step in steps:
            begun.append(step)
            self._journal.write(begun)
            try:
                self._bind(step)
            except _StepFailed as failure:
                if failure.wedged:
                    self._journal.write(begun, WEDGED, step.address)
                    raise BindingFailed(self._wedged(step, failure, begun), wedged=step.address) from failure
                left, stuck = self._take_back(begun)
                raise BindingFailed(_failed(step, failure, begun, left, stuck), stuck, left) from failure
        self._journal.clear()

    def put_back(self, steps: Sequence[LiveStep]) -> None:
        """What a run that was killed left in the middle."""
        left, stuck = self._take_back(steps)
        if left:
            raise BindingFailed(_not_put_back(left, stuck), stuck, left)

    def driver(self, address: str) -> Optional[str]:
        return self._root.link_name(f"{PCI_DEVICES}/{address}/driver")

    def _bind(self, step: LiveStep) -> None:
        if self.driver(step.address) != step.before:
            raise _StepFailed(f"its driver is now {self.driver(step.address)} and was {step.before} a moment ago")
        self._override(step.address, step.driver)
        self._unbind(step.address)
        self._write(DRIVERS_PROBE, step.address)
        if step.driver is not None:
            self._await(step.address, step.driver)
        elif drivers.is_vfio(self.driver(step.address)):
            raise _StepFailed(f"it is on {self.driver(step.address)} again")

    def _override(self, address: str, driver: Optional[str]) -> None:
        """A line end alone clears it."""
        path = f"{PCI_DEVICES}/{address}/driver_override"
        now = self._root.read_line(path)
        if (None if now in (None, "", "(null)") else now) != driver:
            self._write(path, f"{driver or ''}\n")

    def _unbind(self, address: str) -> None:
        if self.driver(address) is not None:
            users = self._holders(address)
            if users:
                raise _StepFailed(f"it is in use now: {'; '.join(users)}")
            self._write(f"{PCI_DEVICES}/{address}/driver/unbind", address)
            if self.driver(address) is not None:
                raise _StepFailed(f"driver {self.driver(address)} did not let go of it")

    def _write(self, path: str, text: str) -> None:
        outcome = self._writer.write(path, text)
        if not outcome.ok:
            raise _StepFailed(f"writing {text.strip() or 'an empty line'} to {path}: {outcome.error}", outcome.wedged)

    def _await(self, address: str, driver: str) -> None:
        deadline = self._clock() + _SETTLE
        while not drivers.same(self.driver(address), driver):
            if self._clock() >= deadline:
                raise _StepFailed(f"the kernel accepted the writes, but its driver is {self.driver(address)}")
            self._sleep(_POLL)

    def _take_back(self, steps: Sequence[LiveStep]) -> Tuple[List[str], Optional[str]]:
        """Last first; the addresses that are not as they were, and the one whose write did not return.

        After such a write nothing more is touched, so all that come after it are left.
        """
        left: List[LiveStep] = []
        stuck: Optional[str] = None
        for step in reversed(steps):
            try:
                if stuck is None:
                    self._restore(step)
                else:
                    left.append(step)
            except _StepFailed as failure:
                left.append(step)
                stuck = step.address if failure.wedged else None
        if left:
            self._journal.write(left[::-1], WEDGED if stuck else LEFT, stuck)
        else:
            self._journal.clear()
        return [step.address for step in left], stuck

    def _restore(self, step: LiveStep) -> None:
        self._override(step.address, step.override)
        if drivers.same(self.driver(step.address), step.before):
            return
        # With the override of before the kernel may choose differently, so the driver is named for a moment.
        if step.before is not None:
            self._override(step.address, step.before)
        self._unbind(step.address)
        if step.before is not None:
            self._write(DRIVERS_PROBE, step.address)
            self._await(step.address, step.before)
        self._override(step.address, step.override)

    def _wedged(self, step: LiveStep, failure: _StepFailed, begun: Sequence[LiveStep]) -> str:
        done = ", ".join(f"{each.address} is on {self.driver(each.address)}" for each in begun)
        return (
            f"[C01][block] WEDGED: {step.address} of IOMMU group {step.group}: {failure}. "
            f"Driver {step.before} waits in the kernel for a user of the device, and nothing can end that wait. "
            f"Nothing else was touched and the files are as before; now {done}. "
            "Until the next boot nothing is bound in the running system any more. "
            f"Fix: drain the node and reboot it, then use live: never. Evidence: {JOURNAL}, dmesg, /proc/*/stat (state D)."
        )


def _failed(
    step: LiveStep, failure: _StepFailed, begun: Sequence[LiveStep], left: Sequence[str], stuck: Optional[str]
) -> str:
    if stuck:
        changed = f"WEDGED while it was put back: {stuck}. Not put back: {', '.join(left)}; the files are as before."
    elif left:
        changed = f"Not put back: {', '.join(left)}; a reboot puts them back, for the files are as before."
    else:
        changed = f"Put back: {', '.join(each.address for each in begun)}; the files are as before."
    fix = "drain the node and reboot it" if stuck else "see dmesg for the reason, or use live: never and reboot"
    return (
        f"[B08][block] {step.address} of IOMMU group {step.group} did not reach {step.driver or 'its own driver'}: "
        f"{failure}. {changed} Fix: {fix}. Evidence: {PCI_DEVICES}/{step.address}/driver."
    )


def _not_put_back(left: Sequence[str], stuck: Optional[str]) -> str:
    wedged = f" WEDGED: the write for {stuck} did not return." if stuck else ""
    return (
        f"[C12][block] A run that was killed left {', '.join(left)} between two drivers, and putting that back failed.{wedged}"
        " Nothing else was changed. Fix: drain the node and reboot it; drivers and overrides end with the running kernel. "
        f"Evidence: {JOURNAL}, {PCI_DEVICES}/{left[0]}/driver."
    )
