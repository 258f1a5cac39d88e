# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be right on the controller and in the inventory before anything is read elsewhere."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _confidential, _owner
from ansible_collections.katagpu.cluster.plugins.plugin_utils._arguments import accepted_findings
from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import BLOCK, Finding

ROLES = Path(__file__).parents[2] / "roles"

PREFIX = "katagpu_"
# Facts that the roles keep between plays.
INTERNAL = (
    "katagpu_bios",
    "katagpu_cluster",
    "katagpu_cluster_node",
    "katagpu_eligible",
    "katagpu_errors",
    "katagpu_host",
    "katagpu_in_run",
    "katagpu_record",
    "katagpu_roll_stopped",
    "katagpu_stack",
    "katagpu_started",
)
# Values that would otherwise be refused late, on the hosts, or taken for something else by the cluster.
CHOICES: dict[str, tuple[str, ...]] = {
    _confidential.VARIABLE: _confidential.MODES,
    "katagpu_default_workload": ("container", "vm-passthrough"),
    "katagpu_firmware": ("report", "apply"),
    "katagpu_operand_update": ("rolling", "on_delete"),
    _owner.VARIABLE: _owner.OWNERS,
}
# Role names that other people's variables may begin with as well: only a near miss is taken for a mistake.
_COMMON_WORDS = ("verify", "common", "kubelet", "preflight")
_NEAR = 0.8


def known_variables(roles: Path = ROLES) -> tuple[set[str], set[str]]:
    """All role inputs of all entry points, and the names of the roles."""
    known: set[str] = set()
    names: set[str] = set()
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        names.add(path.parents[1].name)
        specs = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("argument_specs") or {}
        for spec in specs.values():
            known.update((spec or {}).get("options") or {})
    for path in sorted(roles.glob("*/defaults/main.yml")):
        known.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return known, names


def misspelt(variables: Mapping[str, Iterable[str]], known: Iterable[str], roles: Iterable[str]) -> list[Finding]:
    """C(variables) maps a variable's name to the hosts that have it."""
    names = sorted(known)
    exact = {*names, *INTERNAL}
    found = []
    for name, hosts in sorted(variables.items()):
        if name in exact or name.startswith("__"):
            continue
        role = next((role for role in sorted(roles, key=len, reverse=True) if name.startswith(f"{role}_")), None)
        if not name.startswith(PREFIX) and role is None:
            continue
        near = difflib.get_close_matches(name, names, 1, _NEAR)
        if role in _COMMON_WORDS and not near and not name.startswith(PREFIX):
            continue
        listed = sorted(hosts)
        shown = ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
        found.append(
            Finding(
                "misspelt_variable",
                BLOCK,
                f"the variable {name} (of {shown}) is not known to this collection.",
                "It would have no effect.",
                f"did you mean {near[0]}?" if near else "remove it; the READMEs of the roles list all variables.",
                ("roles/*/meta/argument_specs.yml",),
            )
        )
    return found


