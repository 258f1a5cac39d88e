# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chart and the assets of one version of the GPU Operator against our releases and fact tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.lab.standins import facts
from tests.upstream import compare, releases, rights
from tests.upstream.charts import Chart
from tests.upstream.results import NOTE, SKIPPED, Result, judged

POLICY = "clusterpolicies.nvidia.com"
NFD = "node-feature-discovery"


def check(version: str, chart: Chart | None, assets: Path | None) -> list[Result]:
    """Everything that needs no cluster."""
    subject = f"GPU Operator {version}"
    table = releases.table("gpu_operator", version)
    found = releases.pinning("gpu_operator", version)
    results: list[Result] = []
    if chart is None:
        results.append(Result(subject, SKIPPED, f"no chart is given: gpu_operator.{version}.chart"))
    else:
        results += [Result(subject, NOTE, "the chart comes from a repository", chart.changes)] if chart.changes else []
        results += _facts(subject, table, chart) if table else [Result(subject, NOTE, "there is no fact table of it")]
        for release in found:
            results += _release(subject, release, chart)
        if not found:
            results.append(_defaults(subject, version, chart))
    if assets is None:
        results.append(Result(subject, SKIPPED, f"no assets are given: gpu_operator.{version}.assets"))
    else:
        results += _assets(subject, table, found, assets)
    return results


def _facts(subject: str, table: str, chart: Chart) -> Iterator[Result]:
    keys = facts.value(table, "values.keys")
    yield judged(subject, f"{len(keys)} value keys of the fact table", compare.fact_keys(keys, chart.values))
    schema = compare.schema_of(chart.crds[POLICY])
    rows = facts.find(table, "crd.enums", {})
    yield judged(subject, f"{len(rows)} enumerations of the fact table", compare.enums(rows, schema))
    defaults = {**facts.find(table, "values.sandbox", {})}
    problems = [
        one for path, value in defaults.items() for one in compare.unequal(path, value, _part(chart, path, value))
    ]
    yield judged(subject, f"{len(defaults)} defaults of the fact table", problems)
    files = facts.find(table, "crd.files", None)
    if files is not None:
        yield judged(subject, "CRDs of the fact table", compare.unequal("crds", sorted(files), sorted(chart.crds)))
    nfd, inner = facts.value(table, "chart.nfd"), chart.subchart(NFD).get("metadata", {})
    theirs = {"name": inner.get("name"), "version": inner.get("version"), "appVersion": inner.get("appVersion")}
    yield judged(
        subject,
        "subchart of NFD in the fact table",
        (one for key in theirs if key in nfd for one in compare.unequal(key, nfd[key], theirs[key])),
    )


def _part(chart: Chart, path: str, wanted: Any) -> Any:
    """A default of the chart; of a mapping only the keys that the fact names."""
    value = compare.at(chart.values, path)
    return {key: value.get(key) for key in wanted} if isinstance(wanted, dict) and isinstance(value, dict) else value


def _release(subject: str, release: releases.Release, chart: Chart) -> Iterator[Result]:
    name, data = release["name"], release["gpu_operator"]
    cases = releases.gpu_operator_values(release)
    ours = {path for values in cases.values() for path in compare.leaves(values)}
    unknown = {one for values in cases.values() for one in compare.unknown_keys(values, chart.values)}
    yield judged(subject, f"release {name}: {len(ours)} keys that the role can set are the chart's", sorted(unknown))
    schema = compare.schema_of(chart.crds[POLICY])
    problems: list[str] = []
    beyond: set[str] = set()
    for case, values in cases.items():
        for kubernetes in sorted(set(release["kubernetes"].values())):
            objects = chart.render(data["name"], data["namespace"], values, f"{kubernetes}.0")
            beyond |= set(rights.uncovered(release, "gpu_operator", objects))
            problems += [f"{case}, Kubernetes {kubernetes}: {one}" for one in _rendered(release, objects, schema)]
    yield judged(
        subject,
        f"release {name}: the values of {len(cases)} cases render for the oldest and the newest Kubernetes, and the"
        " ClusterPolicy fits its CRD",
        problems,
    )
    yield judged(subject, f"release {name}: enumerations", compare.enums(data["enums"], schema))
    yield judged(subject, f"release {name}: CRDs", compare.unequal("crds", sorted(data["crds"]), sorted(chart.crds)))
    tolerations = compare.at(chart.values, "daemonsets.tolerations")
    yield judged(
        subject, f"release {name}: tolerations", compare.unequal("daemonsets", data["tolerations"], tolerations)
    )
    blocks = sorted({one["enabled_by"] for part in release["operands"].values() for one in part if "enabled_by" in one})
    missing = [f"{one}.enabled" for one in blocks if compare.at(chart.values, f"{one}.enabled") is None]
    yield judged(
        subject, f"release {name}: switches of {len(blocks)} operands", (f"{one}: not there" for one in missing)
    )
    if "kata_manager" in release:
        yield judged(subject, f"release {name}: defaults of the Kata manager", _kata_manager(release, chart))
    yield judged(subject, f"release {name}: our rights are enough for what the chart renders", sorted(beyond))
    yield _images(subject, release, chart)


