# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real controller of the GPU Operator and our stand-in under the same events, on the lab's control plane."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.lab import paths, processes, standins
from tests.lab.controlplane import binaries, server
from tests.lab.errors import LabError
from tests.lab.node.api import ApiError
from tests.lab.standins import facts, runner
from tests.upstream import charts, controller, given, known, releases, script, trace
from tests.upstream.fake_nodes import FakeNodes
from tests.upstream.results import NOTE, SKIPPED, Result, judged

Progress = Callable[[str], None]
Traces = dict[str, dict[str, Any]]
# Nothing may move for so long: the real controller looks again after 5 s, the stand-in after 2 s.
QUIET_SECONDS = 8.0
PATIENCE_SECONDS = 120.0
NEEDED = ("chart", "assets", "manifests", "binary")


def check(provided: given.Given, progress: Progress) -> list[Result]:
    results: list[Result] = []
    for version in dict.fromkeys([*releases.expected("gpu_operator"), *provided.versions("gpu_operator")]):
        subject = f"controller of GPU Operator {version}"
        own = {key: provided.path("gpu_operator", version, key) for key in NEEDED}
        missing = [f"gpu_operator.{version}.{key}" for key, path in own.items() if path is None]
        found = releases.pinning("gpu_operator", version)
        if not found:
            results.append(Result(subject, NOTE, "no release installs it, so there is nothing to compare"))
        elif missing:
            results.append(Result(subject, SKIPPED, f"not given: {', '.join(missing)}"))
        else:
            given_paths = {key: path for key, path in own.items() if path is not None}
            results += _version(subject, version, found[0], given_paths, progress)
    return results


def _version(
    subject: str, version: str, release: releases.Release, own: dict[str, Path], progress: Progress
) -> Iterator[Result]:
    chart = charts.prepare(own["chart"], version, paths.STATE / "charts" / f"controller-{version}")
    theirs = _run(version, release, chart, own, progress)
    _write(version, "upstream", theirs)
    yield judged(
        subject, "what the release waits for, when all pods are ready", _expected(release, theirs[script.READY])
    )
    table = releases.table("gpu_operator", version)
    if table:
        yield _rows(subject, table, theirs[script.READY])
    standin = runner.table_of(version)
    if standin is None or standin != table:
        yield Result(subject, NOTE, "there is no stand-in of this version, only its facts are compared")
        return
    ours = _run(version, release, chart, None, progress)
    _write(version, "stand-in", ours)
    before: set[str] = set()
    for step, expected in theirs.items():
        yield from known.judged(subject, version, step, trace.differences(ours[step], expected), before)


def _write(version: str, who: str, traces: Traces) -> None:
    path = paths.ensure(paths.STATE / "traces") / f"gpu-operator-{version}-{who}.yml"
    path.write_text(yaml.safe_dump(traces, sort_keys=True), encoding="utf-8")


def _rows(subject: str, table: str, seen: dict[str, Any]) -> Result:
    rows = {
        one["name"]: one
        for one in facts.prefixed(table, "daemonset.")
        if isinstance(one, dict) and "selector" in one and one["name"] in seen["DaemonSet"]
    }
    text = f"{len(rows)} DaemonSets, in the fields that the fact table has of each"
    return judged(subject, text, trace.against_facts(rows, seen["DaemonSet"]))


