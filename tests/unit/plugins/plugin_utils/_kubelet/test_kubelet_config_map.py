# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm's ConfigMap through an API that stores and merges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.filter.kubelet_needs import kubelet_needs
from ansible_collections.katagpu.cluster.plugins.module_utils._cluster.client import ApiError
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import config_map
from tests.unit.fake_api import FakeApi

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
WANTED = {"featureGates": {"KubeletPodResourcesGet": True}}
MERGED = HEAD + "featureGates:\n  KubeletPodResourcesGet: true\n"


def stored(text: str = HEAD, version: str = "1", **more: str) -> dict[str, Any]:
    return {"metadata": {"name": "kubelet-config", "resourceVersion": version}, "data": {"kubelet": text, **more}}


class Versioned(FakeApi):
    """Refuses a patch of a version that is no longer there, as the real one does."""

    def __init__(self, *meanwhile: dict[str, Any]) -> None:
        super().__init__({config_map.PATH: stored(other="kept")})
        self.meanwhile = list(meanwhile)

    def patch(self, path: str, body: Mapping[str, Any], content_type: str = "") -> dict[str, Any]:
        if self.meanwhile:
            self.objects[path] = self.meanwhile.pop(0)
        if body["metadata"]["resourceVersion"] != self.objects[path]["metadata"]["resourceVersion"]:
            raise ApiError(409, "the object has been modified", path)
        return super().patch(path, body, content_type)


def text(api: FakeApi) -> str:
    return str(api.objects[config_map.PATH]["data"]["kubelet"])


def test_it_is_merged_once_and_other_keys_stay() -> None:
    api = Versioned()
    before, edited = config_map.update(api, WANTED, check_mode=False)
    assert before == HEAD and edited and edited.text == MERGED == text(api)
    assert api.objects[config_map.PATH]["data"]["other"] == "kept"
    calls = len(api.calls)
    assert config_map.update(api, WANTED, check_mode=False)[1] is not None
    assert api.calls[calls:] == [("GET", config_map.PATH)]


def test_check_mode_shows_and_writes_nothing() -> None:
    api = Versioned()
    _before, edited = config_map.update(api, WANTED, check_mode=True)
    assert edited and edited.text == MERGED and text(api) == HEAD


def test_without_the_config_map_kubeadm_does_not_manage_the_cluster() -> None:
    assert config_map.update(FakeApi(), WANTED, check_mode=False) == (None, None)


def test_what_somebody_else_wrote_meanwhile_is_merged_too() -> None:
    api = Versioned(stored(HEAD + "maxPods: 9\n", version="2"))
    config_map.update(api, WANTED, check_mode=False)
    assert text(api) == HEAD + "maxPods: 9\n" + MERGED.removeprefix(HEAD)


def test_a_config_map_that_never_rests_is_given_up() -> None:
    api = Versioned(*(stored(version=str(number)) for number in range(2, 9)))
    with pytest.raises(KatagpuError, match="changed 5 times"):
        config_map.update(api, WANTED, check_mode=False)


def test_a_refusal_of_the_api_is_told() -> None:
    api = FakeApi()
    api.refuse[config_map.PATH] = 403
    with pytest.raises(ApiError, match="403"):
        config_map.update(api, WANTED, check_mode=False)
    with pytest.raises(KatagpuError, match="has no key kubelet"):
        config_map.update(FakeApi({config_map.PATH: {"metadata": {}, "data": {}}}), WANTED, check_mode=False)


def test_a_broken_config_map_is_refused() -> None:
    api = FakeApi({config_map.PATH: stored(MERGED + "featureGates: {}\n")})
    with pytest.raises(KatagpuError, match="line 5: the key featureGates is there already"):
        config_map.update(api, WANTED, check_mode=False)


def test_the_needs_of_all_hosts_that_kubeadm_configures() -> None:
    def host(needs: Any = None, **more: Any) -> dict[str, Any]:
        return {"katagpu_record": {"kubelet": {"kubeadm": needs} if needs else {}, **more}}

    hosts = {
        "a": host({"runtimeRequestTimeout": "20m"}),
        "b": host({"runtimeRequestTimeout": "30m", "featureGates": {"X": True}}),
        "c": host({"runtimeRequestTimeout": "20m", "featureGates": {"Y": True}}),
        "blocked": host({"featureGates": {"Z": True}}, blocked=True),
        "failed": host({"featureGates": {"Z": True}}, failed=True),
        "k3s": host(),
        "unread": {},
        "out": host({"featureGates": {"Z": True}}),
    }
    found = kubelet_needs(hosts, [name for name in hosts if name != "out"] + ["unknown"])
    assert found == {"runtimeRequestTimeout": "30m", "featureGates": {"X": True, "Y": True}}
    assert kubelet_needs(hosts, ["k3s", "unread"]) == {}
