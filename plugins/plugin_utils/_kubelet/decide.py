# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of this host gets which text, so that its kubelet has what is wanted; or why not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet import flags as flag_texts
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet.facts import MARKER
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import arguments, document
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.document import Change
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.meaning import (
    Path,
    at,
    fits,
    leaves,
    over,
    plain,
    tree,
)

KUBEADM = "kubeadm"
KUBELET = "kubelet"
K3S = "k3s"
RKE2 = "rke2"
K0S = "k0s"
MICROK8S = "microk8s"
NONE = "none"

ROOT_DIR = "/var/lib/kubelet"
OWN_FILE = "own_file"
DROP_IN = "99-katagpu.conf"
RANCHER_FILE = "/etc/rancher/{}/config.yaml.d/99-katagpu.yaml"

_ROOT_DIRS = {K0S: "/var/lib/k0s/kubelet", MICROK8S: "/var/snap/microk8s/common/var/lib/kubelet"}
_FAMILIES = (
    ("kubelet.service", KUBELET),
    ("rke2-", RKE2),
    ("k3s", K3S),
    ("k0s", K0S),
    ("snap.microk8s.", MICROK8S),
)
_HINTS = (
    ("/etc/kubernetes/kubelet.conf", KUBELET),
    ("/var/lib/kubelet/kubeadm-flags.env", KUBELET),
    ("/etc/rancher/rke2", RKE2),
    ("/etc/rancher/k3s", K3S),
    ("/var/lib/k0s", K0S),
    ("/var/snap/microk8s", MICROK8S),
)
_COMMAND_LINE = "the kubelet's command line"


@dataclass(frozen=True)
class Layer:
    """Settings from one place; a later layer has the word."""

    source: str
    settings: Mapping[str, Any]
    own: bool = False


@dataclass(frozen=True)
class Write:
    path: str
    before: str
    text: str
    sha256: str | None
    method: str
    mode: str = "0644"

    @property
    def backup(self) -> bool:
        """Of files of others only."""
        return self.method != OWN_FILE


@dataclass(frozen=True)
class Conflict:
    """A setting that cannot be made, because another place has the word."""

    path: Path
    current: Any
    source: str


@dataclass(frozen=True)
class Decision:
    distribution: str
    unit: str
    root_dir: str
    path: str = ""
    kubeadm: bool = False
    running: bool = False
    changes: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    write: Write | None = None
    digest: str | None = None
    pending: Mapping[str, Any] = field(default_factory=dict)
    supported: bool = True

    @property
    def restart_required(self) -> bool:
        return bool(self.pending) or (self.write is not None and self.running)


