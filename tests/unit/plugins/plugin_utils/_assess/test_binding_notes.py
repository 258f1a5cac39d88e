# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.unit.assess_host import AUDIO, GPU, KERNEL, RELEASE, audio, bmc_display, gpu, ids, judge
from tests.unit.host_stages import LABELLED, ready, results

CURRENT = _releases.lookup("26.7")
PORT = "0000:64:00.0"
IOMMUFD = {"/dev/iommu": ""}


def found(answer: dict[str, Any], id: str) -> list[dict[str, Any]]:
    return [item for item in answer["findings"] if item["id"] == id]


@pytest.mark.parametrize(
    ("release", "files", "driver", "told"),
    [
        (CURRENT, {}, "vfio-pci", True),
        (CURRENT, IOMMUFD, "vfio-pci", False),
        (RELEASE, IOMMUFD, "vfio-pci", True),
        (RELEASE, {}, "pci-stub", False),
    ],
)
def test_a_group_with_more_than_the_gpu(
    tmp_path: Path, release: dict[str, Any], files: dict[str, str], driver: str, told: bool
) -> None:
    host = ready(gpu(group="12", driver="vfio-pci"), audio(group="12", driver=driver), files=files)
    answer = judge(host, tmp_path, release=release, cluster_node=LABELLED)
    assert [item["severity"] for item in found(answer, "A10")] == (["warn"] if told else [])
    assert not told or (AUDIO in found(answer, "A10")[0]["fact"] and "group 12" in found(answer, "A10")[0]["fact"])


def test_a_gpu_alone_or_with_its_bridge(tmp_path: Path) -> None:
    port = {"address": PORT, "class": "060400", "vendor": "8086", "device": "347a", "driver": "pcieport", "group": "12"}
    assert not found(judge(ready(gpu(group="12", driver="vfio-pci"), port), tmp_path), "A10")


ALIASES = {
    f"/lib/modules/{KERNEL}/modules.alias": "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\n"
}


@pytest.mark.parametrize(
    ("device", "driver", "word"),
    [
        ("2342", None, "gets nvgrace_gpu_vfio_pci"),
        ("2342", "nvgrace-gpu-vfio-pci", "is on nvgrace-gpu-vfio-pci"),
        ("2342", "vfio-pci", None),
        ("2236", None, None),
    ],
)
def test_a_driver_that_the_device_plugin_does_not_know(
    tmp_path: Path, device: str, driver: str | None, word: str | None
) -> None:
    """The Grace Hopper superchip: the validator of 26.7 accepts its driver, the plugin of 26.7 skips it."""
    host = ready(gpu(group="12", device=device, driver=driver), files=ALIASES)
    answer = judge(host, tmp_path / "a", release=CURRENT, cluster_node=LABELLED)
    assert ids(answer) == ([] if word is None else ["B07"])
    assert word is None or word in found(answer, "B07")[0]["fact"]
    accepted = {"B07": "a plugin of our own"}
    assert ids(judge(host, tmp_path / "b", release=CURRENT, cluster_node=LABELLED, accepted=accepted)) == []


def test_each_gpu_is_looked_at(tmp_path: Path) -> None:
    """The first is on a driver that the plugin takes, the second is not."""
    second = {**gpu(group="13", device="2342", driver="nvgrace-gpu-vfio-pci"), "address": "0000:b3:00.0"}
    host = ready(gpu(group="12", driver="vfio-pci"), second, files=ALIASES)
    answer = judge(host, tmp_path, release=CURRENT, cluster_node=LABELLED)
    assert [item["device"] for item in found(answer, "B07")] == ["0000:b3:00.0"]


def below_a_port(able: str = PORT, allowed: str = "1", **files: str) -> dict[str, Any]:
    """Power resources of ACPI (_PR3) at a port, as on a board for gamers; a server has none."""
    port = {"address": PORT, "class": "060400", "vendor": "8086", "device": "347a", "driver": "pcieport"}
    card = gpu(group="12", driver="vfio-pci", parent=PORT, files={"d3cold_allowed": f"{allowed}\n"})
    host = ready(port, card, files=files)
    host["dirs"].append(f"/sys/bus/pci/devices/{able}/firmware_node/power_resources_D3hot")
    return host


