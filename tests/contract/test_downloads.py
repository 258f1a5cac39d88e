# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of downloads against what was read upstream: the fact tables, and the values of the lab's charts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _artifacts, _releases
from tests.contract import product
from tests.lab.standins import facts

CHARTS = product.REPOSITORY / "tests" / "lab" / "upstream" / "charts"
INSTALLABLE = _releases.installable(_releases.load())
# A release that starts from another one has the list of that one, and says so by a warning.
OWN = [name for name in INSTALLABLE if not _artifacts.artifacts(_releases.lookup(name))["warnings"]]
every_release = pytest.mark.parametrize("name", OWN)


def test_releases_with_a_lab_chart_have_a_list_of_their_own() -> None:
    assert {"26.7", "23.9"} <= set(OWN)


# Blocks of the chart that name an image which the release's own values let nobody pull, and why.
NOT_PULLED = {
    "26.7": {
        "sandboxDevicePlugin": "mode kata runs kataSandboxDevicePlugin instead",
        "vgpuDeviceManager": "only on nodes labelled vm-vgpu, which are left alone",
        "draDriver": "only with a GPUCluster, which the chart does not create by default",
    },
    "23.9": {
        "vgpuDeviceManager": "only on nodes labelled vm-vgpu, which are left alone",
        "operator.initContainer": "only on OpenShift",
    },
}


def rows(name: str) -> list[dict[str, Any]]:
    return list(_releases.lookup(name)["downloads"]["images"])


def chart(part: str, name: str) -> Path:
    data = _releases.lookup(name)[part]
    return CHARTS / f"{data['chart_ref'].rsplit('/', 1)[-1]}-{data['chart_version']}"


def blocks(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping that names an image and is not switched off, with its path."""
    for key, value in values.items():
        if isinstance(value, dict) and value.get("enabled") is not False:
            path = f"{prefix}{key}"
            if ("repository" in value and "image" in value) or "reference" in value:
                yield path, value
            yield from blocks(value, f"{path}.")


def named(folder: Path, values: dict[str, Any]) -> dict[str, str]:
    """Images by the path of their value, as the chart puts them together."""
    application = product.load(folder / "Chart.yaml")["appVersion"]
    found = {}
    for path, block in blocks(values):
        if "reference" in block:
            found[path] = f"{block['reference']}:{block['tag'] or application}"
        else:
            found[path] = f"{block['repository']}/{block['image']}:{block.get('version') or application}"
    for inner in sorted(folder.glob("charts/*")):
        image = product.load(inner / "values.yaml")["image"]
        tag = image.get("tag") or product.load(inner / "Chart.yaml")["appVersion"]
        found[f"{inner.name}.image"] = f"{image['repository']}:{tag}"
    return found


def of_the_charts(name: str) -> dict[tuple[str, str], str]:
    release = _releases.lookup(name)
    found = {}
    for part in ("gpu_operator", "kata_deploy"):
        if part in release:
            folder = chart(part, name)
            values = _releases.merge(product.load(folder / "values.yaml"), release[part]["values"])
            found.update({(part, path): image for path, image in named(folder, values).items()})
    return found


def of_the_rows(name: str) -> dict[tuple[str, str], str]:
    """The driver's tag goes on with the operating system of the node."""
    return {
        (row["part"], path): row["image"].removesuffix("-<os>") for row in rows(name) for path in row.get("values", [])
    }


@every_release
def test_every_image_of_the_charts_is_listed_with_its_version(name: str) -> None:
    unused = {("gpu_operator", path) for path in NOT_PULLED[name]} | {("kata_deploy", "job.dispatcherImage")}
    charts = of_the_charts(name)
    assert {("gpu_operator", path) for path in NOT_PULLED[name]} <= set(charts), "no longer a block of the chart"
    assert of_the_rows(name) == {key: image for key, image in charts.items() if key not in unused}


@every_release
def test_an_operand_has_its_image_on_the_nodes_where_it_runs(name: str) -> None:
    release = _releases.lookup(name)
    for workload, operands in release["operands"].items():
        listed = {
            path for row in rows(name) if row["nodes"] in ("all", "gpu", workload) for path in row.get("values", [])
        }
        blocks_of = {operand.get("enabled_by", "validator") for operand in operands}
        assert blocks_of <= listed, f"{workload}: {sorted(blocks_of - listed)}"


@every_release
def test_the_list_is_that_of_the_pinned_versions(name: str) -> None:
    release = _releases.lookup(name)
    assert set(release["downloads"]["listed_for"]) == set(release["install_order"])
    assert _artifacts.artifacts(release)["warnings"] == []


@every_release
def test_images_are_references_and_stand_there_once(name: str) -> None:
    images = [row["image"] for row in rows(name)]
    assert len(images) == len(set(images))
    for row in rows(name):
        assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]+/[a-z0-9./_-]+:[\w.-]+(-<os>)?", row["image"]), row["image"]
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", row.get("digest", "sha256:" + "0" * 64)), row["image"]
        assert row.get("note", "A.").endswith("."), row["image"]
    moving = [image for image in images if image.endswith(":latest")]
    assert all("moving tag" in row["note"] for row in rows(name) if row["image"] in moving)


def test_the_coco_images_are_those_of_the_fact_table() -> None:
    fact, sample = facts.value(facts.COCO_OPERATOR, "deployment"), facts.value(facts.COCO_OPERATOR, "sample")
    listed = {row["image"] for row in rows("23.9") if row["part"] == "coco_operator"}
    assert listed == {*fact["containers"].values(), sample["payloadImage"], sample["hookImage"]}


def test_the_kata_manager_is_the_one_of_its_block_and_of_the_fact_table() -> None:
    release = _releases.lookup("23.9")
    manager, fact = release["kata_manager"], facts.value(facts.GPU_OPERATOR, "values.kata-manager")
    image = of_the_rows("23.9")["gpu_operator", "kataManager"]
    assert image == f"{manager['repository']}/{manager['image']}:{manager['version']}"
    assert image == f"{fact['repository']}/{fact['image']}:{fact['version']}"
    artifacts = _artifacts.artifacts(release)["guest_artifacts"]
    assert [entry["artifact"] for entry in artifacts] == [
        entry["artifacts"]["url"] for entry in fact["config"]["runtimeClasses"]
    ]


def test_the_images_of_26_7_are_those_of_the_fact_tables() -> None:
    listed = of_the_rows("26.7")
    operator = facts.value(facts.GPU_OPERATOR_26, "deployment.gpu-operator")["image"]
    assert listed["gpu_operator", "operator"] == listed["gpu_operator", "validator"] == operator
    assert operator.startswith(facts.value(facts.GPU_OPERATOR_26, "validator.image") + ":")
    nfd = facts.value(facts.GPU_OPERATOR_26, "chart.nfd")["appVersion"]
    assert listed["gpu_operator", "node-feature-discovery.image"].endswith(f":{nfd}")
    assert listed["kata_deploy", "image"] == facts.value(facts.KATA_DEPLOY, "daemonset")["image"]
    for path, value in facts.value(facts.GPU_OPERATOR_26, "values.sandbox").items():
        block, _dot, key = path.rpartition(".")
        if key == "version":
            assert listed["gpu_operator", block].endswith(f":{value}"), path
