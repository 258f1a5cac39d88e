# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounting of extended resources as the kubelet's device manager does it; plain data, no I/O."""

from __future__ import annotations

from typing import Any

from .behaviour import Json, Pod


class AdmissionError(Exception):
    """The kubelet refuses the pod; the text is the pod's status.message."""


class DeviceTable:
    """Published devices per resource and the ids that pods hold."""

    def __init__(self, checkpoint: Json | None = None) -> None:
        data = checkpoint or {}
        self.published: dict[str, list[str]] = {}
        self.known: set[str] = set(data.get("known", []))
        self.held: dict[str, dict[str, list[str]]] = {
            uid: {resource: list(ids) for resource, ids in by.items()} for uid, by in data.get("held", {}).items()
        }

    def checkpoint(self) -> Json:
        """What survives an agent restart: who holds what. Devices do not: the plugins register again."""
        return {"known": sorted(self.known | set(self.published)), "held": self.held}

    def counts(self) -> dict[str, str]:
        """Capacity and allocatable of every resource ever published.

        The kubelet keeps a vanished resource's name with the value 0, and so does the lab. The kubelet also keeps the
        old capacity for five more minutes, with allocatable 0 at once; the lab drops both at once.
        """
        self.known |= set(self.published)
        return {resource: str(len(self.published.get(resource, []))) for resource in sorted(self.known)}

    def free(self, resource: str, uid: str = "") -> list[str]:
        taken = {one for holder, by in self.held.items() if holder != uid for one in by.get(resource, [])}
        return [one for one in self.published.get(resource, []) if one not in taken]

    def admit(self, uid: str, pod: Pod) -> dict[str, list[str]]:
        """Gives the pod what it asks for, or what it held before. Raises AdmissionError."""
        wanted = {name: count for name, count in requests(pod).items() if name in self.known or name in self.published}
        given: dict[str, list[str]] = {}
        for resource, count in wanted.items():
            free = self.free(resource, uid)
            kept = [one for one in self.held.get(uid, {}).get(resource, []) if one in free][:count]
            given[resource] = kept + [one for one in free if one not in kept][: count - len(kept)]
            if not self.published.get(resource):
                raise AdmissionError(
                    "Allocate failed due to no healthy devices present; "
                    f"cannot allocate unhealthy devices {resource}, which is unexpected"
                )
            if len(given[resource]) < count:
                raise AdmissionError(
                    f"Allocate failed due to requested number of devices unavailable for {resource}. "
                    f"Requested: {count}, Available: {len(free)}, which is unexpected"
                )
        if given:
            self.held[uid] = given
        return given

    def keep_only(self, uids: set[str]) -> None:
        """Forgets pods that were deleted while the agent was away."""
        self.held = {uid: by for uid, by in self.held.items() if uid in uids}

    def release(self, uid: str) -> None:
        self.held.pop(uid, None)


def requests(pod: Pod) -> dict[str, int]:
    """Extended resources (names with a domain that is not kubernetes.io) that the containers of a pod ask for."""
    total: dict[str, int] = {}
    spec: dict[str, Any] = pod.get("spec") or {}
    for container in spec.get("containers") or []:
        for name, value in ((container.get("resources") or {}).get("limits") or {}).items():
            domain = name.partition("/")[0] if "/" in name else ""
            if domain and not domain.endswith("kubernetes.io"):
                total[name] = total.get(name, 0) + int(value)
    return {name: count for name, count in total.items() if count}
