# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kata-deploy 4.0.0 as a DaemonSet: installs at every start, undoes only when its DaemonSet is gone."""

from __future__ import annotations

import time

from ..behaviour import Behaviour, Context, Outcome, Pod, failed, register, running
from . import kata_stages

# After the label it looks six times, two seconds apart, before it says ready.
STABLE_SECONDS = 12.0


@register
class KataDeploy(Behaviour):
    container = "kube-kata"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        want = kata_stages.settings(ctx)
        if not want.shims:
            return failed("no shims for this architecture")
        problem = kata_stages.host_check(ctx, want)
        if problem:
            return failed(problem)
        kata_stages.artifacts(ctx, want)
        kata_stages.configure_runtime(ctx, want)
        ctx.memory.update(stage="restart", since=time.time())
        return running(ready=False)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if ctx.memory["stage"] == "restart" and kata_stages.runtime_is_back(ctx, ctx.memory["since"]):
            self._label(ctx)
        elif ctx.memory["stage"] == "label":
            if ctx.node_labels().get(kata_stages.LABEL) != "true":
                self._label(ctx)
            elif time.time() >= ctx.memory["stable_at"]:
                self._ready(ctx)
        return running(ready=ctx.memory["stage"] == "ready")

    def _label(self, ctx: Context) -> None:
        """A label that is there already is believed at once."""
        if ctx.memory["stage"] == "restart" and ctx.node_labels().get(kata_stages.LABEL) == "true":
            self._ready(ctx)
            return
        ctx.patch_node_labels({kata_stages.LABEL: "true"})
        ctx.memory.update(stage="label", stable_at=time.time() + STABLE_SECONDS)

    @staticmethod
    def _ready(ctx: Context) -> None:
        ctx.memory["stage"] = "ready"
        ctx.log("Kata Containers installation completed successfully")

    def stop(self, ctx: Context, pod: Pod) -> None:
        """SIGTERM. While the DaemonSet exists this is a restart, also where the node no longer fits its selector."""
        want = kata_stages.settings(ctx)
        path = f"/apis/apps/v1/namespaces/{pod['metadata']['namespace']}/daemonsets/{want.daemonset}"
        own = kata_stages.present(ctx, path)
        if own is not None and not own["metadata"].get("deletionTimestamp"):
            ctx.log(f"DaemonSet '{want.daemonset}' still exists, skipping all cleanup")
            return
        kata_stages.remove_runtime(ctx, want)
        kata_stages.remove_artifacts(ctx, want)
        others = [
            one["metadata"]["name"]
            for one in (kata_stages.present(ctx, "/apis/apps/v1/daemonsets") or {}).get("items", [])
            if "kata-deploy" in one["metadata"]["name"] and not one["metadata"].get("deletionTimestamp")
        ]
        if others:
            ctx.log(f"other kata-deploy DaemonSets still exist: {' '.join(others)}; label and runtime are left alone")
            return
        ctx.patch_node_labels({kata_stages.LABEL: None})
        ctx.restart_runtime(seconds=kata_stages.RESTART_SECONDS)
        ctx.log("Kata Containers cleanup completed successfully")