def _rendered(release: releases.Release, objects: list[dict[str, Any]], schema: dict[str, Any]) -> Iterator[str]:
    data = release["gpu_operator"]
    names = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    for kind, wanted in (("ClusterPolicy", data["cluster_policy"]), ("Deployment", data["deployment"])):
        if (kind, wanted) not in names:
            yield f"there is no {kind} {wanted}"
    policy = names.get(("ClusterPolicy", data["cluster_policy"]))
    if policy is not None:
        yield from compare.misfits(policy["spec"], schema["properties"]["spec"], "spec")


def _kata_manager(release: releases.Release, chart: Chart) -> Iterator[str]:
    ours = releases.gpu_operator_values(release)["gpu_operator_kata_manager"]["kataManager"]
    theirs = chart.values["kataManager"]
    for key in ("config", "repository", "image", "version"):
        if key in ours:
            yield from compare.unequal(f"kataManager.{key}", ours[key], theirs.get(key))


def _images(subject: str, release: releases.Release, chart: Chart) -> Result:
    version = release["gpu_operator"]["chart_version"]
    listed = release["downloads"]["listed_for"].get("gpu_operator")
    if listed != version:
        return Result(subject, NOTE, f"release {release['name']}: its images are listed for {listed}")
    values, count = chart.values, 0
    problems: list[str] = []
    for row in release["downloads"]["images"]:
        for path in row.get("values", []) if row["part"] == "gpu_operator" else []:
            count += 1
            block, application = compare.at(values, path), version
            if path.startswith(f"{NFD}."):
                inner = chart.subchart(NFD)
                block = compare.at({NFD: inner.get("values")}, path)
                application = (inner.get("metadata") or {}).get("appVersion", "")
            theirs = compare.image_of(block, application) if block else None
            problems += compare.unequal(path, row["image"].removesuffix("-<os>"), theirs)
    return judged(subject, f"release {release['name']}: images of {count} blocks", problems)


def _defaults(subject: str, version: str, chart: Chart) -> Result:
    """A version that is only recognised: its chart is seen to render, and that is all."""
    objects = chart.render("gpu-operator", "gpu-operator", {})
    return Result(
        subject, NOTE, f"no release installs it; its chart renders {len(objects)} objects with its own values"
    )


def daemonsets(assets: Path) -> dict[str, dict[str, Any]]:
    """DaemonSets in the assets of the operator by name; what fills a later asset in is the controller's business."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(assets.rglob("*daemonset*.y*ml")):
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if one and one.get("kind") == "DaemonSet":
                found.setdefault(one["metadata"]["name"], one)
    return found


def _assets(subject: str, table: str | None, found: list[releases.Release], assets: Path) -> Iterator[Result]:
    there = daemonsets(assets)
    for release in found:
        operands = [one for part in release["operands"].values() for one in part]
        problems = [text for one in operands for text in compare.operand(one, there)]
        yield judged(
            subject, f"release {release['name']}: {len(operands)} operands that we wait for, in the assets", problems
        )
    rows = (
        [one for one in facts.prefixed(table, "daemonset.") if isinstance(one, dict) and "selector" in one]
        if table
        else []
    )
    rows = [one for one in rows if not one["name"].endswith("node-feature-discovery-worker")]
    problems = [text for one in rows for text in _row(one, there)]
    yield judged(subject, f"{len(rows)} DaemonSets of the fact table, in the assets", problems)


def _row(fact: dict[str, Any], there: dict[str, dict[str, Any]]) -> Iterator[str]:
    name = fact["name"]
    if name not in there:
        yield f"{name}: no asset has a DaemonSet of this name"
        return
    spec = there[name]["spec"]
    pod = spec["template"]["spec"]
    hooks = {
        one["name"]: one["lifecycle"]["preStop"]["exec"]["command"] for one in pod["containers"] if one.get("lifecycle")
    }
    theirs = {
        "selector": spec["selector"]["matchLabels"],
        "node_selector": pod.get("nodeSelector"),
        "pre_stop": hooks,
        "service_account": pod.get("serviceAccountName") or pod.get("serviceAccount"),
        "host_pid": pod.get("hostPID", False),
        "host_network": pod.get("hostNetwork", False),
    }
    for key, value in theirs.items():
        if key in fact:
            yield from compare.unequal(f"{name}: {key}", fact[key], value)
