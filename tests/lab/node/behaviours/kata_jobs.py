# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kata-deploy 4.0.0 in job mode: the dispatcher that makes one Job per node, and the stages of these Jobs."""

from __future__ import annotations

import copy
import json
import re
import time
import zlib
from typing import Any

from ..api import ApiError
from ..behaviour import Behaviour, Context, Outcome, Pod, completed, failed, register, running
from . import kata_stages
from .images import labels_of
from .kata_deploy import STABLE_SECONDS

OWNER_LABEL = "kata-deploy-job-dispatcher/owner"
STAGE_LABEL = "kata-deploy/stage"


def job_name(prefix: str, node: str) -> str:
    """prefix-node, cut to the length of a label with a hash of the node's name."""
    base = f"{prefix}-{re.sub(r'[^a-z0-9-]', '-', node.lower())}"
    if len(base) <= 63:
        return base
    return f"{base[:54].rstrip('-')}-{zlib.crc32(node.encode()):08x}"


def option(ctx: Context, name: str) -> str:
    """Value of --name=value of the container's command."""
    words = [str(word) for word in ctx.container.get("command") or []]
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{name}=")), "")


def config_map(pod: Pod) -> str:
    """The ConfigMap behind the volume with the templates."""
    volumes = pod["spec"].get("volumes") or []
    return next((str(one["configMap"]["name"]) for one in volumes if one.get("name") == "job-templates"), "")


def outcome_of(job: dict[str, Any]) -> str:
    """succeeded, failed or nothing yet."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return "succeeded" if condition["type"] == "Complete" else "failed"
    return ""


@register
class Dispatcher(Behaviour):
    """Looks nodes up when it runs; nodes that come later are installed by the next helm upgrade only."""

    container = "dispatcher"

    def matches(self, pod: Pod, container: dict[str, Any]) -> bool:
        return container.get("name") == self.container and "kata-deploy/dispatcher" in labels_of(pod)

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        namespace = pod["metadata"]["namespace"]
        found = ctx.api.get(f"/api/v1/namespaces/{namespace}/configmaps/{config_map(pod)}")
        template = json.loads(found["data"][option(ctx, "job-template").rpartition("/")[2]])
        nodes = [name for name in option(ctx, "nodes").split(",") if name]
        if not nodes:
            selector = option(ctx, "node-selector")
            query = {"labelSelector": selector} if selector else {}
            nodes = [one["metadata"]["name"] for one in ctx.api.get("/api/v1/nodes", **query)["items"]]
        if not nodes:
            ctx.log("no nodes selected, nothing to do")
        ctx.memory.update(queue=nodes, flying={}, failed=[], template=template)
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        jobs = f"/apis/batch/v1/namespaces/{pod['metadata']['namespace']}/jobs"
        queue, flying, lost = ctx.memory["queue"], ctx.memory["flying"], ctx.memory["failed"]
        while queue and len(flying) < int(option(ctx, "parallelism") or 1):
            node = queue.pop(0)
            name = job_name(option(ctx, "name-prefix"), node)
            if self._create(ctx, jobs, name, node):
                flying[name] = node
            else:
                lost.append(node)
        for name, node in list(flying.items()):
            state = outcome_of(kata_stages.present(ctx, f"{jobs}/{name}") or {})
            if state:
                ctx.log(f"node {node}: job {name} {state}")
                del flying[name]
                lost += [node] if state == "failed" else []
        if queue or flying:
            return running()
        if lost:
            return failed(f"{len(lost)} node(s) failed: {', '.join(sorted(lost))}")
        return completed("all nodes completed successfully")

    @staticmethod
    def _create(ctx: Context, jobs: str, name: str, node: str) -> bool:
        """A Job of that name which is ours is taken as it is, also a finished one."""
        prefix = option(ctx, "name-prefix")
        body = copy.deepcopy(ctx.memory["template"])
        body["metadata"]["name"] = name
        body["metadata"].setdefault("labels", {})[OWNER_LABEL] = prefix
        body["spec"]["template"]["spec"]["nodeName"] = node
        owner = kata_stages.present(ctx, f"{jobs}/{option(ctx, 'owner-job-name')}")
        if owner:
            reference = {"apiVersion": "batch/v1", "kind": "Job", "name": owner["metadata"]["name"]}
            body["metadata"]["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"]}]
        try:
            ctx.api.create(jobs, body)
        except ApiError as error:
            if error.status != 409:
                raise
            there = kata_stages.present(ctx, f"{jobs}/{name}") or {"metadata": {}}
            return (there["metadata"].get("labels") or {}).get(OWNER_LABEL) == prefix
        ctx.log(f"created job {name} (node {node})")
        return True


class _Stage(Behaviour):
    """One container of a node's Job."""

    def matches(self, pod: Pod, container: dict[str, Any]) -> bool:
        return container.get("name") == self.container and STAGE_LABEL in labels_of(pod)


@register
class HostCheck(_Stage):
    container = "host-check"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        problem = kata_stages.host_check(ctx, kata_stages.settings(ctx))
        return failed(problem) if problem else completed("node prerequisites satisfied")


@register
class Artifacts(_Stage):
    container = "artifacts"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        kata_stages.artifacts(ctx, kata_stages.settings(ctx))
        return completed("artifacts installed")


@register
class Cri(_Stage):
    container = "cri"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        kata_stages.configure_runtime(ctx, kata_stages.settings(ctx))
        ctx.memory["since"] = time.time()
        return running()

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        back = kata_stages.runtime_is_back(ctx, ctx.memory["since"])
        return completed("Runtime restart completed successfully") if back else running()


@register
class Label(_Stage):
    container = "label"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        if ctx.node_labels().get(kata_stages.LABEL) == "true":
            return completed("node already labeled, skipping")
        ctx.patch_node_labels({kata_stages.LABEL: "true"})
        ctx.memory["stable_at"] = time.time() + STABLE_SECONDS
        return running()

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if ctx.node_labels().get(kata_stages.LABEL) != "true":
            return self.start(ctx, pod)
        return completed("label confirmed stable") if time.time() >= ctx.memory["stable_at"] else running()


@register
class Unlabel(_Stage):
    container = "unlabel"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        ctx.patch_node_labels({kata_stages.LABEL: None})
        return completed("label removed")


@register
class RevertCri(_Stage):
    container = "revert-cri"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        want = kata_stages.settings(ctx)
        if not kata_stages.runtime_configured(ctx, want):
            return completed("CRI drop-ins already absent, skipping")
        kata_stages.remove_runtime(ctx, want)
        ctx.restart_runtime(seconds=kata_stages.RESTART_SECONDS)
        ctx.memory["since"] = time.time()
        return running()

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        back = kata_stages.runtime_is_back(ctx, ctx.memory["since"])
        return completed("runtime restarted") if back else running()


@register
class RemoveArtifacts(_Stage):
    container = "remove-artifacts"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        kata_stages.remove_artifacts(ctx, kata_stages.settings(ctx))
        return completed("artifacts removed")
