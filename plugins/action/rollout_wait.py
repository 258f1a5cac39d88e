# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import waiting
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import Api, KubernetesApi
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.diagnosis import explain
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.progress import Progress
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

ARGUMENTS: dict[str, Any] = {
    "objects": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "api_version": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "until": {"type": "dict", "default": {}},
        },
    },
    "timeout": {"type": "int", "default": 600},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller: only there can it print while it waits."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        objects: list[dict[str, Any]] = arguments["objects"]
        found = waiting.problems(objects)
        if found:
            return {**result, "failed": True, "msg": "; ".join(found) + "."}
        check_mode = bool(self._task.check_mode)
        if check_mode or not objects:
            return {**result, "waited": [], "seconds": 0.0, "requests": 0, "skipped_wait": check_mode}
        wanted = waiting.targets(objects)
        try:
            # Each kind and namespace is followed on a connection of its own.
            api = KubernetesApi(arguments["kubeconfig"], arguments["context"], len(wanted) + 4)
            return {**result, **wait(api, wanted, arguments["timeout"])}
        except KatagpuError as error:
            return {**result, "failed": True, "msg": str(error)}


def wait(api: Api, wanted: list[waiting.Target], timeout: int) -> dict[str, Any]:
    """Everything but the credentials; C(api) may be anything that answers like one."""
    progress = Progress(timeout)

    def tell(view: waiting.View) -> None:
        for line in progress.lines(view):
            display.display(line)

    started = time.monotonic()
    current = waiting.Wait(api, wanted)
    outcomes = current.run(float(timeout), tell)
    result: dict[str, Any] = {
        "skipped_wait": False,
        "waited": [_entry(outcome) for outcome in outcomes if outcome.ready],
        "seconds": round(time.monotonic() - started, 1),
    }
    missing = [outcome for outcome in outcomes if not outcome.ready]
    if not missing:
        return {**result, "requests": api.requests}
    objects = current.objects()
    lines = []
    unsatisfied = []
    for outcome in missing:
        item = outcome.target
        details = explain(api, item.kind, item.namespace, item.name, objects.get(waiting.target_key(item)))
        unsatisfied.append({**_entry(outcome), "details": details})
        lines.append(f"- {item.label()}: {outcome.reason}" + "".join(f"\n    {detail}" for detail in details))
    lines += [f"- the API: {error}" for error in current.errors()]
    given_up = any(outcome.hopeless for outcome in missing)
    head = "Waiting is of no use" if given_up else f"Not ready after {timeout} seconds"
    return {
        **result,
        "failed": True,
        "msg": f"{head}: {len(missing)} of {len(wanted)} objects.\n" + "\n".join(lines),
        "unsatisfied": unsatisfied,
        "requests": api.requests,
    }


def _entry(outcome: waiting.Outcome) -> dict[str, Any]:
    item = outcome.target
    return {
        "kind": item.kind,
        "name": item.name,
        "namespace": item.namespace,
        "seconds": round(outcome.seconds, 1),
        "state": outcome.reason,
    }
