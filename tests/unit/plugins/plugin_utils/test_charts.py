# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _charts as charts


class TestKataManager:
    def test_nothing_given_leaves_the_chart_alone(self) -> None:
        assert charts.kata_manager_values({}) == {}

    def test_the_whole_block(self) -> None:
        assert charts.kata_manager_values(
            {
                "enabled": True,
                "artifacts_dir": "/opt/artifacts",
                "runtime_classes": [
                    {"name": "one", "artifacts": {"url": "registry.example.com/a:1", "pull_secret": "s"}},
                    {"name": "two", "node_selector": {"cc": "true"}, "artifacts": {"url": "registry.example.com/b:1"}},
                ],
                "repository": "registry.example.com",
                "image": "manager",
                "version": "v1",
                "image_pull_policy": "Always",
                "image_pull_secrets": ["s"],
                "env": [{"name": "A", "value": "b"}],
                "resources": {"limits": {"cpu": "1"}},
            }
        ) == {
            "enabled": True,
            "config": {
                "artifactsDir": "/opt/artifacts",
                "runtimeClasses": [
                    {
                        "name": "one",
                        "nodeSelector": {},
                        "artifacts": {"url": "registry.example.com/a:1", "pullSecret": "s"},
                    },
                    {
                        "name": "two",
                        "nodeSelector": {"cc": "true"},
                        "artifacts": {"url": "registry.example.com/b:1", "pullSecret": ""},
                    },
                ],
            },
            "repository": "registry.example.com",
            "image": "manager",
            "version": "v1",
            "imagePullPolicy": "Always",
            "imagePullSecrets": ["s"],
            "env": [{"name": "A", "value": "b"}],
            "resources": {"limits": {"cpu": "1"}},
        }

    def test_false_and_empty_are_values(self) -> None:
        assert charts.kata_manager_values({"enabled": False, "env": [], "image": None}) == {
            "enabled": False,
            "env": [],
        }

    @pytest.mark.parametrize("word", ["artifactsDir", "imagePullPolicy", "runtimeClasses"])
    def test_the_words_of_the_chart_are_refused(self, word: str) -> None:
        with pytest.raises(KatagpuError, match=f"unknown option {word}; known are artifacts_dir"):
            charts.kata_manager_values({word: "x"})

    @pytest.mark.parametrize("entry", [{"name": "x"}, {"artifacts": {"url": "u"}}, {"name": "x", "artifacts": {}}])
    def test_an_incomplete_class_is_refused(self, entry: dict[str, Any]) -> None:
        with pytest.raises(KatagpuError, match=r"each entry needs a name and artifacts\.url"):
            charts.kata_manager_values({"runtime_classes": [entry]})


class TestWantedCharts:
    STACK = {
        "install_order": ["gpu_operator", "kata_deploy"],
        "gpu_operator": {"name": "go", "namespace": "gns", "chart_version": "1", "values": {"mode": {"x": 1}}},
        "kata_deploy": {
            "name": "kd",
            "namespace": "kns",
            "chart_version": "2",
            "values": {},
            "node_selector": {"a": "b"},
        },
    }

    def test_what_is_not_given_is_that_of_the_release(self) -> None:
        empty = {"name": None, "namespace": None, "chart_version": None, "values": {}, "node_selector": {}}
        first, second = charts.wanted_charts(self.STACK, {**empty, "kata_manager": {}}, {**empty, "tolerations": []})
        assert first == {**pins("go", "gns", "1", "gpu-operator"), "values": {"mode": {"x": 1}}}
        assert second["values"] == charts.kata_deploy_values(self.STACK, "k8s", {"a": "b"}, [], {})
        assert pins("kd", "kns", "2", "kata-deploy").items() <= second.items()

    def test_inputs_of_the_roles_count(self) -> None:
        own = {"name": "n", "values": {"mode": {"y": 2}}, "kata_manager": {"enabled": True}, "default_workload": "w"}
        first = charts.wanted_charts(self.STACK, own, {})[0]
        assert first["name"] == "n"
        kata, sandbox = {"enabled": True}, {"defaultWorkload": "w"}
        assert first["values"] == {"mode": {"x": 1, "y": 2}, "kataManager": kata, "sandboxWorkloads": sandbox}

    def test_a_release_without_a_chart_of_kata_has_one(self) -> None:
        stack = {**self.STACK, "install_order": ["coco_operator", "gpu_operator"]}
        assert [item["chart"] for item in charts.wanted_charts(stack, {}, {})] == ["gpu-operator"]


def pins(name: str, namespace: str, version: str, chart: str) -> dict[str, str]:
    return {"name": name, "namespace": namespace, "chart_version": version, "chart": chart}
