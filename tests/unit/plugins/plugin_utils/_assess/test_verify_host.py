# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.unit.assess_host import ARTIFACTS, audio, gpu, judge
from tests.unit.host_stages import READY, ready, results

CDI = """cdiVersion: 0.5.0
kind: nvidia.com/pgpu
devices:
  - name: "0"
    containerEdits: {deviceNodes: [{path: /dev/vfio/12}]}
"""


def provisioned(**more: Any) -> dict[str, Any]:
    folder = f"{ARTIFACTS}/kata-qemu-nvidia-gpu"
    files = {
        "/var/run/cdi/nvidia.com-pgpu.yaml": CDI,
        f"{folder}/configuration-nvidia-gpu-qemu.toml": "",
        f"{folder}/kata-ubuntu-jammy-nvidia-gpu.initrd": "",
        f"{folder}/vmlinuz-5.19.2-109-nvidia-gpu": "",
    }
    files.update(more.pop("files", {}))
    members = more.pop("members", [audio(group="12", driver="vfio-pci")])
    return ready(gpu(group="12", driver=more.pop("driver", "vfio-pci")), *members, files=files)


def test_a_provisioned_host_passes_every_check(tmp_path: Path) -> None:
    node = {"boot_id": "4f746628-5775-4479-aaaa-394c0faedef9"}
    asked = {"kernel_arguments_present": ["intel_iommu=on"]}
    answer = judge(provisioned(), tmp_path, verify=True, cluster_node=node, desired=asked)
    assert set(results(answer).values()) == {"passed"}
    assert all(item["evidence"] for item in answer["checks"])


@pytest.mark.parametrize(
    ("more", "failed"),
    [
        ({"driver": "nouveau"}, {"V5", "V14"}),
        ({"members": [audio(group="12")]}, {"V5"}),
        ({"files": {"/var/run/cdi/nvidia.com-pgpu.yaml": CDI.replace("/12", "/13")}}, {"V14"}),
        ({"files": {"/var/run/cdi/nvidia.com-pgpu.yaml": "{"}}, {"V14"}),
        ({"files": {"/proc/modules": "nouveau 1 0 - Live 0x0\n"}}, {"V8"}),
    ],
)
def test_what_is_wrong_on_a_provisioned_host_is_seen(tmp_path: Path, more: dict[str, Any], failed: set[str]) -> None:
    answer = judge(provisioned(**more), tmp_path, verify=True)
    assert {id for id, result in results(answer).items() if result == "failed"} == failed


def test_missing_artifacts_are_seen(tmp_path: Path) -> None:
    description = provisioned()
    for path in [path for path in description["files"] if path.endswith(".initrd")]:
        del description["files"][path]
    checks = judge(description, tmp_path, verify=True)["checks"]
    assert ["*.initrd" in item["evidence"] for item in checks if item["result"] == "failed"] == [True]


@pytest.mark.parametrize("text", ["devices: [\n", "# x\n" * 100_000], ids=["broken", "too large"])
def test_the_cdi_specification_of_somebody_else_is_none_of_ours(tmp_path: Path, text: str) -> None:
    foreign = {"/etc/cdi/other.yaml": text}
    assert results(judge(provisioned(files=foreign), tmp_path / "a", verify=True))["V14"] == "passed"
    alone = provisioned(files=foreign)
    del alone["files"]["/var/run/cdi/nvidia.com-pgpu.yaml"]
    checks = judge(alone, tmp_path / "b", verify=True)["checks"]
    (cdi,) = [item for item in checks if item["id"] == "V14"]
    assert cdi["result"] == "failed" and "/etc/cdi/other.yaml cannot be read" in cdi["evidence"]


@pytest.mark.parametrize(
    ("wish", "result", "part"),
    [
        ({}, "skipped", "asked for"),
        ({"kernel_arguments_present": ["intel_iommu=on"]}, "passed", "intel_iommu=on"),
        ({"kernel_arguments_present": ["console=ttyS0"]}, "failed", "console=ttyS0 is missing"),
        ({"kernel_arguments_present": ["hugepages=2"]}, "failed", "hugepages=2 is missing"),
        ({"kernel_arguments_present": ["pcie_aspm=off"]}, "failed", "pcie_aspm=off is missing"),
        ({"kernel_arguments_absent": ["quiet"]}, "failed", "quiet is there"),
        ({"kernel_arguments_absent": ["splash"]}, "passed", ""),
        ({"kernel_arguments_present": ["a b"]}, "failed", "not one token"),
    ],
)
def test_the_arguments_are_checked_as_the_kernel_reads_them(
    tmp_path: Path, wish: dict[str, Any], result: str, part: str
) -> None:
    description = provisioned()
    description["files"]["/proc/cmdline"] = f"ro {READY} hugepages=4 pcie_aspm=off pcie_aspm=force\n"
    checks = judge(description, tmp_path, verify=True, desired=wish)["checks"]
    (found,) = [item for item in checks if item["id"] == "V2"]
    assert found["result"] == result and part in found["evidence"]


def test_a_kernel_without_nodes_of_groups_is_enough_where_functions_are_passed(tmp_path: Path) -> None:
    """As with CONFIG_VFIO_GROUP=n: the release 26.7 passes /dev/vfio/devices/vfio0, the release 23.9 a group."""
    description = provisioned(files={"/dev/iommu": "", "/dev/vfio/devices/vfio0": ""})
    del description["files"]["/dev/vfio/12"]
    function = f"/sys/devices/pci0000:00/{description['pci'][0]['address']}"
    description["links"] = {**description.get("links", {}), "/sys/class/vfio-dev/vfio0/device": function}
    for name, wanted in (("26.7", "passed"), ("23.9", "failed")):
        answer = judge(description, tmp_path / name, verify=True, release=_releases.lookup(name))
        (nodes,) = [item for item in answer["checks"] if item["id"] == "V6"]
        assert nodes["result"] == wanted, nodes
