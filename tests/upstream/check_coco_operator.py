# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kustomizations of one version of the Confidential Containers operator against our releases and fact table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _manifests
from tests.lab.controlplane import binaries
from tests.lab.standins import facts
from tests.upstream import charts, compare, releases
from tests.upstream.results import SKIPPED, Result, judged

Objects = list[dict[str, Any]]


def check(version: str, folder: Path | None) -> list[Result]:
    """`folder` is the folder config of the repository."""
    subject = f"CoCo operator {version}"
    if folder is None:
        return [Result(subject, SKIPPED, f"no kustomizations are given: coco_operator.{version}.kustomizations")]
    results: list[Result] = []
    for release in releases.pinning("coco_operator", version):
        data = release["coco_operator"]
        operator, runtime = (_build(folder, data[key]) for key in ("operator_ref", "runtime_ref"))
        results += [
            judged(subject, f"release {release['name']}: operator", _operator(data, operator)),
            judged(subject, f"release {release['name']}: CcRuntime", _runtime(data, operator, runtime)),
            judged(subject, f"release {release['name']}: images", _images(release, [*operator, *runtime])),
        ]
    table = releases.table("coco_operator", version)
    if table:
        rows = [one for one in facts.rows(table) if one.startswith("daemonset.")]
        runtime = _build(folder, releases.pinning("coco_operator", version)[0]["coco_operator"]["runtime_ref"])
        results.append(judged(subject, f"{len(rows)} operations of the fact table", _operations(table, runtime)))
    return results


def _build(folder: Path, ref: str) -> Objects:
    """The kustomization that a remote reference such as .../config/release?ref=v0.7.0 names, from the folder config."""
    path = folder / ref.partition("?")[0].partition("/config/")[2]
    text = charts.run(binaries.binary("kubectl"), "kustomize", path)
    return [one for one in yaml.safe_load_all(text) if one]


def _named(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    return next((one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)), {})


def _operator(data: dict[str, Any], objects: Objects) -> Iterator[str]:
    for kind, key in (("Namespace", "namespace"), ("Service", "service"), ("CustomResourceDefinition", "crd")):
        if not _named(objects, kind, data[key]):
            yield f"there is no {kind} {data[key]}"
    deployment = _named(objects, "Deployment", data["deployment"])
    if not deployment:
        yield f"there is no Deployment {data['deployment']}"
        return
    containers = deployment["spec"]["template"]["spec"]["containers"]
    yield from compare.unequal("containers of the Deployment", data["containers"], len(containers))
    yield from compare.unequal("namespace", data["namespace"], deployment["metadata"]["namespace"])


def _runtime(data: dict[str, Any], operator: Objects, objects: Objects) -> Iterator[str]:
    runtime = _named(objects, "CcRuntime", data["ccruntime"])
    if not runtime:
        yield f"there is no CcRuntime {data['ccruntime']}"
        return
    yield from compare.unequal("apiVersion", data["api_version"], runtime["apiVersion"])
    config = runtime["spec"]["config"]
    yield from compare.unequal("runtimeClassNames", data["runtime_classes"], config.get("runtimeClassNames"))
    yield from compare.unequal("installDoneLabel", data["done_label"], config.get("installDoneLabel"))
    crd = _named(operator, "CustomResourceDefinition", data["crd"])
    ours = _manifests.cc_runtime_manifests(objects, data["node_selector"])
    schema = compare.schema_of(crd)["properties"]["spec"]
    for one in ours:
        yield from compare.misfits(one["spec"], schema, "spec") if one["kind"] == "CcRuntime" else ()


def _strings(content: Any) -> set[str]:
    if isinstance(content, dict):
        return {text for value in content.values() for text in _strings(value)}
    if isinstance(content, list):
        return {text for value in content for text in _strings(value)}
    return {content} if isinstance(content, str) else set()


def _images(release: releases.Release, objects: Objects) -> Iterator[str]:
    texts = _strings(objects)
    for row in release["downloads"]["images"]:
        if row["part"] == "coco_operator" and row["image"] not in texts:
            yield f"{row['image']} is in no manifest"
    for name in release["coco_operator"]["images"]:
        if not any(text.startswith(f"{name}:") for text in texts):
            yield f"{name} is replaced by us, and is in no manifest"


def _operations(table: str, runtime: Objects) -> Iterator[str]:
    """What the stand-in takes from the CcRuntime is there to be taken."""
    (config,) = [one["spec"]["config"] for one in runtime if one["kind"] == "CcRuntime"]
    for key in (
        "payloadImage",
        "installCmd",
        "uninstallCmd",
        "cleanupCmd",
        "uninstallDoneLabel",
        "preInstall",
        "postUninstall",
    ):
        if not config.get(key):
            yield f"config.{key} is not set"
    hook = facts.value(table, "order.pre-install")
    if not hook.get("label"):
        yield "the fact table does not say which label ends the pre-install"
