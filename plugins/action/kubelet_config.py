# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import KubernetesApi
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _secrets
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import config_map, decide, document, meaning

ARGUMENTS: dict[str, Any] = {
    "config": {"type": "dict", "required": True},
    "target": {"type": "str", "default": "host", "choices": ["host", "kubeadm"]},
    "root": {"type": "path", "default": "/"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The host hands over text and takes text; what it means is decided here, where a YAML parser is."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        wrong = meaning.problems(arguments["config"])
        if wrong:
            return {**result, "failed": True, "msg": f"config cannot be merged: {'; '.join(wrong)}."}
        try:
            if arguments["target"] == "kubeadm":
                return {**result, **self._kubeadm(arguments)}
            return {**result, **self._host(arguments, variables)}
        except KatagpuError as error:
            return {**result, "failed": True, "msg": str(error)}

    def _kubeadm(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        api = KubernetesApi(arguments["kubeconfig"], arguments["context"])
        before, edited = config_map.update(api, arguments["config"], bool(self._task.check_mode))
        result: dict[str, Any] = {
            "changed": bool(edited and edited.text != before),
            "distribution": decide.KUBEADM if edited else decide.NONE,
            "kubeadm": edited is not None,
            "path": config_map.NAME if edited else "",
            "before": _digest(before),
            "after": _digest(edited.text if edited else None),
            "changes": [change.as_dict() for change in edited.changes] if edited else [],
            "method": edited.method if edited else document.UNCHANGED,
            "restart_required": False,
            "unit": "",
            "backup_file": "",
        }
        return {**result, **self._diff(config_map.NAME, before or "", edited.text if edited else "")}

    def _host(self, arguments: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        module = "katagpu.cluster.kubelet_file"
        given = {"root": arguments["root"]}
        read: dict[str, Any] = self._execute_module(module_name=module, module_args=given, task_vars=variables)
        if read.get("failed") or "kubelet" not in read:
            return {**read, "failed": True}
        decision = decide.decide(read["kubelet"], arguments["config"])
        refusal = refusal_of(decision)
        if refusal:
            raise KatagpuError(refusal)
        write = decision.write
        result: dict[str, Any] = {
            "changed": write is not None,
            "distribution": decision.distribution,
            "kubeadm": decision.kubeadm,
            "path": decision.path,
            "before": decision.digest,
            "after": _digest(write.text) if write else decision.digest,
            "changes": [change.as_dict() for change in decision.changes],
            "method": write.method if write else document.UNCHANGED,
            "restart_required": decision.restart_required,
            "unit": decision.unit,
            "backup_file": "",
        }
        if write is None:
            return result
        result.update(self._diff(write.path, write.before, write.text))
        if self._task.check_mode:
            return result
        options = {"path": write.path, "content": write.text, "sha256": write.sha256, "mode": write.mode}
        given = {**given, **options, "backup": write.backup}
        done = self._execute_module(module_name=module, module_args=given, task_vars=variables)
        if done.get("failed") or "sha256" not in done:
            return {**done, "failed": True}
        return {**result, "backup_file": done.get("backup_file", "")}

    def _diff(self, name: str, before: str, after: str) -> dict[str, Any]:
        if not self._task.diff or before == after:
            return {}
        secrets = document.secrets(before) | document.secrets(after)
        shown = {"before": _secrets.without(before, secrets), "after": _secrets.without(after, secrets)}
        return {"diff": [{"before_header": name, "after_header": name, **shown}]}


def refusal_of(decision: decide.Decision) -> str:
    """Why nothing can be written here, or nothing."""
    if not decision.supported:
        return (
            f"This host runs {decision.distribution}, whose kubelet is not configured by this collection. "
            "Nothing was changed. Fix: set the values by the means of that distribution."
        )
    if decision.distribution == decide.NONE:
        return (
            "No configuration of a kubelet was found on this host. Nothing was changed. "
            "Fix: join the host to the cluster first."
        )
    return " ".join(conflict_texts(decision.conflicts))


def conflict_texts(conflicts: Sequence[decide.Conflict]) -> list[str]:
    return [
        f"{'.'.join(one.path)} is {one.current!r} in {one.source}, which has the last word. Nothing was changed. "
        "Fix: change it there."
        for one in conflicts
    ]


def _digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode("utf-8")).hexdigest()
