# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection itself hands to upstream: releases by the versions that they pin, and values as the roles build them."""

from __future__ import annotations

from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts, _releases
from tests.lab import paths
from tests.lab.standins import facts

Release = dict[str, Any]
TOLERATION = {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
_PIN = {"gpu_operator": "chart_version", "kata_deploy": "chart_version", "coco_operator": "version"}


def pinning(part: str, version: str) -> list[Release]:
    """Releases that install this version of a part."""
    releases = _releases.load()
    found = [_releases.lookup(name) for name in _releases.installable(releases)]
    return [one for one in found if (one.get(part) or {}).get(_PIN[part]) == version]


def expected(part: str) -> dict[str, list[str]]:
    """Versions that releases install, with the names of these releases."""
    versions: dict[str, list[str]] = {}
    for name, release in _releases.load().items():
        if release["support"]["level"] == _releases.INSTALL and part in release:
            versions.setdefault(release[part][_PIN[part]], []).append(name)
    return versions


def table(part: str, version: str) -> str | None:
    """Fact table of a version, where there is one."""
    name = f"{part}_{version.replace('.', '_')}"
    return name if (facts.TABLES / f"{name}.yml").exists() else None


def gpu_operator_values(release: Release) -> dict[str, dict[str, Any]]:
    """Values of the role gpu_operator, by what the inventory says."""
    found = {
        "no input": _charts.gpu_operator_values(release, {}),
        "katagpu_default_workload": _charts.gpu_operator_values(release, {}, default_workload="vm-passthrough"),
        "vfio.host_owner_values": _charts.gpu_operator_values(release, release["vfio"]["host_owner_values"]),
        "katagpu_operand_update: on_delete": _charts.gpu_operator_values(release, {}, operand_update=_charts.ON_DELETE),
    }
    if "kata_manager" in release:
        options = {
            "runtime_classes" if key == "classes" else key: value for key, value in release["kata_manager"].items()
        }
        options |= {"image_pull_policy": "Always", "image_pull_secrets": [], "env": [], "resources": {}}
        found["gpu_operator_kata_manager"] = _charts.gpu_operator_values(release, {}, options)
    return found


def distributions() -> list[str]:
    """Choices of the role, from its argument spec."""
    spec = yaml.safe_load((paths.REPO / "roles/kata_deploy/meta/argument_specs.yml").read_text(encoding="utf-8"))
    return list(spec["argument_specs"]["main"]["options"]["kata_deploy_distribution"]["choices"])


def kata_deploy_values(release: Release) -> dict[str, dict[str, Any]]:
    """Values of the role kata_deploy, by what the inventory says."""
    selector = release["kata_deploy"]["node_selector"]

    def values(distribution: str, given: dict[str, Any]) -> dict[str, Any]:
        return _charts.kata_deploy_values(release, distribution, selector, [TOLERATION], given)

    found = {f"kata_deploy_distribution: {one}": values(one, {}) for one in distributions()}
    return {**found, "deploymentMode: job": values("k8s", {"deploymentMode": "job"})}
