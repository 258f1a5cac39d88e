# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KubeletConfiguration that kubeadm writes to every node that joins or is upgraded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import Api, ApiError
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import document
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.document import Edited
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.meaning import (
    AT_LEAST,
    duration,
    leaves,
    plain,
    tree,
)

PATH = "/api/v1/namespaces/kube-system/configmaps/kubelet-config"
NAME = "ConfigMap kube-system/kubelet-config"
KEY = "kubelet"
_TRIES = 5


def update(api: Api, wanted: Mapping[str, Any], check_mode: bool) -> tuple[str | None, Edited | None]:
    """The text before and what came of it; nothing where kubeadm does not manage the cluster.

    The patch names the version that was read. Where somebody else was faster it is read and merged again.
    """
    wanted = plain(wanted)
    for _try in range(_TRIES):
        try:
            found = api.get(PATH)
        except ApiError as error:
            if error.status == 404:
                return None, None
            raise
        text = (found.get("data") or {}).get(KEY)
        if not isinstance(text, str):
            raise KatagpuError(f"{NAME} has no key {KEY}. Nothing was changed. Fix: look at it with kubectl.")
        edited = document.edit(text, wanted, f"{NAME}, key {KEY},")
        if edited.text == text or check_mode:
            return text, edited
        version = found["metadata"].get("resourceVersion")
        try:
            api.patch(PATH, {"metadata": {"resourceVersion": version}, "data": {KEY: edited.text}})
        except ApiError as error:
            if error.status != 409:
                raise
            continue
        return text, edited
    raise KatagpuError(f"{NAME} changed {_TRIES} times while it was merged. Nothing was changed. Fix: run again.")


def needs(records: Iterable[Any]) -> dict[str, Any]:
    """What the nodes that kubeadm configures need, all together. Wishes for a single host stay with that host."""
    found: dict[tuple[str, ...], Any] = {}
    for record in records:
        if not isinstance(record, Mapping) or record.get("blocked") or record.get("failed"):
            continue
        for path, value in leaves((record.get("kubelet") or {}).get("kubeadm") or {}):
            one, other = duration(found.get(path)), duration(value)
            if path in AT_LEAST and one is not None and other is not None and one >= other:
                continue
            found[path] = value
    return tree(list(found.items()))
