# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a host. The defaults stand here and nowhere else; a null value means the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential, _owner

_CHOICES: dict[str, tuple[str, ...]] = {
    "vfio_owner": _owner.OWNERS,
    "vfio_live": ("auto", "never", "idle"),
    "confidential": _confidential.MODES,
    "bootloader": ("auto", "grub", "grubby", "systemd_boot", "rpm_ostree"),
}
_MEMBER_WORDS = ("refuse", "same_slot")


@dataclass(frozen=True)
class Desired:
    kernel_arguments_present: tuple[str, ...] = ()
    kernel_arguments_absent: tuple[str, ...] = ()
    bootloader: str = "auto"
    modules: tuple[str, ...] = ()
    blacklist: tuple[str, ...] = ()
    iommu_blacklist_argument: bool = True
    vfio_owner: str = _owner.OPERATOR
    vfio_addresses: tuple[str, ...] = ()
    vfio_members: str | tuple[str, ...] = "same_slot"
    vfio_driver: str = ""
    vfio_live: str = "auto"
    vfio_persistent: bool = True
    artifacts_dir: str = ""
    kubelet_config: Mapping[str, Any] = field(default_factory=dict)
    confidential: str = _confidential.NONE
    # The block ccManager of the chart values that the inventory sets.
    cc_manager: Mapping[str, Any] = field(default_factory=dict)


def parse(given: Mapping[str, Any] | None, release: Mapping[str, Any]) -> Desired:
    """All mistakes are reported at once."""
    vfio = release.get("vfio") or {}
    values: dict[str, Any] = {
        "modules": vfio.get("modules") or (),
        "blacklist": vfio.get("blacklist") or (),
        "vfio_driver": vfio.get("driver", ""),
        "vfio_owner": _owner.default(release),
        "artifacts_dir": (release.get("artifacts") or {}).get("dir", ""),
    }
    values.update({key: value for key, value in (given or {}).items() if value is not None})
    known = {entry.name: entry for entry in fields(Desired)}
    wrong = [f"{key} is unknown" for key in sorted(set(values) - set(known))]
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            continue
        default = {} if known[name].default is MISSING else known[name].default
        problem, checked[name] = _check(name, default, value)
        if problem:
            wrong.append(problem)
    if checked.get("vfio_persistent") is False and checked.get("vfio_live") == "never":
        wrong.append(
            "host_vfio_persistent: false with host_vfio_live: never would do nothing at all; change one of them"
        )
    extra = (release.get("confidential") or {}).get("modules") or ()
    if checked.get("confidential") not in (None, _confidential.NONE) and "modules" in checked:
        checked["modules"] = tuple(dict.fromkeys([*checked["modules"], *extra]))
    if wrong:
        raise KatagpuError(
            f"The desired state of the host is not valid: {'; '.join(wrong)}. Known: {', '.join(known)}."
        )
    return Desired(**checked)


def _boolean(name: str, value: Any) -> tuple[str, bool]:
    """Also as text, which is what -e name=false gives."""
    try:
        return "", boolean(value)
    except TypeError:
        return f"{name} must be true or false, not {value!r}", False


def _check(name: str, default: Any, value: Any) -> tuple[str, Any]:
    if name == "vfio_members" and isinstance(value, str):
        good = value in _MEMBER_WORDS
        return (
            "" if good else f"{name} must be {' or '.join(_MEMBER_WORDS)} or a list of addresses, not {value!r}"
        ), value
    if isinstance(default, Mapping):
        good = isinstance(value, Mapping)
        return ("" if good else f"{name} must be a mapping, not {value!r}"), dict(value) if good else {}
    if isinstance(default, bool):
        return _boolean(name, value)
    if isinstance(default, tuple) or name == "vfio_members":
        good = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
        return ("" if good else f"{name} must be a list of texts, not {value!r}"), tuple(value) if good else ()
    if not isinstance(value, str):
        return f"{name} must be text, not {value!r}", ""
    choices = _CHOICES.get(name)
    if choices and value not in choices:
        return f"{name} must be one of {', '.join(choices)}, not {value!r}", value
    return "", value
