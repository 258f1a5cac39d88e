# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one value in which every check speaks: what was found, what follows from it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

BLOCK = "block"
WARN = "warn"
INFO = "info"

OPEN = "open"
CLEAR = "clear"
ACCEPTED = "accepted"
WILL_BE_FIXED_BY = "will_be_fixed_by"
UNKNOWN_UNTIL = "unknown_until"

_SEVERITIES = (BLOCK, WARN, INFO)
_STATES = (OPEN, CLEAR, ACCEPTED, WILL_BE_FIXED_BY, UNKNOWN_UNTIL)


@dataclass(frozen=True)
class Finding:
    """C(id) is that of the failure catalogue where it has one, else a snake_case word."""

    id: str
    severity: str
    fact: str
    consequence: str = ""
    fix: str = ""
    evidence: tuple[str, ...] = ()
    node: str = ""
    device: str = ""
    state: str = OPEN
    by: str = ""
    changed: str = "Nothing was changed."
    acceptable: bool = False
    reason: str = ""

    def __post_init__(self) -> None:
        if self.severity not in _SEVERITIES or self.state not in _STATES:
            raise ValueError(f"finding {self.id}: severity {self.severity!r} or state {self.state!r} is unknown")

    @property
    def stops(self) -> bool:
        """Only an open block stops a host or the run."""
        return self.severity == BLOCK and self.state == OPEN

    def as_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["evidence"] = list(self.evidence)
        data["message"] = self.message()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        known = {key: data[key] for key in cls.__dataclass_fields__ if key in data}
        known["evidence"] = tuple(known.get("evidence") or ())
        return cls(**known)

    def message(self) -> str:
        head = f"[{self.id}][{self.severity}] "
        parts = [f"{self.node}: {self.fact}" if self.node else self.fact]
        if self.consequence:
            parts.append(self.consequence)
        if self.state == WILL_BE_FIXED_BY:
            parts.append(f"Will be fixed by: {self.by}.")
        elif self.state == UNKNOWN_UNTIL:
            parts.append(f"Unknown until: {self.by}.")
        elif self.state == ACCEPTED:
            parts.append(f"Accepted: {self.reason.rstrip('.')}.")
        elif self.state == OPEN and self.severity != INFO:
            parts.append(self.changed)
            if self.fix:
                parts.append(f"Fix: {self.fix}")
        if self.evidence:
            parts.append("Evidence: " + "; ".join(self.evidence))
        return head + " ".join(part.rstrip() for part in parts if part)


def accept(findings: Iterable[Finding], accepted: Mapping[str, str]) -> list[Finding]:
    """Marks the acceptable open blocks whose id the user accepted with a reason."""
    result = []
    for finding in findings:
        if finding.stops and finding.acceptable and finding.id in accepted:
            finding = replace(finding, state=ACCEPTED, reason=accepted[finding.id])
        result.append(finding)
    return result
