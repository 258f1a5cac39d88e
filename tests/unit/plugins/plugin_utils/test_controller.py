# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _controller
from ansible_collections.katagpu.cluster.plugins.plugin_utils._arguments import accepted_findings

KNOWN = {"katagpu_release", "katagpu_reboot_ok", "host_vfio_members", "verify_workload_image"}
ROLES = {"host_vfio", "verify", "common"}


def mistakes(*names: str) -> list[str]:
    return [finding.fix for finding in _controller.misspelt({name: ["a"] for name in names}, KNOWN, ROLES)]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("katagpu_relase", "did you mean katagpu_release?"),
        ("host_vfio_member", "did you mean host_vfio_members?"),
        ("host_vfio_something", "remove it"),
        ("verify_workload_imag", "did you mean verify_workload_image?"),
        ("katagpu_zzz", "remove it"),
    ],
)
def test_a_misspelt_variable_is_named(name: str, fix: str) -> None:
    assert mistakes(name)[0].startswith(fix)


@pytest.mark.parametrize("name", ["katagpu_release", "katagpu_record", "verify_ssl", "__host_vfio_x", "ansible_host"])
def test_what_is_known_or_not_ours_is_left_alone(name: str) -> None:
    assert mistakes(name) == []


def test_the_argument_specs_of_the_roles_are_read() -> None:
    known, roles = _controller.known_variables()
    assert "host_iommu" in roles
    assert "katagpu_release" in known
    assert "host_vfio_members" in known


def test_argument_specs_of_every_entry_point_count(tmp_path: Path) -> None:
    folder = tmp_path / "r" / "meta"
    folder.mkdir(parents=True)
    text = "argument_specs: {main: {options: {r_a: {}}}, other: {options: {r_b: {}}}}\n"
    (folder / "argument_specs.yml").write_text(text, encoding="utf-8")
    assert _controller.known_variables(tmp_path) == ({"r_a", "r_b"}, {"r"})


def test_an_inventory_without_targets_is_refused() -> None:
    assert [finding.id for finding in _controller.targets([], [])] == ["no_targets"]
    assert [finding.id for finding in _controller.targets(["a"], ["a"])] == ["both_groups"]
    assert _controller.targets(["a"], ["b"]) == []


def test_one_of_two_tools_is_enough() -> None:
    assert _controller.tools(["kubectl|kustomize"], {"kustomize": True}) == []
    found = _controller.tools(["helm", "kubectl|kustomize"], {})
    assert [finding.fact.split(" is ")[0] for finding in found] == ["helm", "kubectl or kustomize"]


@pytest.mark.parametrize(
    ("value", "hosts", "blocked"),
    [
        (1, 5, False),
        ("2", 5, False),
        ("50%", 10, False),
        (5, 5, True),
        ("100%", 5, True),
        (0, 5, True),
        ("x", 5, True),
        ([1, 2], 5, True),
        (1, 1, False),
    ],
)
def test_the_width_of_maintenance(value: object, hosts: int, blocked: bool) -> None:
    assert bool(_controller.serial_width(value, False, hosts)) is blocked


def test_all_at_once_needs_consent() -> None:
    assert _controller.serial_width("100%", True, 5) == []
    message = _controller.serial_width("100%", False, 2)[0].message()
    assert "katagpu_maintenance_batch is '100%', which is all 2 Kata nodes" in message
    assert "katagpu_maintenance_batch_ok" in message


def test_values_that_are_no_choice_are_refused_with_the_choices() -> None:
    values = {
        "katagpu_default_workload": {"": "vm-passthough"},
        "katagpu_vfio_owner": {"": None, "a": "host", "b": "nobody", "c": "nobody"},
    }
    messages = [finding.message() for finding in _controller.choices(values)]
    assert len(messages) == 2
    assert "katagpu_default_workload is 'vm-passthough'. " in messages[0]
    assert "set it to container or vm-passthrough." in messages[0]
    assert "katagpu_vfio_owner is 'nobody' (of b, c)." in messages[1]


def test_each_mistake_of_the_acceptances_is_told() -> None:
    found = _controller.acceptances([{"id": "x"}, {"id": "x", "reason": "y"}, "kubernetes_range", {"reason": "z"}])
    assert [finding.fact.split(" ")[0] for finding in found] == [
        f"katagpu_accepted_findings[{index}]" for index in (0, 2, 3)
    ]
    assert "reason" in found[0].message()
    assert "not a list" in _controller.acceptances({"id": "x"})[0].fact
    assert _controller.acceptances([]) == []


def test_only_manifests_that_are_not_in_a_folder_need_git() -> None:
    folders = {"manifests/operator"}
    assert not _controller.remote(["manifests/operator", None], folders.__contains__)
    assert _controller.remote(["manifests/operator", "github.com/x/y?ref=v1"], folders.__contains__)


@pytest.mark.parametrize(
    "item", [{"id": "x"}, {"id": "x", "reason": " "}, {"reason": "y"}, {"id": "x", "reason": "y", "z": 1}]
)
def test_an_acceptance_needs_an_id_and_a_reason(item: dict[str, object]) -> None:
    with pytest.raises(KatagpuError, match=r"katagpu_accepted_findings\[0\]"):
        accepted_findings([item])


@pytest.mark.parametrize(
    ("value", "refused"), [(None, False), ({"a": "b"}, False), ({}, True), ("", True), ("a=b", True)]
)
def test_a_runtime_for_every_node_is_refused(value: object, refused: bool) -> None:
    messages = [finding.message() for finding in _controller.selector("kata_deploy_node_selector", value)]
    assert bool(messages) is refused
    assert all("containerd of every node would be restarted" in message for message in messages)
