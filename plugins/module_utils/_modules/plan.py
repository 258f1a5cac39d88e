# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our drop-ins that load modules and keep drivers out; the distribution's and the administrator's files are never edited."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._modules.facts import module_name

LOAD_PATH = "/etc/modules-load.d/katagpu.conf"
BLACKLIST_PATH = "/etc/modprobe.d/katagpu.conf"
MODE = "0644"
_HEADER = "# Managed by katagpu.cluster.\n"
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_-]*$")


def plan(facts: Mapping[str, Any], load: Sequence[str], blacklist: Sequence[str] = ()) -> Dict[str, Any]:
    """C(files) are those that differ (no content: the file goes away), C(load_now) what is neither loaded nor built in."""
    wanted = _names("load", load)
    unwanted = _names("blacklist", blacklist)
    both = sorted({module_name(name) for name in wanted} & {module_name(name) for name in unwanted})
    if both:
        raise KatagpuError(
            f"{', '.join(both)} is to be loaded and blacklisted. Nothing was changed. Fix: name it once."
        )
    available: Mapping[str, bool] = facts["available"]
    # A name that was not asked for when the facts were read is not known to be missing.
    missing = [name for name in wanted if not available.get(module_name(name), True)]
    present = {*facts["loaded"], *facts["builtin"]}
    files = [
        _file(facts["modules_load_d"], LOAD_PATH, list(wanted)),
        _file(facts["modprobe_d"], BLACKLIST_PATH, [f"blacklist {name}" for name in unwanted]),
    ]
    return {
        "files": [file for file in files if file is not None],
        "load_now": [name for name in wanted if module_name(name) not in present and name not in missing],
        "missing": missing,
    }


def _names(option: str, names: Sequence[str]) -> List[str]:
    for name in names:
        if not _NAME.match(name):
            raise KatagpuError(f"{option} has {name!r}, which is no module name. Nothing was changed. Fix: correct it.")
    unique: Dict[str, str] = {}
    for name in names:
        unique.setdefault(module_name(name), name)
    return list(unique.values())


def _file(existing: Mapping[str, str], path: str, lines: Sequence[str]) -> Optional[Dict[str, Optional[str]]]:
    before = existing.get(path)
    after = _HEADER + "".join(f"{line}\n" for line in lines) if lines else None
    if before == after:
        return None
    if before is not None and not before.startswith(_HEADER):
        raise KatagpuError(
            f"{path} exists and was not written by this collection. Nothing was changed. Fix: rename that file."
        )
    return {"path": path, "content": after, "mode": MODE}
