# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stack releases as data: reading, overriding, checking and looking up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

DATA = Path(__file__).parent / "_release_data" / "releases.yml"

INSTALL = "install"
LEVELS = (INSTALL, "planned", "recognised_only")

# Required shape: a type, a nested mapping, a list of one shape, or a tuple of allowed words. A key that ends in "?" may
# be absent. Keys that are not named are free, so that a release can carry more facts than are judged.
_RANGE: dict[str, Any] = {"min": str, "max": str}
_OPERAND: dict[str, Any] = {
    "daemonset": str,
    "enabled_by?": str,
    "deploy_label": str,
    "pod_selector": dict,
    "updated_by_operator?": bool,
}
_ALWAYS: dict[str, Any] = {
    "title": str,
    "support": {"level": LEVELS, "note?": str, "consent?": bool},
    "kubernetes": _RANGE,
    "containerd": _RANGE,
    "fingerprint": {"gpu_operator_charts": [str]},
    "kubelet?": {
        "runtime_request_timeout?": str,
        "feature_gates?": [{"name": str, "from?": str, "below?": str, "confidential?": bool}],
    },
}
# What a part of the stack writes into the API, in the way of kubectl: deployments.apps. Rights are made of it.
_CREATES: dict[str, Any] = {
    "kinds": [str],
    "cluster_kinds": [str],
    "roles": [str],
    "cluster_roles": [str],
    "cluster_role_bindings": [str],
}
_INSTALLABLE: dict[str, Any] = {
    "architectures": [str],
    "install_order": [("gpu_operator", "coco_operator", "kata_deploy")],
    "gpu_operator": {
        "name": str,
        "namespace": str,
        "chart_ref": str,
        "chart_repo_url?": str,
        "chart_version": str,
        "values": dict,
        "cluster_policy": str,
        "deployment": str,
        "tolerations": [dict],
        "crds": [str],
        "enums": dict,
        "creates": _CREATES,
        # Whether an operand of Kata nodes restarts containerd when it starts.
        "restarts_runtime?": bool,
    },
    "kata_manager?": {
        "artifacts_dir": str,
        "classes": [{"name": str, "node_selector": dict, "artifacts": {"url": str, "pull_secret": str}}],
    },
    "coco_operator?": {
        "namespace": str,
        "version": str,
        "operator_ref": str,
        "runtime_ref": str,
        "deployment": str,
        "containers": int,
        "images": dict,
        "service": str,
        "creates": _CREATES,
        "crd": str,
        "api_version": str,
        "ccruntime": str,
        "finalizer": str,
        "node_selector": dict,
        "daemonsets": [str],
        "done_label": dict,
        "runtime_classes": [str],
        "containerd_version": str,
    },
    "kata_deploy?": {
        "name": str,
        "namespace": str,
        "chart_ref": str,
        "chart_repo_url?": str,
        "chart_version": str,
        "values": dict,
        "node_selector": dict,
        "job_node_selectors?": [str],
        "creates": _CREATES,
        "daemonset": str,
        "done_label": dict,
        "runtime_classes": [str],
    },
    "runtime_classes": {"gpu": str, "operator": [str], "container": str},
    "labels": {
        "kata?": dict,
        "workload": {"key": str, "kata": str, "container": str, "allowed": [str]},
        "gpu_present": str,
        "nfd_gpu": [str],
        "operands_off": str,
    },
    "operands": {"kata": [_OPERAND], "container": [_OPERAND]},
    "vfio": {
        "owner_default": ("operator", "host"),
        "owners": [str],
        "driver": str,
        "accepted_drivers": [str],
        # What the device plugin offers, of those that the validator accepts.
        "plugin_drivers": [str],
        # Values of the chart with which the operator binds nothing.
        "host_owner_values?": dict,
        "passes": ("group", "cdev"),
        "binds_classes": [str],
        "binds_members": ("none", "sole_consumer", "first_consumer"),
        "at_stop": ("unbind", "nothing"),
        "modules": [str],
        "blacklist": [str],
        # Where the CC manager goes by device id, and ends on any other GPU; not where the release writes its mode by label.
        "cc_devices?": [str],
    },
    "guest": {"overhead_mib": int},
    "resource": {
        "prefix": str,
        "naming": ("model", "alias"),
        "alias?": str,
        "container": str,
        "cdi_kind": str,
        "cdi_file": str,
    },
    "workload": {
        "name": str,
        "image": str,
        "annotations": dict,
        "memory_annotation?": str,
        "memory_mib": int,
        "expect_log": str,
        "max_gpus": int,
    },
    "readiness": {"cluster_policy": {"state": str, "reason": str}, "kata_labels?": dict},
    "confidential?": {
        "validated": bool,
        "note": str,
        "kernel": str,
        "cpus": [{"name": str, "vendor": ("amd", "intel"), "family": int, "models": [int]}],
        "gpus": {"capable": [str], "incapable": [str], "hopper": str},
        "modules": [str],
        "labels": dict,
        "ready": dict,
        "kata_deploy_values": dict,
        "snapshotter": str,
        "variants": dict,
    },
    "artifacts?": {"dir": str, "classes": [str], "patterns": [str]},
    # What nodes pull; charts, manifests and guest artifacts are named by the parts above.
    "downloads": {
        "listed_for": dict,
        "images": [
            {
                "image": str,
                "digest?": str,
                "part": ("gpu_operator", "coco_operator", "kata_deploy"),
                "values?": [str],
                "nodes": ("all", "gpu", "kata", "container"),
                "note?": str,
            }
        ],
    },
    "uninstall": [str],
}

