# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the kubelet as command-line arguments: of the kubelet itself, and as k3s and RKE2 pass them on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet.facts import MARKER
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _yaml
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.document import load
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.meaning import Path

GATES = "featureGates"
# Appends to what other files give, and to what k3s and RKE2 themselves give; without the sign both are replaced.
KEY = "kubelet-arg"
APPEND = "+"

Source = tuple[str, Mapping[str, Any]]


def flag_of(key: str) -> str:
    """The flag that stands for a key at the top of a KubeletConfiguration."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", key).lower()


def settings(flags: Mapping[str, Sequence[str]], keys: Sequence[str]) -> dict[str, Any]:
    """What flags say about some keys of the configuration. The last of several has the word; gates add up."""
    found: dict[str, Any] = {}
    for key in keys:
        given = flags.get(flag_of(key)) or []
        if given and key == GATES:
            found[key] = _gates(given)
        elif given:
            found[key] = _typed(given[-1])
    return found


def effective(files: Sequence[tuple[str, str]], units: Mapping[str, Sequence[str]]) -> list[Source]:
    """The arguments in the order in which they count, each as settings with the file that gives it.

    A later file replaces the list of the earlier ones, unless its key ends in a plus. What a unit passes comes last.
    """
    listed: list[tuple[str, str]] = []
    for path, text in files:
        data = load(text, path)
        for key in (KEY, KEY + APPEND):
            if not isinstance(data, Mapping) or key not in data:
                continue
            values = data[key] if isinstance(data[key], list) else [data[key]]
            given = [(path, str(value)) for value in values if value is not None]
            listed = [*listed, *given] if key.endswith(APPEND) else given
    listed += [(path, value) for path, values in units.items() for value in values]
    return [(path, _setting(value)) for path, value in listed]


def render(items: Sequence[tuple[Path, Any]]) -> str:
    """Our own file for k3s and RKE2."""
    lines = [f"{MARKER}; it goes when it is deleted and the service is restarted.", f"{KEY}{APPEND}:"]
    for path, value in items:
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        if len(path) == 2 and path[0] == GATES and isinstance(value, bool):
            lines.append(f"  - {flag_of(GATES)}{APPEND}={path[1]}={shown}")
        elif path == ("runtimeRequestTimeout",):
            lines.append(f"  - {flag_of(path[0])}={shown}")
        else:
            raise KatagpuError(
                f"{'.'.join(path)} cannot be given to the kubelet of k3s or RKE2 as an argument by this collection. "
                "Nothing was changed. Fix: set it in a configuration file of your own."
            )
    return "\n".join(lines) + "\n"


def _setting(argument: str) -> dict[str, Any]:
    name, separator, value = argument.strip().removeprefix("--").partition("=")
    name = name.rstrip("+-")
    if name == flag_of(GATES):
        return {GATES: _gates([value])}
    return {_key_of(name): _typed(value) if separator else True}


def _key_of(flag: str) -> str:
    first, *others = flag.split("-")
    return first + "".join(part.capitalize() for part in others)


def _gates(given: Sequence[str]) -> dict[str, bool]:
    pairs = [pair.partition("=") for text in given for pair in text.split(",") if pair.strip()]
    return {name.strip(): value.strip().lower() in ("true", "1", "t") for name, _separator, value in pairs}


def _typed(text: str) -> Any:
    try:
        return _yaml.load(text)
    except yaml.YAMLError:
        return text
