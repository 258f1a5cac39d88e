# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who binds the GPUs. The chart of the GPU Operator is one for all nodes, so all Kata hosts have the same owner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

VARIABLE = "katagpu_vfio_owner"
OPERATOR = "operator"
HOST = "host"
OWNERS = (OPERATOR, HOST)


def _vfio(release: Mapping[str, Any]) -> Mapping[str, Any]:
    """Empty where the release is refused and so has not been read."""
    return release.get("vfio") or {}


def default(release: Mapping[str, Any]) -> str:
    return str(_vfio(release).get("owner_default", OPERATOR))


def by_owner(values: Mapping[str, Any], release: Mapping[str, Any]) -> dict[str, list[str]]:
    """C(values) maps hosts to what they say; nothing means the release's choice. What is none of the choices is left out."""
    found: dict[str, list[str]] = {}
    for host, value in values.items():
        owner = default(release) if value in (None, "") else value
        if owner in OWNERS:
            found.setdefault(owner, []).append(host)
    return {owner: sorted(found[owner]) for owner in OWNERS if owner in found}


def chosen(hostvars: Mapping[str, Any], hosts: Iterable[str], release: Mapping[str, Any]) -> str:
    """The owner of all these hosts."""
    found = by_owner({host: hostvars[host].get(VARIABLE) for host in hosts}, release)
    if len(found) > 1:
        raise KatagpuError(differ(found))
    return next(iter(found), default(release))


def differ(found: Mapping[str, list[str]]) -> str:
    parts = [f"{owner} (of {_some(hosts)})" for owner, hosts in found.items()]
    return f"{VARIABLE} is {' and '.join(parts)}."


def chart_values(release: Mapping[str, Any], owner: str | None) -> Mapping[str, Any]:
    """What the chart gets besides, so that one party binds."""
    values: Mapping[str, Any] = _vfio(release).get("host_owner_values") or {}
    return values if owner == HOST else {}


def operands(release: Mapping[str, Any]) -> list[str]:
    """The blocks of the chart that these values switch off."""
    values = _vfio(release).get("host_owner_values") or {}
    return sorted(block for block, given in values.items() if given.get("enabled") is False)


def _some(hosts: list[str]) -> str:
    return ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
