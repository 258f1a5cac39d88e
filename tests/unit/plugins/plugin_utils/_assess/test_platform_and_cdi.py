# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a machine can run virtual machines with GPUs, and what its runtime's configuration says, over plain facts."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess import cdi, node, platform
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.desired import Desired
from ansible_collections.katagpu.cluster.plugins.plugin_utils._assess.view import HostView

RELEASE = {"name": "26.7", "architectures": ["amd64"]}


def view(facts: dict[str, Any], **more: Any) -> HostView:
    return HostView(facts, Desired(), RELEASE, "gpu-03", **more)


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        ({"platform": {"architecture": "x86_64"}}, False),
        ({"platform": {"architecture": "aarch64"}}, True),
        ({"iommu": {"architecture": "aarch64"}}, True),
        ({"platform": {"architecture": "riscv64"}}, True),
        ({}, False),
    ],
)
def test_the_processor_is_one_that_the_release_exists_for(facts: dict[str, Any], refused: bool) -> None:
    findings = platform.assess(view(facts)).findings
    assert [(each.id, each.severity) for each in findings] == ([("architecture", "block")] if refused else [])
    if refused:
        assert "the release 26.7 exists for amd64." in findings[0].fact


@pytest.mark.parametrize(
    ("flags", "guest", "fix"),
    [
        (["vmx"], False, "load the module kvm_intel or kvm_amd"),
        (["svm", "hypervisor"], True, "load the module kvm_intel or kvm_amd"),
        (["hypervisor"], True, "this host is itself a virtual machine"),
        ([], False, "switch VT-x or SVM on in the firmware"),
    ],
)
def test_what_is_to_be_done_where_there_is_no_kvm(flags: list[str], guest: bool, fix: str) -> None:
    facts = {
        "devices": {"/dev/kvm": False},
        "iommu": {"cpu_flags": flags},
        "platform": {"virtualization": {"guest": guest}},
    }
    (finding,) = platform.assess(view(facts)).findings
    assert (finding.id, finding.acceptable, finding.state) == ("B13", True, "open") and finding.fix.startswith(fix)
    shown = [flag for flag in flags if flag != "hypervisor"]
    assert finding.fact == f"/dev/kvm does not exist; the processor shows {', '.join(shown) or 'neither vmx nor svm'}."


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"modules": {"loaded": ["nvidia"]}, "vfio": {"nvidia_version": "570.1"}}, "the NVIDIA host driver 570.1"),
        ({"modules": {"loaded": ["nvidia"]}}, "the NVIDIA host driver"),
        ({"vfio": {"nvidia_version": "570.1"}}, "the NVIDIA host driver 570.1"),
    ],
)
def test_a_loaded_driver_is_told_with_its_version(facts: dict[str, Any], text: str) -> None:
    (finding,) = platform.assess(view(facts)).findings
    assert (finding.id, finding.severity, finding.fact) == ("B04", "block", f"{text} is loaded on this host.")


def containerd(text: str | None) -> list[tuple[str, str, str]]:
    facts = {"containerd": {"configs": {"/etc/containerd/config.toml": text}}}
    return [(each.id, each.severity, each.fact) for each in node.assess_containerd(view(facts)).findings]


@pytest.mark.parametrize("text", ["version = 2\n", "disabled_plugins = []\n", 'disabled_plugins = ["x.crim"]\n', ""])
def test_a_configuration_with_cri_is_good(text: str) -> None:
    assert containerd(text) == []


@pytest.mark.parametrize("name", ["cri", "io.containerd.grpc.v1.cri"])
def test_a_configuration_without_cri_is_refused(name: str) -> None:
    ((id, severity, fact),) = containerd(f'disabled_plugins = ["x", "{name}"]\n')
    assert (id, severity) == ("D10", "block") and f"(disabled_plugins: x, {name})" in fact


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "a = 1\na = 2\n",
        "disabled_plugins = 5\n",
        'disabled_plugins = "cri"\n',
        pytest.param("a = " + "[" * 5000, id="deep"),
    ],
)
def test_a_configuration_that_containerd_would_not_read_is_refused(text: str) -> None:
    ((id, severity, fact),) = containerd(text)
    assert (id, severity) == ("D10", "block") and "is not a valid configuration: " in fact