def choices(values: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """C(values) maps a variable's name to the value of each host; nothing means the default."""
    found = []
    for name, by_host in sorted(values.items()):
        allowed = CHOICES[name]
        groups: dict[str, list[str]] = {}
        for host, value in by_host.items():
            if value not in (None, "", *allowed):
                groups.setdefault(repr(value), []).append(host)
        found += [
            Finding(
                "bad_value",
                BLOCK,
                f"{name} is {value}{_of(hosts)}.",
                "There is no such choice.",
                f"set it to {' or '.join(allowed)}.",
            )
            for value, hosts in sorted(groups.items())
        ]
    return found


def confidential(modes: Mapping[str, Any], container: Iterable[str], release: Mapping[str, Any]) -> list[Finding]:
    """C(modes) maps hosts to the variant that they ask for. The nodes of containers have none, and not every release has all."""
    asked = {host: str(mode) for host, mode in modes.items() if mode not in (None, "", _confidential.NONE)}
    both = sorted(set(asked) & set(container))
    found = []
    if both:
        found.append(
            Finding(
                "both_groups",
                BLOCK,
                f"{_confidential.VARIABLE} is set{_of(both)} in container_nodes.",
                "GPU containers run without a virtual machine, and a node has one workload configuration.",
                f"set {_confidential.VARIABLE} for hosts of kata_nodes only.",
                ("ansible-inventory --graph --vars",),
            )
        )
    known = _confidential.variants(release)
    for mode in sorted(set(asked.values()) & set(_confidential.MODES) - set(known)):
        hosts = sorted(host for host, value in asked.items() if value == mode)
        found.append(
            Finding(
                "cc_release",
                BLOCK,
                f"{_confidential.VARIABLE} is {mode}{_of(hosts)}, and the release {release.get('name')} has no such variant.",
                "There would be no RuntimeClass for it.",
                f"choose a release that has it (the guide to releases lists them), or set {_confidential.VARIABLE}: none.",
                (_confidential.VARIABLE,),
            )
        )
    return found


def owners(values: Mapping[str, Any], release: Mapping[str, Any]) -> list[Finding]:
    """C(values) maps the Kata hosts to the owner that they name; nothing means the release's choice."""
    found = _owner.by_owner(values, release)
    if len(found) < 2:
        return []
    return [
        Finding(
            "vfio_owner",
            BLOCK,
            _owner.differ(found),
            "The GPU Operator has one vfio-manager for all Kata nodes: it would bind GPUs that their host binds, or nobody would"
            " bind the others.",
            f"give all hosts of kata_nodes the same {_owner.VARIABLE}, best in a group variable.",
            ("ansible-inventory --graph --vars",),
        )
    ]


def _of(hosts: Iterable[str]) -> str:
    listed = sorted(host for host in hosts if host)
    if not listed:
        return ""
    return f" (of {', '.join(listed[:3])}{f' and {len(listed) - 3} more' if len(listed) > 3 else ''})"


def acceptances(items: Any) -> list[Finding]:
    """Each mistake of katagpu_accepted_findings."""
    wanted = "give a list of entries, each with an id and the reason why it is accepted."
    if not isinstance(items, list):
        fact = "katagpu_accepted_findings is not a list."
        return [Finding("accepted_findings", BLOCK, fact, "Nothing would be accepted.", wanted)]
    found = []
    for index, item in enumerate(items):
        try:
            accepted_findings([item] if isinstance(item, Mapping) else [{}])
        except KatagpuError as error:
            fact = str(error).replace("katagpu_accepted_findings[0]", f"katagpu_accepted_findings[{index}]")
            found.append(Finding("accepted_findings", BLOCK, fact, fix=wanted))
    return found


def selector(name: str, value: Any) -> list[Finding]:
    """The node selector of the Kata runtime, where the inventory has one of its own."""
    if value is None or (isinstance(value, Mapping) and value):
        return []
    return [
        Finding(
            "bad_value",
            BLOCK,
            f"{name} is {value!r}.",
            "Without a label the runtime would go to every node, and containerd of every node would be restarted.",
            "name a label that the Kata nodes have and no other node, or remove the variable.",
        )
    ]


def remote(refs: Iterable[Any], is_folder: Callable[[str], bool]) -> bool:
    """Whether manifests come from a repository, which kustomize fetches with git."""
    return any(ref and not is_folder(str(ref)) for ref in refs)


def targets(kata: list[str], container: list[str]) -> list[Finding]:
    found = []
    if not kata and not container:
        found.append(
            Finding(
                "no_targets",
                BLOCK,
                "the groups kata_nodes and container_nodes have no hosts.",
                "There is nothing to provision.",
                "name your hosts in these groups of the inventory; groups of your own go below them by children.",
                ("ansible-inventory --graph",),
            )
        )
    both = sorted(set(kata) & set(container))
    if both:
        found.append(
            Finding(
                "both_groups",
                BLOCK,
                f"the hosts {', '.join(both)} are in kata_nodes and in container_nodes.",
                "A node has one workload configuration.",
                "leave each host in one of the two groups.",
                ("ansible-inventory --graph",),
            )
        )
    return found


def tools(wanted: Iterable[str], present: Mapping[str, bool]) -> list[Finding]:
    """An entry may name alternatives: C(kubectl|kustomize)."""
    missing = [entry for entry in wanted if not any(present.get(name) for name in entry.split("|"))]
    return [
        Finding(
            "missing_tool",
            BLOCK,
            f"{entry.replace('|', ' or ')} is not installed on the controller.",
            "The cluster phases cannot run.",
            "install it, or put it into PATH of the account that runs the playbook.",
            ("PATH",),
        )
        for entry in missing
    ]


def packages(missing: Iterable[str]) -> list[Finding]:
    return [
        Finding(
            "missing_tool",
            BLOCK,
            f"the Python package {name} is not installed for the Python that runs Ansible.",
            "The cluster phases cannot run.",
            "install the requirements.txt of the collection into that Python.",
            ("ansible --version",),
        )
        for name in missing
    ]


def serial_width(value: Any, consent: bool, hosts: int) -> list[Finding]:
    text = str(value).strip()
    if re.fullmatch(r"[1-9][0-9]*", text):
        width = int(text)
    elif re.fullmatch(r"[1-9][0-9]?%|100%", text):
        width = max(1, hosts * int(text[:-1]) // 100)
    else:
        return [
            Finding(
                "serial",
                BLOCK,
                f"katagpu_maintenance_batch is {value!r}.",
                "How many hosts are rebooted at the same time would not be defined.",
                "give a whole number of hosts, at least 1, or a percentage such as 10%.",
            )
        ]
    if width <= 1 or consent or width < max(hosts, 2):
        return []
    return [
        Finding(
            "serial",
            BLOCK,
            f"katagpu_maintenance_batch is {value!r}, which is all {hosts} Kata nodes at once.",
            "All of them would be rebooted at the same time.",
            "give a smaller number of hosts, or agree to it with the extra variable katagpu_maintenance_batch_ok=true.",
        )
    ]
