# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted, what speaks against it, and what would be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

BOUND = "bound"
RESTORED = "restored"
REFUSE = "refuse"
SAME_SLOT = "same_slot"
NEVER = "never"
IDLE = "idle"
AUTO = "auto"

Members = Union[str, Tuple[str, ...]]


@dataclass(frozen=True)
class VfioDesired:
    """C(members) is C(refuse), C(same_slot) or the addresses that may be taken along."""

    addresses: Tuple[str, ...] = ()
    ids: Tuple[str, ...] = ()
    classes: Tuple[str, ...] = ()
    state: str = BOUND
    driver: str = AUTO
    members: Members = REFUSE
    # For what is taken along: as the others, or C(pci-stub) where nobody needs it.
    member_driver: str = AUTO
    foreign_owner: Tuple[str, ...] = ()
    live: str = NEVER
    persistent: bool = True


@dataclass(frozen=True)
class Refusal:
    """C(id) is that of the failure catalogue where it has one."""

    id: str
    address: str
    group: Optional[str]
    reason: str
    consequence: str
    fix: str
    evidence: str

    def as_dict(self) -> Dict[str, Any]:
        return dict(vars(self))

    def message(self, host: str = "") -> str:
        head = f"[{self.id}][block] " + (f"{host}: " if host else "")
        parts = [self.reason, self.consequence, "Nothing was changed.", f"Fix: {self.fix}"]
        return head + " ".join(part for part in parts if part) + f" Evidence: {self.evidence}"


@dataclass(frozen=True)
class Binding:
    """C(when) is C(unchanged), C(now) or C(boot)."""

    address: str
    group: Optional[str]
    before: Optional[str]
    after: Optional[str]
    when: str

    def as_dict(self) -> Dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class LiveStep:
    """C(driver) is nothing where the kernel is to choose again; C(override) is what has to be put back on failure."""

    address: str
    group: Optional[str]
    before: Optional[str]
    override: Optional[str]
    driver: Optional[str]

    def as_dict(self) -> Dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class VfioPlan:
    groups: Mapping[str, List[str]] = field(default_factory=dict)
    bindings: Tuple[Binding, ...] = ()
    asserted: Tuple[Mapping[str, Any], ...] = ()
    refusals: Tuple[Refusal, ...] = ()
    writes: Mapping[str, Optional[str]] = field(default_factory=dict)
    # What makes the initramfs anew, the files as they are until that is done, and why it cannot be done where it should.
    refresh: Tuple[List[str], ...] = ()
    staged: Mapping[str, Optional[str]] = field(default_factory=dict)
    early_warning: str = ""
    live_steps: Tuple[LiveStep, ...] = ()
    reboot_required: bool = False

    @property
    def changed(self) -> bool:
        return not self.refusals and bool(self.writes or self.live_steps or self.refresh)

    def as_dict(self) -> Dict[str, Any]:
        return {
            "groups": {group: list(members) for group, members in self.groups.items()},
            "bindings": [binding.as_dict() for binding in self.bindings],
            "asserted": [dict(entry) for entry in self.asserted],
            "refusals": [refusal.as_dict() for refusal in self.refusals],
            "writes": dict(self.writes),
            "live_steps": [step.as_dict() for step in self.live_steps],
            "reboot_required": self.reboot_required,
        }
