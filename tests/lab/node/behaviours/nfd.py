# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node Feature Discovery: the worker's scan and the labels its master writes, in one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..api import ApiError
from ..behaviour import Behaviour, Context, Outcome, Pod, register, running
from .sysfs import sysfs

PREFIX = "feature.node.kubernetes.io/"
# deviceClassWhitelist of the chart's values: network and display.
CLASSES = ("02", "0300", "0302")
PERIOD_SECONDS = 60
RULES = "/apis/nfd.k8s-sigs.io/v1alpha1/nodefeaturerules"
# Of the features of a processor only those that the rule of kata-deploy asks for; others match nothing here.
SECURITY = "cpu.security"
PARAMETERS = {
    "sev.snp.enabled": "sys/module/kvm_amd/parameters/sev_snp",
    "tdx.enabled": "sys/module/kvm_intel/parameters/tdx",
}
KEYS = {"sev.encrypted_state_ids": "sev_es", "tdx.total_keys": "tdx"}


def pci_labels(functions: list[tuple[str, str]]) -> dict[str, str]:
    """Labels by vendor (deviceLabelFields: [vendor]) for (vendor, class) pairs."""
    vendors = {vendor for vendor, class_code in functions if class_code.startswith(CLASSES)}
    return {f"{PREFIX}pci-{vendor}.present": "true" for vendor in sorted(vendors)}


def security(root: Path) -> dict[str, str]:
    """What the kernel says of confidential virtual machines, in the words of Node Feature Discovery."""
    found = {name: "true" for name, path in PARAMETERS.items() if _text(root / path)[:1] in ("Y", "1")}
    counted = dict(line.split(maxsplit=1) for line in _text(root / "sys/fs/cgroup/misc.capacity").splitlines() if line)
    return {**found, **{name: counted[kind] for name, kind in KEYS.items() if kind in counted}}


def by_rules(rules: list[dict[str, Any]], features: dict[str, str]) -> tuple[dict[str, str], dict[str, int]]:
    """Labels and amounts of extended resources of the rules that match."""
    labels: dict[str, str] = {}
    resources: dict[str, int] = {}
    for rule in (one for item in rules for one in item["spec"]["rules"]):
        wanted = rule.get("matchFeatures") or []
        if not wanted or any(one["feature"] != SECURITY for one in wanted):
            continue
        if all(name in features for one in wanted for name in one["matchExpressions"]):
            labels.update(rule.get("labels") or {})
            for resource, source in (rule.get("extendedResources") or {}).items():
                resources[resource] = int(features.get(source.removeprefix(f"@{SECURITY}."), 0))
    return labels, resources


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _os_release(ctx: Context) -> dict[str, str]:
    try:
        text = (ctx.root / "etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return {}
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    names = {"ID": "system-os_release.ID", "VERSION_ID": "system-os_release.VERSION_ID"}
    return {PREFIX + label: found[key].strip('"') for key, label in names.items() if key in found}


def _kernel(ctx: Context) -> dict[str, str]:
    try:
        text = (ctx.root / "proc/sys/kernel/osrelease").read_text(encoding="utf-8").strip()
    except OSError:
        return {}
    return {PREFIX + "kernel-version.full": text.replace("+", "_")} if text else {}


@register
class Worker(Behaviour):
    container = "worker"

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        labels = pod["metadata"].get("labels") or {}
        return container.get("name") == "worker" and labels.get("app.kubernetes.io/name") == "node-feature-discovery"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        self._label(ctx)
        return running()

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if time.time() - ctx.memory.get("scanned", 0.0) >= PERIOD_SECONDS:
            self._label(ctx)
        return running()

    def _label(self, ctx: Context) -> None:
        functions = [(one.vendor, one.class_code) for one in sysfs(ctx.root, ctx.simulated).functions()]
        labels: dict[str, str | None] = {**pci_labels(functions), **_os_release(ctx), **_kernel(ctx)}
        labels.update(self._by_rules(ctx))
        for key in ctx.node_labels():
            if key.startswith(f"{PREFIX}pci-") and key not in labels:
                labels[key] = None
        ctx.patch_node_labels(labels)
        ctx.memory["scanned"] = time.time()
        ctx.log("labelled: " + ", ".join(sorted(key for key, value in labels.items() if value)))

    def _by_rules(self, ctx: Context) -> dict[str, str | None]:
        """Labels and resources of rules that match no more are taken back."""
        try:
            rules = ctx.api.get(RULES).get("items", [])
        except ApiError as error:
            if error.status != 404:
                raise
            rules = []
        labels, resources = by_rules(rules, security(ctx.root))
        before: dict[str, list[str]] = ctx.memory.get("by_rules", {})
        for resource in before.get("resources", []):
            if resource not in resources:
                ctx.extended_resources.pop(resource, None)
        for resource, amount in resources.items():
            ctx.extended_resources[resource] = [str(number) for number in range(amount)]
        gone: dict[str, str | None] = {key: None for key in before.get("labels", []) if key not in labels}
        ctx.memory["by_rules"] = {"labels": list(labels), "resources": list(resources)}
        return {**gone, **labels}
