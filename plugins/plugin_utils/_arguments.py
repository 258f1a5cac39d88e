# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several action plugins share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases


def release_of(value: Any, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """A resolved release is taken as it is; a name is looked up; nothing means the default."""
    if isinstance(value, Mapping):
        if not value.get("name") or not value.get("support"):
            raise KatagpuError("release must be the name of a release or what the filter release_data returned.")
        return dict(value)
    return _releases.lookup(value, overrides)


def accepted_findings(items: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Id to reason; both are required, because an acceptance without a reason cannot be reviewed."""
    accepted = {}
    for index, item in enumerate(items or ()):
        where = f"katagpu_accepted_findings[{index}]"
        unknown = sorted(set(item) - {"id", "reason"})
        if unknown:
            raise KatagpuError(f"{where} has unknown keys: {', '.join(unknown)}. Known: id, reason.")
        if not str(item.get("id") or "") or not str(item.get("reason") or "").strip():
            raise KatagpuError(f"{where} needs an id and a reason.")
        accepted[str(item["id"])] = str(item["reason"])
    return accepted