def decide(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Decision:
    """Raises where a file cannot be read as what it should be."""
    wanted = plain(wanted)
    base = _recognise(facts)
    if not base.supported or base.distribution == NONE:
        return base
    if base.distribution in (K3S, RKE2):
        return _rancher(base, facts, wanted)
    return _configuration(base, facts, wanted)


def _recognise(facts: Mapping[str, Any]) -> Decision:
    process = facts.get("process") or {}
    units = [str(unit) for unit in facts.get("units") or []]
    present = [str(path) for path in facts.get("present") or []]
    unit = str(process.get("unit") or "")
    family = _family(unit) if unit else next((name for name in map(_family, units) if name), "")
    if not family:
        family = next((name for path, name in _HINTS if path in present), "")
    if not family and facts.get("config"):
        family = KUBELET
    # Packages bring the units of server and agent; without a process it is not known which of them is used.
    candidates = [name for name in units if _family(name) == family]
    unit = unit or (candidates[0] if len(candidates) == 1 else "")
    kubeadm = family == KUBELET and any(path in present for path in (_HINTS[0][0], _HINTS[1][0]))
    root_dir = _flag(facts, "root-dir") if family == KUBELET else ""
    return Decision(
        distribution=KUBEADM if kubeadm else family or NONE,
        unit=unit,
        root_dir=root_dir or _ROOT_DIRS.get(family, ROOT_DIR),
        running=bool(process),
        pending=_pending(facts),
        supported=family not in (K0S, MICROK8S),
    )


def _family(unit: str) -> str:
    return next((name for start, name in _FAMILIES if unit.startswith(start)), "")


def _pending(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The note counts as long as the very process runs that ran when the file was written."""
    process, noted = facts.get("process") or {}, facts.get("pending") or {}
    same = noted and all(noted.get(key) == process.get(key) for key in ("pid", "started"))
    return dict(noted) if same else {}


def _flags(facts: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Sequence[str]]]]:
    """What runs counts; without it, what would be run."""
    process = facts.get("process") or {}
    if process.get("arguments"):
        return [(_COMMAND_LINE, flag_texts.of_arguments(process["arguments"]))]
    return [(path, flag_texts.of_text(text)) for path, text in (facts.get("flags") or {}).items()]


def _flag(facts: Mapping[str, Any], name: str) -> str:
    return next((values[name][-1] for _source, values in reversed(_flags(facts)) if values.get(name)), "")


def _configuration(base: Decision, facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Decision:
    path, main, folder = facts.get("config_path"), facts.get("config"), facts.get("drop_in_dir")
    if not path or not main:
        return replace(base, distribution=NONE)
    _require_whole(path, main)
    layers = [Layer(path, document.load_configuration(main["text"], path), own=not folder)]
    drop_ins = {str(name): found for name, found in (facts.get("drop_ins") or {}).items()}
    own = f"{str(folder).rstrip('/')}/{DROP_IN}" if folder else path
    if folder:
        for name in sorted({*drop_ins, own}):
            if name in drop_ins:
                _require_whole(name, drop_ins[name])
                layers.append(Layer(name, document.load_configuration(drop_ins[name]["text"], name), own=name == own))
            else:
                layers.append(Layer(own, {}, own=True))
        _require_ours(own, drop_ins.get(own))
    layers += [Layer(source, arguments.settings(given, list(wanted))) for source, given in _flags(facts)]
    possible, conflicts = _split(layers, wanted)
    current = drop_ins.get(own) if folder else main
    before = str(current["text"]) if current else ""
    if folder:
        text, method = _drop_in(layers, possible, before), OWN_FILE
    else:
        edited = document.edit(before, _lacking(layers, possible), path)
        text, method = edited.text, edited.method
    write = Write(own, before, text, current["sha256"] if current else None, method) if text != before else None
    return _result(
        base, own, layers, possible, conflicts, write, current, kubeadm=base.distribution == KUBEADM and not folder
    )


def _drop_in(layers: Sequence[Layer], possible: Mapping[str, Any], before: str) -> str:
    if not _lacking(layers, possible):
        return before
    others = [layer for layer in layers if not layer.own]
    content = {"apiVersion": document.API_VERSION, "kind": document.KIND, **_lacking(others, possible)}
    return f"{MARKER}\n{document.render(content)}"


def _rancher(base: Decision, facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Decision:
    own = RANCHER_FILE.format(base.distribution)
    prefix = f"/etc/rancher/{base.distribution}/"
    found = {path: item for path, item in (facts.get("arguments") or {}).items() if path.startswith(prefix)}
    for path, item in found.items():
        if item.get("unclear"):
            raise KatagpuError(
                f"{path} gives {arguments.KEY} in a form that cannot be read. Nothing was changed. "
                f"Fix: write {arguments.KEY} as a key at the top with a list below it."
            )
    _require_ours(own, found.get(own))
    units = {
        path: values
        for path, values in (facts.get("unit_arguments") or {}).items()
        if (name := path.rpartition("/")[2]) == base.unit or (not base.unit and _family(name) == base.distribution)
    }
    others = {path: str(item["text"]) for path, item in found.items() if path != own}
    layers = _argument_layers({**others, **({own: found[own]["text"]} if own in found else {})}, units, own)
    rest = _argument_layers(others, units, own)
    possible, conflicts = _split(rest, wanted, strict=True)
    lacking = leaves(_lacking(layers, possible))
    write = None
    if lacking:
        text = arguments.render(leaves(_lacking(rest, possible)))
        after = _argument_layers({**others, own: text}, units, own)
        for path, _value in leaves(_lacking(after, possible)):
            later = [name for name in others if name > own]
            conflicts.append(Conflict(path, at(_effective(after), path), later[-1] if later else own))
        if not leaves(_lacking(after, possible)):
            current = found.get(own) or {}
            write = Write(own, str(current.get("text") or ""), text, current.get("sha256"), OWN_FILE)
    return _result(base, own, layers, possible, conflicts, write, found.get(own))


def _argument_layers(files: Mapping[str, str], units: Mapping[str, Sequence[str]], own: str) -> list[Layer]:
    main = [path for path in files if path.endswith("/config.yaml")]
    ordered = [*main, *sorted(path for path in files if path not in main)]
    found = arguments.effective([(path, files[path]) for path in ordered], units)
    return [Layer(path, settings, own=path == own) for path, settings in found]


def _result(
    base: Decision,
    path: str,
    layers: Sequence[Layer],
    possible: Mapping[str, Any],
    conflicts: Sequence[Conflict],
    write: Write | None,
    current: Mapping[str, Any] | None,
    kubeadm: bool = False,
) -> Decision:
    effective = _effective(layers)
    changes = [
        Change(".".join(key), at(effective, key), value) for key, value in leaves(_lacking(layers, possible)) if write
    ]
    return replace(
        base,
        path=path,
        kubeadm=kubeadm,
        changes=tuple(changes),
        conflicts=tuple(conflicts),
        write=write,
        digest=current.get("sha256") if current else None,
    )


def _split(
    layers: Sequence[Layer], wanted: Mapping[str, Any], strict: bool = False
) -> tuple[dict[str, Any], list[Conflict]]:
    """What can be set in our layer, and what a layer above it decides. C(strict) respects the layers below as well."""
    owned = [index for index, layer in enumerate(layers) if layer.own]
    first = 0 if strict else (owned[-1] + 1 if owned else len(layers))
    possible, conflicts = [], []
    for path, value in leaves(wanted):
        deciding = [layer for layer in layers[first:] if at(layer.settings, path) is not None and not layer.own]
        if deciding and not fits(path, at(deciding[-1].settings, path), value):
            conflicts.append(Conflict(path, at(deciding[-1].settings, path), deciding[-1].source))
        else:
            possible.append((path, value))
    return tree(possible), conflicts


def _effective(layers: Sequence[Layer]) -> dict[str, Any]:
    return reduce(over, (layer.settings for layer in layers), {})


def _lacking(layers: Sequence[Layer], wanted: Mapping[str, Any]) -> dict[str, Any]:
    now = _effective(layers)
    return tree([(path, value) for path, value in leaves(wanted) if not fits(path, at(now, path), value)])


def _require_whole(path: str, found: Mapping[str, Any]) -> None:
    """A text that was cut off, or is no UTF-8, cannot be written back."""
    if hashlib.sha256(str(found["text"]).encode("utf-8")).hexdigest() != found.get("sha256"):
        raise KatagpuError(f"{path} is longer than is read, or is not UTF-8 text. Nothing was changed.")


def _require_ours(path: str, found: Mapping[str, Any] | None) -> None:
    if found and not found.get("marked", str(found.get("text") or "").startswith(MARKER)):
        raise KatagpuError(
            f"{path} exists and was not written by this collection. Nothing was changed. "
            "Fix: rename that file; its settings keep their effect under another name."
        )
