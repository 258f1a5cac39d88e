# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chart of one version of kata-deploy against our releases and fact tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.lab.standins import facts
from tests.upstream import compare, releases, rights
from tests.upstream.charts import Chart
from tests.upstream.results import NOTE, SKIPPED, Result, judged

OTHER = "26.7"  # versions that no release installs are tried with the values of this one


def check(version: str, chart: Chart | None) -> list[Result]:
    subject = f"kata-deploy {version}"
    if chart is None:
        return [Result(subject, SKIPPED, f"no chart is given: kata_deploy.{version}.chart")]
    table = releases.table("kata_deploy", version)
    found = releases.pinning("kata_deploy", version)
    results = [Result(subject, NOTE, "the chart comes from a repository", chart.changes)] if chart.changes else []
    results += _facts(subject, table, chart) if table else [Result(subject, NOTE, "there is no fact table of it")]
    for release in found:
        results += _release(subject, release, chart)
    if not found:
        results.append(_other(subject, chart))
    return results


def _facts(subject: str, table: str, chart: Chart) -> Iterator[Result]:
    keys, values = facts.value(table, "values.keys"), chart.values
    have = {key: value for key, value in values.items() if key != "shims"}
    problems = [*compare.unequal("keys only in the facts", set(), set(keys) - compare.leaves(have))]
    problems += compare.unequal("keys only in the chart", set(), compare.leaves(have) - set(keys))
    yield judged(subject, f"{len(keys)} value keys of the fact table", problems)
    shims = {key: value for key, value in values["shims"].items() if key != "disableAll"}
    problems = [*compare.unequal("shims", facts.value(table, "values.shims"), sorted(shims))]
    for shim, wanted in facts.value(table, "values.shim-keys").items():
        problems += compare.unequal(f"shims.{shim}", wanted, sorted(compare.leaves(shims.get(shim, {}))))
    for shim, wanted in facts.value(table, "values.arches").items():
        problems += compare.unequal(
            f"shims.{shim}.supportedArches", wanted, compare.at(shims, f"{shim}.supportedArches")
        )
    yield judged(subject, f"{len(shims)} shims of the fact table", problems)
    yield judged(subject, "RuntimeClasses of the fact table", _class_facts(table, chart))


def _class_facts(table: str, chart: Chart) -> Iterator[str]:
    """Overhead and selectors of the GPU classes, as the chart renders them."""
    overheads = facts.value(table, "classes.overhead")
    shims = {"disableAll": True, **{shim: {"enabled": True} for shim in overheads}}
    rendered = chart.render("kata-deploy", "kata-system", {"shims": shims})
    classes = {one["metadata"]["name"]: one for one in rendered if one["kind"] == "RuntimeClass"}
    for shim, overhead in overheads.items():
        one = classes.get(f"kata-{shim}")
        if one is None:
            yield f"the chart makes no class kata-{shim}"
            continue
        yield from compare.unequal(f"kata-{shim}: overhead", overhead, compare.at(one, "overhead.podFixed"))
        extra = facts.value(table, "classes.gpu-selectors").get(shim, {})
        wanted = facts.value(table, "classes.node-selector") | extra
        yield from compare.unequal(f"kata-{shim}: node selector", wanted, compare.at(one, "scheduling.nodeSelector"))


def _release(subject: str, release: releases.Release, chart: Chart) -> Iterator[Result]:
    name, data = release["name"], release["kata_deploy"]
    cases = releases.kata_deploy_values(release)
    ours = {path for values in cases.values() for path in compare.leaves(values)}
    unknown = {one for values in cases.values() for one in compare.unknown_keys(values, chart.values)}
    yield judged(subject, f"release {name}: {len(ours)} keys that the role can set are the chart's", sorted(unknown))
    problems: list[str] = []
    beyond: set[str] = set()
    for case, values in cases.items():
        for kubernetes in sorted(set(release["kubernetes"].values())):
            objects = chart.render(data["name"], data["namespace"], values, f"{kubernetes}.0")
            beyond |= set(rights.uncovered(release, "kata_deploy", objects))
            problems += [f"{case}, Kubernetes {kubernetes}: {one}" for one in rendered(release, values, objects)]
    yield judged(
        subject,
        f"release {name}: the values of {len(cases)} cases render for the oldest and the newest Kubernetes, with the"
        " DaemonSet, selector, tolerations and RuntimeClasses that we wait for",
        problems,
    )
    yield judged(subject, f"release {name}: our rights are enough for what the chart renders", sorted(beyond))
    yield _images(subject, release, chart)


