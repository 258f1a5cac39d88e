# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm releases as their Secrets tell, and what a wanted release needs."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _secrets

INSTALL = "install"
UPGRADE = "upgrade"
SAME = "same"
PENDING = "pending"
FOREIGN_NAME = "foreign_name"

SELECTOR = "owner=helm"

# The role that manages a chart.
_ROLES = {"gpu-operator": "gpu_operator", "kata-deploy": "kata_deploy"}


def decode(secret: Mapping[str, Any]) -> dict[str, Any] | None:
    """One revision, or nothing where the Secret is not one of Helm's."""
    text = (secret.get("data") or {}).get("release")
    if not text:
        return None
    try:
        data = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(text))))
        metadata = (data.get("chart") or {}).get("metadata") or {}
        return {
            "name": str(data["name"]),
            "namespace": str(data.get("namespace") or (secret.get("metadata") or {}).get("namespace") or ""),
            "revision": int(data.get("version") or 0),
            "status": str((data.get("info") or {}).get("status", "unknown")),
            "updated": str((data.get("info") or {}).get("last_deployed", "")),
            "chart": str(metadata.get("name", "")),
            "version": str(metadata.get("version", "")),
            "values": dict(data.get("config") or {}),
        }
    except (
        binascii.Error,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        zlib.error,
    ):
        return None


def latest(secrets: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest revision of every release."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for secret in secrets:
        release = decode(secret)
        if release is None:
            continue
        key = (release["namespace"], release["name"])
        if key not in newest or newest[key]["revision"] < release["revision"]:
            newest[key] = release
    return [newest[key] for key in sorted(newest)]


def unfinished(status: str) -> bool:
    return status.startswith("pending-") or status == "uninstalling"


def way_back(namespace: str, name: str, revision: int, status: str) -> str:
    """The command that ends what was interrupted. A first install has nothing to roll back to."""
    if revision > 1 and status != "uninstalling":
        return f"helm rollback {name} -n {namespace}"
    return f"helm uninstall {name} -n {namespace}"


def verdict(
    wanted: Mapping[str, Any], releases: Iterable[Mapping[str, Any]], adopted: Iterable[str] = ()
) -> dict[str, Any]:
    """What C(kubernetes.core.helm) would have to do."""
    name, namespace = str(wanted.get("name", "")), str(wanted.get("namespace", ""))
    chart = str(wanted.get("chart") or "gpu-operator")
    found = list(releases)
    ours = next((item for item in found if (item["namespace"], item["name"]) == (namespace, name)), None)
    answer: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "chart": chart,
        "installed": None,
        "paths": [],
        "dropped": [],
        "fix": "",
        "adopted": f"{namespace}/{name}" in adopted,
        "values_variable": f"{_ROLES[chart]}_values",
        "node_selector": dict((wanted.get("values") or {}).get("nodeSelector") or {}),
        "on_delete": ((wanted.get("values") or {}).get("daemonsets") or {}).get("updateStrategy") == "OnDelete",
        "disabled": sorted(key for key in wanted.get("values") or {} if not _enabled(wanted["values"], key)),
        "brings_nfd": chart == "gpu-operator" and _enabled(wanted.get("values") or {}, "nfd"),
    }
    if ours is None:
        other = next((item for item in found if item["chart"] == chart), None)
        if other is None:
            return {**answer, "verdict": INSTALL}
        return {
            **answer,
            "verdict": FOREIGN_NAME,
            "installed": _shown(other),
            "fix": f"the chart {chart} is installed as {other['namespace']}/{other['name']}: set {_ROLES[chart]}_name"
            f" and {_ROLES[chart]}_namespace to that, or uninstall it.",
        }
    answer["installed"] = _shown(ours)
    if unfinished(ours["status"]):
        back = way_back(namespace, name, ours["revision"], ours["status"])
        return {
            **answer,
            "verdict": PENDING,
            "fix": f"Helm was interrupted (revision {ours['revision']} is {ours['status']}): wait if it is still at work,"
            f" else {back}, then run again.",
        }
    paths = value_differences(wanted.get("values") or {}, ours["values"])
    answer["dropped"] = dropped_values(wanted.get("values") or {}, ours["values"])
    version = str(wanted.get("chart_version") or "")
    if version and version.lstrip("v") != ours["version"].lstrip("v"):
        paths.insert(0, "chart version")
    if ours["status"] != "deployed":
        # helm upgrade --install finishes what failed, whether or not anything else differs.
        paths.insert(0, f"status {ours['status']}")
    return {**answer, "verdict": UPGRADE if paths else SAME, "paths": paths}


def value_differences(wanted: Any, live: Any, path: str = "") -> list[str]:
    """Both ways: a value that is no longer wanted is a difference too."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        found = []
        for key in sorted({*map(str, wanted), *map(str, live)}):
            inner = f"{path}.{key}" if path else key
            found += value_differences(wanted.get(key), live.get(key), inner)
        return found
    if wanted == live or (wanted in (None, {}) and live in (None, {})):
        return []
    return [path]


def dropped_values(wanted: Any, live: Any, path: str = "") -> list[str]:
    """What is set now and not named in what is wanted."""
    if not isinstance(wanted, Mapping) or not isinstance(live, Mapping):
        return []
    found = []
    for key in sorted(map(str, live)):
        inner = f"{path}.{key}" if path else key
        found += dropped_values(wanted[key], live[key], inner) if key in wanted else [inner]
    return found


def _enabled(values: Mapping[str, Any], block: str) -> bool:
    found = values.get(block)
    return not isinstance(found, Mapping) or found.get("enabled") is not False


def _shown(release: Mapping[str, Any]) -> dict[str, Any]:
    """Values may hold secrets, so they stay out of results."""
    return {key: value for key, value in release.items() if key != "values"}


def error_text(result: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> str:
    """What Helm said in a result that is not to be shown, without what the user has set."""
    said = " ".join(str(result.get("stderr") or result.get("msg") or "it gave no reason").split())
    return f"Helm failed: {_secrets.without(said, _secrets.texts(values or {}))}"