@pytest.mark.parametrize(
    ("host", "told"),
    [
        (below_a_port(), True),
        (below_a_port(GPU), True),
        (below_a_port(allowed="0"), False),
        (below_a_port("0000:03:00.0"), False),
        (below_a_port(**{"/sys/module/vfio_pci/parameters/disable_idle_d3": "Y\n"}), False),
        (below_a_port(**{"/sys/module/vfio_pci/parameters/disable_idle_d3": "N\n"}), True),
        (below_a_port(**{"/etc/modprobe.d/vfio.conf": "options vfio-pci ids=10de:2236 disable_idle_d3=1\n"}), False),
        (below_a_port(**{"/etc/modprobe.d/vfio.conf": "# options vfio-pci disable_idle_d3=1\n"}), True),
    ],
)
def test_power_that_the_kernel_may_switch_off(tmp_path: Path, host: dict[str, Any], told: bool) -> None:
    assert [item["severity"] for item in found(judge(host, tmp_path), "A16")] == (["warn"] if told else [])


@pytest.mark.parametrize(
    ("state", "status", "silent"),
    [
        ("D3cold", "suspended", False),
        ("D3cold", "active", True),
        ("D3hot", "suspended", True),
        ("D0", "active", True),
        (None, "suspended", False),
    ],
)
def test_a_gpu_that_sleeps_is_not_woken_and_one_that_is_lost_is_found(
    tmp_path: Path, state: str | None, status: str, silent: bool
) -> None:
    files = {"power/runtime_status": f"{status}\n", **({"power_state": f"{state}\n"} if state else {})}
    card = gpu(group="12", driver="vfio-pci", config="ffffffff", files=files)
    assert ids(judge(ready(card), tmp_path)) == (["A16"] if silent else [])


@pytest.mark.parametrize(
    ("override", "driver", "told"),
    [
        ("nouveau", None, True),
        ("snd_hda_intel", "vfio-pci", True),
        ("vfio-pci", None, False),
        ("vfio-pci", "snd_hda_intel", False),
        ("snd_hda_intel", "snd_hda_intel", False),
        ("(null)", "vfio-pci", False),
    ],
)
def test_an_override_that_is_not_the_driver(tmp_path: Path, override: str, driver: str | None, told: bool) -> None:
    host = ready(gpu(group="12", driver="vfio-pci"), audio(group="12", driver=driver, driver_override=override))
    assert [item["device"] for item in found(judge(host, tmp_path), "C12")] == ([AUDIO] if told else [])


@pytest.mark.parametrize(("override", "result"), [("vfio-pci", "passed"), ("(null)", "passed"), ("nouveau", "failed")])
def test_verification_looks_at_the_override_too(tmp_path: Path, override: str, result: str) -> None:
    host = ready(gpu(group="12", driver="vfio-pci", driver_override=override))
    assert results(judge(host, tmp_path, verify=True))["V5"] == result


def test_what_driverctl_binds_is_refused(tmp_path: Path) -> None:
    host = ready(gpu(group="12", driver="vfio-pci"), audio(group="12"), bmc_display())
    host["files"][f"/etc/driverctl.d/pci-{AUDIO}"] = "snd_hda_intel\n"
    answer = judge(host, tmp_path / "a", cluster_node=LABELLED)
    assert ids(answer) == ["C12"] and answer["plan"]["host_vfio"] == {}
    host["files"][f"/etc/driverctl.d/pci-{AUDIO}"] = "vfio-pci\n"
    assert ids(judge(host, tmp_path / "b", cluster_node=LABELLED)) == []


@pytest.mark.parametrize(
    ("path", "told"), [("gpu0/mig/gi1/access", True), ("gpu0/mig/config", False), ("mig/config", False)]
)
def test_a_gpu_that_is_divided_into_instances(tmp_path: Path, path: str, told: bool) -> None:
    """The nodes for managing it are there in any case."""
    host = ready(gpu(group="12", driver="vfio-pci"), files={f"/proc/driver/nvidia/capabilities/{path}": ""})
    assert [item["severity"] for item in found(judge(host, tmp_path), "C10")] == (["warn"] if told else [])