def rendered(release: releases.Release, values: dict[str, Any], objects: list[dict[str, Any]]) -> Iterator[str]:
    """What the collection relies on, in the objects that the chart makes of its values."""
    data = release["kata_deploy"]
    classes = {one["metadata"]["name"]: one for one in objects if one["kind"] == "RuntimeClass"}
    yield from compare.unequal("RuntimeClasses", sorted(data["runtime_classes"]), sorted(classes))
    promised = data["done_label"] | (release["readiness"].get("kata_labels") or {})
    for name, one in classes.items():
        selector = compare.at(one, "scheduling.nodeSelector") or {}
        left = {key: value for key, value in selector.items() if promised.get(key) != value}
        yield from compare.unequal(f"{name}: node selector beyond what ready nodes carry", {}, left)
        overhead = compare.at(one, "overhead.podFixed.memory")
        yield from compare.unequal(f"{name}: overhead", f"{release['guest']['overhead_mib']}Mi", overhead)
    daemonsets = {one["metadata"]["name"]: one for one in objects if one["kind"] == "DaemonSet"}
    if values.get("deploymentMode") == "job":
        yield from compare.unequal("DaemonSets in job mode", [], sorted(daemonsets))
        yield from _jobs(data["node_selector"], objects)
        return
    yield from compare.unequal("DaemonSets", [data["daemonset"]], sorted(daemonsets))
    for one in daemonsets.values():
        pod = one["spec"]["template"]["spec"]
        yield from compare.unequal("node selector of the DaemonSet", values["nodeSelector"], pod.get("nodeSelector"))
        yield from compare.unequal("tolerations of the DaemonSet", values["tolerations"], pod.get("tolerations"))


def _jobs(selector: dict[str, str], objects: list[dict[str, Any]]) -> Iterator[str]:
    """In job mode a dispatcher chooses the nodes by an argument; that of the removal takes those that the installer labelled."""
    jobs = [
        one
        for one in objects
        if one["kind"] == "Job" and "post-install" in (one["metadata"].get("annotations") or {}).get("helm.sh/hook", "")
    ]
    if not jobs:
        yield "there is no Job that installs"
    for job in jobs:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        words = [*(container.get("command") or []), *(container.get("args") or [])]
        for key, value in selector.items():
            if not any(f"{key}={value}" in word for word in words if word.startswith("--node-selector=")):
                yield f"Job {job['metadata']['name']} does not select {key}={value}"


def _images(subject: str, release: releases.Release, chart: Chart) -> Result:
    version = release["kata_deploy"]["chart_version"]
    listed = release["downloads"]["listed_for"].get("kata_deploy")
    if listed != version:
        return Result(subject, NOTE, f"release {release['name']}: its images are listed for {listed}")
    problems: list[str] = []
    count = 0
    for row in release["downloads"]["images"]:
        for path in row.get("values", []) if row["part"] == "kata_deploy" else []:
            count += 1
            block = compare.at(chart.values, path)
            problems += compare.unequal(path, row["image"], compare.image_of(block, version) if block else None)
    return judged(subject, f"release {release['name']}: images of {count} blocks", problems)


def _other(subject: str, chart: Chart) -> Result:
    """A version that no release installs: what our values would find there."""
    (release,) = [one for one in releases.pinning("kata_deploy", "4.0.0") if one["name"] == OTHER]
    values = releases.kata_deploy_values(release)["kata_deploy_distribution: k8s"]
    found = [*compare.unknown_keys(values, chart.values)]
    found += rendered(release, values, chart.render("kata-deploy", "kata-system", values))
    text = f"no release installs it; with the values of {OTHER} " + (
        "these differ" if found else "all is as with 4.0.0"
    )
    return Result(subject, NOTE, text, tuple(found))