def test_a_configuration_that_is_too_large_is_only_told() -> None:
    assert containerd(None) == [("D10", "warn", "/etc/containerd/config.toml is too large to be judged.")]


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "devices: 5\n",
        "devices: [text]\n",
        "devices: [{containerEdits: 7}]\n",
        "a: 2001-99-99\n",
        pytest.param("[" * 5000, id="deep"),
        None,
    ],
)
def test_a_specification_that_cannot_be_read_says_why(text: str | None) -> None:
    (spec,) = cdi.parse({"/etc/cdi/a.yaml": text})
    assert spec["error"] and spec["devices"] == []
    (problem, missing) = cdi.problems([spec], "nvidia.com/pgpu", {"0000:65:00.0": "12"}, ["12"])
    assert problem == f"/etc/cdi/a.yaml cannot be read: {spec['error']}"
    assert missing == "there is no CDI specification of the kind nvidia.com/pgpu"


GPU = "0000:65:00.0"


def spec(*names: str, kind: str = "nvidia.com/pgpu") -> str:
    devices = "".join(
        f"- {{name: '{place}', containerEdits: {{deviceNodes: [{{path: {path}}}]}}}}\n"
        for place, path in enumerate(names)
    )
    return f"cdiVersion: 0.5.0\nkind: {kind}\ndevices:\n{devices}"


@pytest.mark.parametrize(
    ("text", "groups", "nodes", "expected"),
    [
        (spec("/dev/vfio/12"), {GPU: "12"}, ["12"], []),
        (spec("/dev/vfio/devices/vfio0"), {GPU: "12"}, ["12"], []),
        (
            spec("/dev/vfio/devices/vfio1"),
            {GPU: "12"},
            ["12"],
            [
                f"GPU {GPU} is on VFIO (group 12) and has no entry in the CDI specification nvidia.com/pgpu",
                "the CDI specification nvidia.com/pgpu names /dev/vfio/devices/vfio1, which belongs to no GPU on VFIO",
            ],
        ),
        (
            spec("/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio7"),
            {GPU: "12"},
            ["12"],
            ["the CDI specification nvidia.com/pgpu names /dev/vfio/devices/vfio7, which does not exist"],
        ),
        (spec("/dev/vfio/vfio", "/dev/vfio/12"), {GPU: "12"}, ["12"], []),
        (
            spec("/dev/vfio/13"),
            {GPU: "12"},
            ["12", "13"],
            [
                f"GPU {GPU} is on VFIO (group 12) and has no entry in the CDI specification nvidia.com/pgpu",
                "the CDI specification nvidia.com/pgpu names /dev/vfio/13, which belongs to no GPU on VFIO",
            ],
        ),
        (
            spec("/dev/vfio/12", "/dev/vfio/9"),
            {GPU: "12"},
            ["12"],
            ["the CDI specification nvidia.com/pgpu names /dev/vfio/9, which does not exist"],
        ),
        (spec("/dev/vfio/12", kind="x.io/y"), {}, [], []),
    ],
)
def test_a_specification_agrees_with_what_is_bound(
    text: str, groups: dict[str, str | None], nodes: list[str], expected: list[str]
) -> None:
    own = cdi.own_nodes({"/dev/vfio/devices": {"vfio0": GPU, "vfio1": "0000:66:00.0", "vfio2": None}})
    found = cdi.problems(cdi.parse({"/var/run/cdi/a.yaml": text}), "nvidia.com/pgpu", groups, nodes, by_function=own)
    assert found == expected


def test_a_device_that_is_defined_twice_is_told() -> None:
    specs = cdi.parse({"/etc/cdi/a.yaml": spec("/dev/vfio/12"), "/var/run/cdi/b.yaml": spec("/dev/vfio/12")})
    assert cdi.problems(specs, "nvidia.com/pgpu", {GPU: "12"}, ["12"]) == [
        "the CDI device nvidia.com/pgpu=0 is defined twice"
    ]
