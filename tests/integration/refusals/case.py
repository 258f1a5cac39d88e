# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A refusal as data: how it is brought about, and what it has to say; and the one way to run it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.integration import lab
from tests.lab.scene import Scene

OUTPUT = lab.REPOSITORY / ".build" / "tests" / "refusals"
MESSAGE = re.compile(r"^\s*(\[(\w+)\]\[block\] .* Nothing was changed\..*)$", re.MULTILINE)
# The cluster of every case: what the inventory names, ready, and nothing installed.
KATA, CONTAINER = ("kata-1", "kata-2"), ("container-1",)
NAMESPACES = ("gpu-operator", "kata-system", "confidential-containers-system", "node-feature-discovery", "other")
ACCEPTED = [{"id": "kubernetes_range", "reason": "the lab runs a newer Kubernetes than the releases support"}]

Inventory = dict[str, Any]


def nothing(scene: Scene, inventory: Inventory) -> None:
    """The variables alone bring it about."""


@dataclass(frozen=True)
class Case:
    """C(blocks) are all the open blocks that there may be, by id and node; C(others) are findings in another state."""

    key: str
    title: str
    given: str
    arrange: Callable[[Scene, Inventory], None] = nothing
    variables: Mapping[str, Any] = field(default_factory=dict)
    playbook: str = "preflight"
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    blocks: frozenset[tuple[str, str]] = frozenset()
    others: frozenset[tuple[str, str, str]] = frozenset()
    says: tuple[str, ...] = ()
    # Interferes with no other such case, so that one run shows them all.
    together: bool = False
    # Without localhost in the run, or without hosts, there is no report: then the text is looked for in the output.
    text: str = ""


def blocks(*names: str) -> frozenset[tuple[str, str]]:
    """From C(id) or C(id@node)."""
    return frozenset((name.partition("@")[0], name.partition("@")[2]) for name in names)


def inventory(folder: Path) -> Inventory:
    charts = lab.REPOSITORY / "tests" / "lab" / "upstream" / "charts"
    return {
        "kata_nodes": {"hosts": {name: {} for name in KATA}},
        "container_nodes": {"hosts": {name: {} for name in CONTAINER}},
        "all": {
            "vars": {
                "katagpu_kubeconfig": str(lab.STATE / "kubeconfig-katagpu-deployer"),
                "katagpu_report_dir": str(folder / "report"),
                "katagpu_accepted_findings": ACCEPTED,
                "gpu_operator_chart_ref": f"{charts}/gpu-operator-{{{{ katagpu_stack.gpu_operator.chart_version }}}}",
                "gpu_operator_chart_repo_url": "",
                "kata_deploy_chart_ref": f"{charts}/kata-deploy-{{{{ katagpu_stack.kata_deploy.chart_version }}}}",
            }
        },
    }


def baseline(scene: Scene) -> None:
    for name in NAMESPACES:
        scene.namespace(name)
    for number, name in enumerate((*KATA, *CONTAINER), 11):
        scene.node(name, number)


@dataclass(frozen=True)
class Outcome:
    run: lab.PlaybookRun
    messages: dict[tuple[str, str], list[str]]
    open_blocks: set[tuple[str, str]]
    states: set[tuple[str, str, str]]


def runs(cases: Iterable[Case]) -> list[tuple[Case, ...]]:
    """Those that may stand together in one run, the others alone."""
    together: dict[tuple[str, tuple[str, ...]], list[Case]] = {}
    for case in cases:
        if case.together:
            together.setdefault((case.playbook, case.arguments), []).append(case)
    return [*((case,) for case in cases if not case.together), *(tuple(group) for group in together.values())]


def produce(cases: tuple[Case, ...], scene: Scene, folder: Path) -> Outcome:
    hosts = inventory(folder)
    for case in cases:
        case.arrange(scene, hosts)
    first = cases[0]
    file = folder / "hosts.yml"
    file.write_text(yaml.safe_dump(hosts), encoding="utf-8")
    arguments = list(first.arguments) or ["--limit", "localhost,container-1"]
    variables = ("-e", json.dumps(first.variables))
    run = lab.playbook(first.playbook, *variables, *arguments, inventory=file, environment=first.environment)
    if first.text:
        return Outcome(
            run, {("", ""): [first.text]} if first.text in " ".join(run.output.split()) else {}, set(), set()
        )
    if first.playbook == "preflight" or first.playbook.endswith("hosts_of_files.yml"):
        return _reported(run, folder / "report" / "report.json")
    return _printed(run)


def _reported(run: lab.PlaybookRun, report: Path) -> Outcome:
    findings = json.loads(report.read_text(encoding="utf-8"))["findings"]
    messages: dict[tuple[str, str], list[str]] = {}
    for one in findings:
        messages.setdefault((one["id"], one["node"]), []).append(one["message"])
    states = {(one["id"], one["node"], one["state"]) for one in findings}
    stopping = {(one["id"], one["node"]) for one in findings if one["severity"] == "block" and one["state"] == "open"}
    return Outcome(run, messages, stopping, states)


def _printed(run: lab.PlaybookRun) -> Outcome:
    """The task that ends the run has whole messages in its error, which Ansible prints twice. The report breaks its lines."""
    messages: dict[tuple[str, str], list[str]] = {}
    for text, name in MESSAGE.findall(run.output):
        known = messages.setdefault((name, ""), [])
        if text not in known:
            known.append(text)
    return Outcome(run, messages, set(messages), set())


def messages_of(case: Case, outcome: Outcome) -> list[str]:
    if case.text:
        wanted = {("", "")}
    else:
        wanted = {*case.blocks, *((name, node) for name, node, _ in case.others)}
    return [text for key, texts in sorted(outcome.messages.items()) if key in wanted for text in texts]


def record(key: str, messages: list[str]) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{key}.json").write_text(json.dumps(messages, indent=1), encoding="utf-8")
