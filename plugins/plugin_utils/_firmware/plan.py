# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the attributes of a BIOS, a profile and wishes to what is to be set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import profiles
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.profiles import Attribute, Profile, Wanted
from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware.reading import Bios, masked

# States of a setting.
SET = "set"
PENDING = "pending"
DIFFERS = "differs"
LOCKED = "locked"
REFUSED = "refused"
UNKNOWN = "unknown"
NO_NAME = "no_name"
FOREIGN = "foreign"


@dataclass(frozen=True)
class Wishes:
    """C(features) null means the default ones, of which one that a vendor does not have is no shortcoming."""

    features: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    profile: str = profiles.AUTO
    # Whether the host was booted by UEFI; not known is None.
    uefi: bool | None = None


@dataclass(frozen=True)
class Setting:
    feature: str
    title: str
    attribute: str
    state: str
    value: Any = None
    wanted: Any = None
    waits: Any = None
    reason: str = ""
    source: str = ""
    asked: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """C(send) is what the BMC is to be told; C(foreign) waits there and is not of us."""

    profile: str
    settings: tuple[Setting, ...]
    send: Mapping[str, Any]
    foreign: Mapping[str, Any]

    def those(self, *states: str) -> list[Setting]:
        return [setting for setting in self.settings if setting.state in states]

    @property
    def waiting(self) -> list[str]:
        """Attributes of ours that the next reboot brings into force, without those that are still to be sent."""
        return sorted({setting.attribute for setting in self.those(PENDING)})

    @property
    def fixes(self) -> list[str]:
        """Features that do not hold and will after the reboot."""
        names = dict.fromkeys(setting.feature for setting in self.settings if setting.feature)
        return [name for name in names if self._comes([one for one in self.settings if one.feature == name])]

    def _comes(self, settings: list[Setting]) -> bool:
        coming = [one for one in settings if one.state == PENDING or one.attribute in self.send]
        return bool(coming) and all(one in coming or one.state == SET for one in settings)


def profile_of(bios: Bios, wishes: Wishes) -> Profile | None:
    if wishes.profile != profiles.AUTO:
        return profiles.load().get(wishes.profile)
    return profiles.by_manufacturer(bios.system.manufacturer)


def plan(bios: Bios, wishes: Wishes) -> Plan:
    """A pure function. Without a registry nothing is sent, because no value could be checked."""
    profile = profile_of(bios, wishes)
    settings = [*_features(bios, wishes, profile), *_own(bios, wishes)]
    settings = [_judged(bios, wishes, setting) for setting in settings]
    ours = {setting.attribute: setting.waits for setting in settings if setting.state == PENDING}
    foreign = {name: value for name, value in bios.pending.items() if name not in ours}
    send = {setting.attribute: setting.wanted for setting in settings if setting.state == DIFFERS}
    return Plan(profile.name if profile else "", tuple(settings), {} if foreign else send, foreign)


def needs_registry(planned: Plan) -> bool:
    """The description of all attributes is large, so it is asked for only where it decides something."""
    return bool(planned.those(DIFFERS, REFUSED, UNKNOWN))


def _features(bios: Bios, wishes: Wishes, profile: Profile | None) -> Iterable[Setting]:
    asked = wishes.features is not None
    for feature in wishes.features if wishes.features is not None else profiles.DEFAULT_FEATURES:
        if profile is None:
            continue
        wanted = profile.features.get(feature, ())
        if not wanted:
            reason = f"the profile {profile.name} has no attribute for it"
            yield Setting(feature, profiles.FEATURES[feature], "", NO_NAME, reason=reason, asked=asked)
        for entry in wanted:
            setting = _found(bios, profile, feature, entry)
            if setting is not None and setting.attribute not in wishes.attributes:
                yield replace(setting, asked=asked)


def _found(bios: Bios, profile: Profile, feature: str, entry: Wanted) -> Setting | None:
    described = bios.registry.attributes if bios.registry else {}
    for row in entry.attributes:
        for present in (bios.attributes, described):
            names = profile.matches(row, present)
            if len(names) > 1:
                reason = f"several attributes have that name: {', '.join(names)}"
                return Setting(feature, entry.title, row.name, REFUSED, reason=reason, source=row.source)
            if names:
                return _setting(bios, feature, entry, row, names[0])
    if entry.optional:
        return None
    reason = f"this BIOS has none of the attributes {', '.join(row.name for row in entry.attributes)}"
    return Setting(feature, entry.title, "", UNKNOWN, reason=reason)


def _setting(bios: Bios, feature: str, entry: Wanted, row: Attribute, name: str) -> Setting:
    """Of several spellings the one counts that is in force, waits, or that the registry offers."""
    registry, current, waits = bios.registry, bios.attributes.get(name), bios.pending.get(name)
    fitting = [value for value in row.values if registry is not None and not registry.problem(name, value)]
    said = [value for value in row.values if value in (waits, current)]
    wanted = (said or fitting or list(row.values))[0]
    return Setting(feature, entry.title, name, DIFFERS, current, wanted, waits, source=row.source)


def _own(bios: Bios, wishes: Wishes) -> Iterable[Setting]:
    for name, value in wishes.attributes.items():
        current, waits = bios.attributes.get(name), bios.pending.get(name)
        yield Setting("", name, name, DIFFERS, current, value, waits, source="host_firmware_attributes")


def _judged(bios: Bios, wishes: Wishes, setting: Setting) -> Setting:
    if setting.state != DIFFERS:
        return setting
    name, registry = setting.attribute, bios.registry
    if masked(setting.value) or masked(setting.waits):
        reason = "its value cannot be read, because it contains the password of the BMC"
        return replace(setting, state=REFUSED, value=None, waits=None, reason=reason)
    if setting.waits is not None:
        return replace(setting, state=PENDING if _same(setting.waits, setting.wanted) else FOREIGN)
    if name in bios.attributes and _same(setting.value, setting.wanted):
        return replace(setting, state=SET)
    if setting.feature == "csm_off" and wishes.uefi is not True:
        reason = (
            "the host was booted in legacy mode and would not start without it"
            if wishes.uefi is False
            else "it is not known whether the host was booted by UEFI"
        )
        return replace(setting, state=REFUSED, reason=reason)
    if registry is None:
        if name not in bios.attributes:
            return replace(setting, state=UNKNOWN, reason="this BIOS has no such attribute")
        return replace(setting, state=REFUSED, reason="the BMC offers no registry by which the value could be checked")
    locks = registry.locks(name, bios.attributes)
    if name not in bios.attributes and name not in registry.attributes:
        return replace(setting, state=UNKNOWN, reason="this BIOS has no such attribute")
    if locks or name not in bios.attributes:
        return replace(setting, state=LOCKED, reason="; ".join(locks) or "the BIOS does not show it")
    problem = registry.problem(name, setting.wanted)
    return replace(setting, state=REFUSED, reason=problem) if problem else setting


def _same(left: Any, right: Any) -> bool:
    """For Python true is 1, for a BIOS it is not."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)
