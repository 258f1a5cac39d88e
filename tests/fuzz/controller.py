# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads, on the controller, the texts of nodes and of the API."""

from __future__ import annotations

import base64
import gzip
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._cluster import labels
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _helm, _maintenance
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import cdi
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.desired import Desired
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.node import assess_containerd
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import HostView
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import arguments, document, meaning

WANTED: dict[str, Any] = {"runtimeRequestTimeout": "20m", "featureGates": {"KubeletPodResourcesGet": True}}


def kubelet_configuration(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        edited = document.edit(text, WANTED, "f")
    except KatagpuError:
        return
    read = document.load_configuration(edited.text, "f")
    for path, value in meaning.leaves(WANTED):
        assert meaning.fits(path, meaning.at(read, path), value)
    assert document.edit(edited.text, WANTED, "f").method == document.UNCHANGED


def rancher_arguments(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        arguments.effective([("f", text)], {"unit": text.split("\n")})
    except KatagpuError:
        pass
    arguments.settings({"feature-gates": text.split("\n"), "runtime-request-timeout": [text]}, [*WANTED])


def cdi_specification(data: bytes) -> None:
    specs = cdi.parse({"/etc/cdi/a.yaml": data.decode("utf-8", "replace")})
    assert len(specs) == 1
    cdi.problems(specs, "nvidia.com/pgpu", {"0000:65:00.0": "12"}, ["12"])


def containerd_configuration(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    facts = {"containerd": {"configs": {"/etc/containerd/config.toml": text}}}
    answer = assess_containerd(HostView(facts, Desired(), {}, "gpu-03"))
    assert all(finding.fact for finding in answer.findings)


def annotations(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    node = {"metadata": {"annotations": {_maintenance.ANNOTATION: text, labels.OWNED_ANNOTATION: text}}}
    mark = _maintenance.begun_maintenance(node, "boot", roll="kata-deploy")
    assert mark["boot_id"] == "boot"
    assert all(isinstance(name, str) for name in _maintenance.begun_rolls(node["metadata"]["annotations"]))
    assert all(isinstance(name, str) for name in labels.owned(node["metadata"]))


def helm_release(data: bytes) -> None:
    """Half of the inputs as they are, and all as what Helm would have packed."""
    texts = [base64.b64encode(data), base64.b64encode(base64.b64encode(data))]
    texts.append(base64.b64encode(base64.b64encode(gzip.compress(data, 1))))
    for text in texts:
        found = _helm.decode({"data": {"release": text.decode()}})
        assert found is None or isinstance(found["values"], dict)
    _helm.decode({"data": {"release": data.decode("utf-8", "replace")}})
