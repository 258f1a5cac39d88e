# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that has to be at hand, or in a mirror, to install a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases

_CHARTS = ("gpu_operator", "kata_deploy")


def artifacts(release: Mapping[str, Any]) -> dict[str, Any]:
    """Charts, manifests, images and guest artifacts of an installable release, from its data alone."""
    if "downloads" not in release:
        raise KatagpuError(
            f"the release {release['name']!r} is not installed by this collection, so there is no list of what it downloads."
            f" Installable: {', '.join(_releases.installable(_releases.load()))}."
        )
    return {
        "release": str(release["name"]),
        "title": release["title"],
        "architectures": list(release["architectures"]),
        "charts": [_chart(part, release[part]) for part in release["install_order"] if part in _CHARTS],
        "manifests": _manifests(release),
        "images": [*(_replaced(release, image) for image in release["downloads"]["images"]), _sample(release)],
        "guest_artifacts": _guest(release),
        "warnings": _warnings(release),
    }


def _replaced(release: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """What is pulled where the release takes an image from elsewhere."""
    name, colon, tag = str(row["image"]).rpartition(":")
    other = ((release.get("coco_operator") or {}).get("images") or {}).get(name)
    return {**row, "image": f"{other}{colon}{tag}", "instead_of": row["image"]} if other else dict(row)


def _chart(part: str, data: Mapping[str, Any]) -> dict[str, Any]:
    chart = {"part": part, "chart": data["chart_ref"], "version": data["chart_version"]}
    if data.get("chart_repo_url"):
        chart["repository"] = data["chart_repo_url"]
    return chart


def _manifests(release: Mapping[str, Any]) -> list[dict[str, Any]]:
    coco = release.get("coco_operator")
    if coco is None:
        return []
    return [
        {"part": "coco_operator", "kustomization": coco["operator_ref"], "variable": "coco_operator_ref"},
        {"part": "coco_operator", "kustomization": coco["runtime_ref"], "variable": "coco_operator_runtime_ref"},
    ]


def _sample(release: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "image": release["workload"]["image"],
        "part": "verify",
        "nodes": "kata",
        "note": "The sample workload. Another image is set in verify_workload_image.",
    }


def _guest(release: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Kernel, initrd and configuration of a class, which the Kata manager pulls like an image and unpacks on the node."""
    return [
        {"part": "gpu_operator", "artifact": entry["artifacts"]["url"], "runtime_class": entry["name"]}
        for entry in (release.get("kata_manager") or {}).get("classes") or []
    ]


def _warnings(release: Mapping[str, Any]) -> list[str]:
    """A release of one's own may pin another chart than the one whose images are listed."""
    found = []
    for part, listed in release["downloads"]["listed_for"].items():
        data = release.get(part) or {}
        pinned = data.get("chart_version") or data.get("version")
        if pinned != listed:
            found.append(
                f"The images of {part} are those of {listed}, and the release pins {pinned}. Compare them with the values of"
                " that version, and give your release a list of its own in downloads."
            )
    return found