_VARIANT: dict[str, Any] = {
    "title": str,
    "cpu": ("amd", "intel"),
    "runtime_class": str,
    "shim": str,
    "node_labels": dict,
    "key_resource": str,
    "key_controller": str,
}

_WORDS: dict[Any, str] = {str: "text", int: "a number", bool: "true or false"}


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; everything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def problems(value: Any, shape: Any, where: str) -> list[str]:
    """What is wrong with C(value), each with the path of the key."""
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            return [f"{where} must be a mapping, it is {value!r}"]
        found = []
        for key, inner in shape.items():
            name = key.rstrip("?")
            if name in value:
                found += problems(value[name], inner, f"{where}.{name}")
            elif not key.endswith("?"):
                found.append(f"{where}.{name} is missing")
        return found
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} must be a list, it is {value!r}"]
        return [
            problem for index, item in enumerate(value) for problem in problems(item, shape[0], f"{where}[{index}]")
        ]
    if isinstance(shape, tuple):
        return [] if value in shape else [f"{where} must be one of {', '.join(shape)}, it is {value!r}"]
    if shape is dict:
        return [] if isinstance(value, Mapping) else [f"{where} must be a mapping, it is {value!r}"]
    if not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
        return [f"{where} must be {_WORDS[shape]}, it is {value!r}"]
    return []


def validate(name: str, entry: Any) -> list[str]:
    found = problems(entry, _ALWAYS, name)
    if found or entry["support"]["level"] != INSTALL:
        return found
    return problems(entry, _INSTALLABLE, name) or _contradictions(name, entry)


def _contradictions(name: str, entry: Mapping[str, Any]) -> list[str]:
    found = [
        f"{name}.install_order names {part}, and there is no {name}.{part}"
        for part in entry["install_order"]
        if part not in entry
    ]
    version, prefixes = entry["gpu_operator"]["chart_version"], entry["fingerprint"]["gpu_operator_charts"]
    if not any(f"v{version.lstrip('v')}".startswith(prefix) for prefix in prefixes):
        found.append(
            f"{name}.gpu_operator.chart_version is {version}, which no prefix of {name}.fingerprint.gpu_operator_charts fits"
            f" ({', '.join(prefixes)}); once installed, the release would not recognise itself"
        )
    for variant, data in ((entry.get("confidential") or {}).get("variants") or {}).items():
        found += problems(data, _VARIANT, f"{name}.confidential.variants.{variant}")
    if "confidential" in entry and "kata_deploy" not in entry:
        found.append(f"{name}.confidential needs {name}.kata_deploy, which makes its RuntimeClasses")
    return found


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return data


def default_name() -> str:
    return str(_shipped()["default"])


def load(overrides: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """All releases, those of the user merged in. A new one may start from another by C(based_on)."""
    releases = dict(_resolved())
    for raw_name, change in (overrides or {}).items():
        name = str(raw_name)
        if not isinstance(change, Mapping):
            raise KatagpuError(f"katagpu_releases: the entry {name!r} must be a mapping, it is {change!r}.")
        base_name = str(change.get("based_on", name))
        if base_name not in releases and "based_on" in change:
            raise KatagpuError(
                f"katagpu_releases: {name!r} is based on {base_name!r}, which is unknown. Known: {', '.join(releases)}."
            )
        entry = merge(releases.get(base_name, {}), {key: value for key, value in change.items() if key != "based_on"})
        found = validate(name, entry)
        if found:
            raise KatagpuError(f"katagpu_releases: the release {name!r} cannot be used: {'; '.join(found)}.")
        releases[name] = entry
    return releases


@lru_cache(maxsize=1)
def _resolved() -> dict[str, dict[str, Any]]:
    """What is shipped, with every entry written out. A base does not start from another."""
    shipped = _shipped()["releases"]
    return {
        name: merge(
            shipped.get(entry.get("based_on"), {}), {key: value for key, value in entry.items() if key != "based_on"}
        )
        for name, entry in shipped.items()
    }


def lookup(name: Any, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One release with its name. Unknown names are refused with the names that exist."""
    releases = load(overrides)
    key = str(name) if name not in (None, "") else default_name()
    if key not in releases:
        raise KatagpuError(
            f"The release {key!r} is unknown. Installable: {', '.join(installable(releases))}. "
            f"Known: {', '.join(releases)}. Set katagpu_release (a text, in quotes) or describe it in katagpu_releases."
        )
    return {"name": key, **releases[key]}


def installable(releases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, entry in releases.items() if entry["support"]["level"] == INSTALL]


def refusal(release: Mapping[str, Any], releases: Mapping[str, Mapping[str, Any]], consent: str | None = None) -> str:
    """Why this release cannot be installed, or nothing. C(consent) is the release that the user has agreed to."""
    support, name = release["support"], release["name"]
    note = f" ({support['note'].rstrip('.')})" if support.get("note") else ""
    if support["level"] == INSTALL:
        if not support.get("consent") or consent == name:
            return ""
        return f"The release {name} is installed only with consent{note}. If you mean it, set katagpu_release_consent: '{name}'."
    word = (
        "is recognised, but not installed"
        if support["level"] == "recognised_only"
        else "is planned, not installable yet"
    )
    return (
        f"The release {name} {word} by this version of the collection{note}. "
        f"Supported today: {', '.join(installable(releases))}."
    )
