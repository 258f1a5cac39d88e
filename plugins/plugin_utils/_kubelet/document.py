# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A KubeletConfiguration as text: read strictly, changed in as few lines as possible."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _secrets, _yaml
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.meaning import Path, at, fits, leaves

KIND = "KubeletConfiguration"
API_VERSION = "kubelet.config.k8s.io/v1beta1"

UNCHANGED = "unchanged"
LINES = "lines"
REWRITE = "rewrite"

_STEP = 2
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class Change:
    key: str
    before: Any
    after: Any

    def as_dict(self) -> dict[str, Any]:
        return {"key": self.key, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Edited:
    """C(method) says how: single lines, or the whole file anew, which loses comments and layout."""

    text: str
    method: str
    changes: tuple[Change, ...]


def load(text: str, source: str) -> Any:
    """YAML or JSON. What the kubelet or another reader could understand in two ways is refused with its line."""
    try:
        documents = _yaml.compose_all(text)
        found = _duplicates(documents[0]) if documents else []
        data = _yaml.load(text) if len(documents) == 1 and not found else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise KatagpuError(
            f"{source}{where} is not valid YAML: {getattr(error, 'problem', None) or error}. Fix: correct the file."
        ) from error
    if len(documents) > 1:
        raise KatagpuError(f"{source} has {len(documents)} YAML documents; the kubelet reads one. Fix: leave one.")
    if found:
        raise KatagpuError(f"{source} {'; '.join(found)}. Fix: leave each key once.")
    return data


def secrets(text: str) -> set[str]:
    """What in a configuration is not to be shown: headers with which the kubelet fetches static pods."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return set()
    return _secrets.texts(data.get("staticPodURLHeader")) if isinstance(data, Mapping) else set()


def load_configuration(text: str, source: str) -> dict[str, Any]:
    data = load(text, source)
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if kind != KIND:
        raise KatagpuError(f"{source} is not a {KIND} (kind: {kind}). Fix: name the file that the kubelet reads.")
    return dict(data)


def edit(text: str, wanted: Mapping[str, Any], source: str) -> Edited:
    """The text with the wanted values. Everything else in it means what it meant before."""
    data = load_configuration(text, source)
    merged, changes = merge(data, wanted, source)
    if not changes:
        return Edited(text, UNCHANGED, ())
    # The result is read again: what a line cannot say, for example where an anchor is used, is written anew instead.
    by_lines = None if _is_json(text) else _lines(text, _missing(data, wanted))
    if by_lines is not None and _says(by_lines, merged):
        return Edited(by_lines, LINES, changes)
    anew = _render(text, merged)
    if not _says(anew, merged):
        raise KatagpuError(f"{source} cannot be written without changing its meaning. Fix: simplify the file.")
    return Edited(anew, REWRITE, changes)


def merge(data: Mapping[str, Any], wanted: Mapping[str, Any], source: str) -> tuple[dict[str, Any], tuple[Change, ...]]:
    merged: dict[str, Any] = copy.deepcopy(dict(data))
    changes = []
    for path, value in _missing(data, wanted):
        place = merged
        for index, key in enumerate(path[:-1]):
            if place.get(key) is None:
                place[key] = {}
            # An alias would be changed at its other places too.
            place[key] = copy.copy(place[key])
            place = place[key]
            if not isinstance(place, dict):
                raise KatagpuError(
                    f"{source}: {'.'.join(path[: index + 1])} is {place!r}, not a mapping. Fix: correct the file."
                )
        changes.append(Change(".".join(path), place.get(path[-1]), value))
        place[path[-1]] = copy.deepcopy(value)
    return merged, tuple(changes)


def render(data: Mapping[str, Any]) -> str:
    """A configuration of our own."""
    return str(yaml.safe_dump(dict(data), sort_keys=False, default_flow_style=False, allow_unicode=True, width=4096))


def _missing(data: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[Path, Any]]:
    return [(path, value) for path, value in leaves(wanted) if not fits(path, at(data, path), value)]


def _duplicates(node: yaml.Node | None) -> list[str]:
    found: list[str] = []
    seen: set[int] = set()
    waiting = [node] if node is not None else []
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, yaml.SequenceNode):
            waiting += current.value
        elif isinstance(current, yaml.MappingNode):
            first: dict[tuple[str, str], int] = {}
            for key, value in current.value:
                waiting += [key, value]
                if not isinstance(key, yaml.ScalarNode):
                    continue
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in first:
                    found.append(f"line {line}: the key {key.value} is there already, in line {first[name]}")
                first.setdefault(name, line)
    return sorted(found)


def _says(text: str, merged: Mapping[str, Any]) -> bool:
    try:
        return _same(load(text, ""), merged)
    except KatagpuError:
        return False


def _same(one: Any, other: Any) -> bool:
    """Equal, and of equal types: for Python true and 1 are the same."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _render(text: str, merged: Mapping[str, Any]) -> str:
    return json.dumps(merged, indent=2) + "\n" if _is_json(text) else render(merged)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _lines(text: str, values: list[tuple[Path, Any]]) -> str | None:
    changed: str | None = text
    for path, value in values:
        try:
            changed = None if changed is None else _set(changed, path, value)
        except yaml.YAMLError:
            # What was added before is no YAML at this place, such as a key that needs quotes in flow style only.
            return None
    return changed


def _set(text: str, path: Path, value: Any) -> str | None:
    """The text with one value changed or added, or nothing where that takes more than lines of plain block style."""
    scalar = _scalar(value)
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if scalar is None:
        return None
    for index, key in enumerate(path):
        if not isinstance(node, yaml.MappingNode):
            return None
        inner = next((entry for name, entry in node.value if name.value == key), None)
        if inner is None:
            return _insert(text, node, path[index:], scalar)
        if isinstance(inner, yaml.ScalarNode):
            last = index == len(path) - 1
            if not last and inner.value not in _NULLS:
                return None
            return _replace(text, inner, scalar if last else _flow(path[index + 1 :], scalar))
        node = inner
    return None


def _scalar(value: Any) -> str | None:
    if isinstance(value, (list, dict)) or (isinstance(value, str) and "\n" in value):
        return None
    shown = yaml.safe_dump(value, allow_unicode=True, width=4096).splitlines()
    return shown[0] if shown[1:] in ([], ["..."]) else None


def _flow(path: Path, scalar: str) -> str:
    shown = scalar
    for key in reversed(path):
        shown = f"{{{_scalar(key)}: {shown}}}"
    return shown


def _replace(text: str, node: yaml.ScalarNode, shown: str) -> str | None:
    if node.style in ("|", ">"):
        return None
    start, end = node.start_mark.index, node.end_mark.index
    return text[:start] + (" " if start == end else "") + shown + text[end:]


def _insert(text: str, mapping: yaml.MappingNode, path: Path, scalar: str) -> str | None:
    if mapping.flow_style:
        close = mapping.end_mark.index - 1
        entry = f"{_scalar(path[0])}: {_flow(path[1:], scalar)}"
        return text[:close] + (", " if mapping.value else "") + entry + text[close:]
    end = _end(mapping)
    if end is None:
        return None
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = mapping.value[0][0].start_mark.column
    lines = [f"{' ' * (indent + _STEP * depth)}{_scalar(key)}:" for depth, key in enumerate(path)]
    added = newline.join(lines) + f" {scalar}"
    place = text.find("\n", end)
    if place < 0:
        return text + newline + added + newline
    return text[: place + 1] + added + newline + text[place + 1 :]


def _end(node: yaml.Node) -> int | None:
    """Where the last value of a block ends; the marks of blocks themselves lie behind what follows them."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return None
    return int(node.end_mark.index)