def _expected(release: releases.Release, seen: dict[str, Any]) -> Iterator[str]:
    """Names, labels, classes and the status that the collection waits for."""
    for operand in [one for part in release["operands"].values() for one in part]:
        made = seen["DaemonSet"].get(operand["daemonset"])
        if made is None:
            yield f"there is no DaemonSet {operand['daemonset']}"
        elif not operand["pod_selector"].items() <= made["pod_labels"].items():
            yield f"{operand['daemonset']}: its pods have not the labels {operand['pod_selector']}"
        elif made["node_selector"].get(operand["deploy_label"]) != "true":
            yield f"{operand['daemonset']}: it does not select {operand['deploy_label']}"
    for part, node in (("kata", script.KATA), ("container", script.UNNAMED)):
        for operand in release["operands"][part]:
            if seen["Node"][node].get(operand["deploy_label"]) != "true":
                yield f"the {part} node has no label {operand['deploy_label']}=true"
    for name in [*release["runtime_classes"]["operator"], release["runtime_classes"]["container"]]:
        if name not in seen["RuntimeClass"]:
            yield f"there is no RuntimeClass {name}"
    policy = seen["ClusterPolicy"].get(release["gpu_operator"]["cluster_policy"]) or {}
    wanted = release["readiness"]["cluster_policy"]
    reason = ((policy.get("conditions") or {}).get("Ready") or {}).get("reason")
    if (policy.get("state"), reason) != (wanted["state"], wanted["reason"]):
        yield f"the ClusterPolicy is {policy.get('state')} with {reason}, and not {wanted}"


def _run(
    version: str, release: releases.Release, chart: charts.Chart, own: dict[str, Path] | None, progress: Progress
) -> Traces:
    """The script on a fresh control plane, with the real controller where `own` has its paths."""
    who = "the real controller" if own else "the stand-in"
    if any(processes.find(name) for name in server.NAMES):
        raise LabError(f"A control plane runs with the state {paths.STATE}. Fix: end it first.")
    server.cluster_up(_quiet)
    try:
        world = _world(release, chart)
        world.nodes.start()
        try:
            with controller.running(world.namespace, own) if own else _standin():
                return _play(version, who, world, progress)
        finally:
            world.nodes.stop()
    finally:
        server.cluster_down()


def _world(release: releases.Release, chart: charts.Chart) -> script.World:
    data, api = release["gpu_operator"], server.api()
    nodes = FakeNodes(api, script.NODES)
    values = paths.STATE / "values.yml"
    values.write_text(yaml.safe_dump(releases.gpu_operator_values(release)["no input"]), encoding="utf-8")
    helm = [binaries.binary("helm"), "install", data["name"], chart.folder, "--namespace", data["namespace"]]
    charts.run(*helm, "--create-namespace", "-f", values, "--kubeconfig", paths.KUBECONFIG)
    return script.World(api, nodes, data["namespace"], data["cluster_policy"])


@contextmanager
def _standin() -> Iterator[None]:
    """The stand-in as the lab runs it."""
    standins.standins_up(_quiet)
    try:
        yield
    finally:
        standins.standins_down()


def _quiet(text: str) -> None:
    """The parts of the lab say what they do; here only the steps are of interest."""


def _play(version: str, who: str, world: script.World, progress: Progress) -> Traces:
    traces: Traces = {}
    for step in script.STEPS:
        if step.releases and not re.match(step.releases, version):
            continue
        began = time.monotonic()
        step.act(world)
        traces[step.name] = _settled(world)
        progress(f"{version}, {who} | {step.name} ({time.monotonic() - began:.0f} s)")
    return traces


def _settled(world: script.World) -> dict[str, Any]:
    """The trace, once nothing has moved for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    last, since = snapshot(world), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(0.5)
        seen = snapshot(world)
        if seen != last:
            last, since = seen, time.monotonic()
        if time.monotonic() > deadline:
            print("check-upstream: it never came to rest; the last state counts", file=sys.stderr)
            break
    return last


def snapshot(world: script.World) -> dict[str, Any]:
    """One look at everything that a controller makes."""

    def items(path: str) -> list[dict[str, Any]]:
        try:
            return list(world.api.get(path)["items"])
        except ApiError as error:
            if error.status == 404:
                return []
            raise

    return trace.trace(
        items(f"/apis/apps/v1/namespaces/{world.namespace}/daemonsets"),
        items("/api/v1/nodes"),
        items("/apis/node.k8s.io/v1/runtimeclasses"),
        items("/apis/nvidia.com/v1/clusterpolicies"),
    )
