# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node Feature Discovery: the worker's scan and the labels its master writes, in one."""

from __future__ import annotations

import time

from ..behaviour import Behaviour, Context, Outcome, Pod, register, running
from .sysfs import sysfs

PREFIX = "feature.node.kubernetes.io/"
# deviceClassWhitelist of the chart's values: network and display.
CLASSES = ("02", "0300", "0302")
PERIOD_SECONDS = 60


def pci_labels(functions: list[tuple[str, str]]) -> dict[str, str]:
    """Labels by vendor (deviceLabelFields: [vendor]) for (vendor, class) pairs."""
    vendors = {vendor for vendor, class_code in functions if class_code.startswith(CLASSES)}
    return {f"{PREFIX}pci-{vendor}.present": "true" for vendor in sorted(vendors)}


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
        for key in ctx.node_labels():
            if key.startswith(f"{PREFIX}pci-") and key not in labels:
                labels[key] = None
        ctx.patch_node_labels(labels)
        ctx.memory["scanned"] = time.time()
        ctx.log("labelled: " + ", ".join(sorted(key for key, value in labels.items() if value)))
