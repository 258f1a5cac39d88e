# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_in_use
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Number
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import AUDIO, GPU, GPU2


def test_holders_by_number_not_by_path(tmp_path: Path) -> None:
    root = support.build(tmp_path)
    (tmp_path / "host/sys/class/vfio/13").mkdir(parents=True)
    (tmp_path / "host/sys/class/vfio/13/dev").write_text("237:1\n")
    support.open_node(root, 10, "a container", "/nodes/renamed")
    support.open_node(root, 11, "pipewire", "/dev/snd/pcmC0D3p")
    support.open_node(root, 12, "qemu", "/dev/vfio/13")
    support.open_node(root, 13, "sshd", "socket:[1]")
    stat_node = support.nodes_by_name(
        {
            "/nodes/renamed": Number("char", 226, 1),
            "/dev/snd/pcmC0D3p": Number("char", 116, 3),
            "/dev/vfio/13": Number("char", 237, 1),
        }
    )
    assert read_in_use(root, [GPU, AUDIO, GPU2], stat_node=stat_node) == {
        GPU: ["process 10 (a container) has /nodes/renamed"],
        AUDIO: ["process 11 (pipewire) has /dev/snd/pcmC0D3p"],
        GPU2: ["process 12 (qemu) has /dev/vfio/13"],
    }


def test_nvidia_nodes_of_one_gpu_and_of_all(tmp_path: Path) -> None:
    data = support.change(support.change(support.description(), GPU, driver="nvidia"), GPU2, driver="nvidia")
    data["files"].update(
        {
            "/proc/devices": "Character devices:\n195 nvidia\n508 nvidia-uvm\n\nBlock devices:\n",
            f"/proc/driver/nvidia/gpus/{GPU}/information": "Model: x\nDevice Minor: \t 0\n",
            f"/proc/driver/nvidia/gpus/{GPU2}/information": "Model: x\nDevice Minor: \t 1\n",
        }
    )
    root = support.build(tmp_path, data)
    support.open_node(root, 20, "one", "/dev/nvidia1")
    support.open_node(root, 21, "all", "/dev/nvidia-uvm")
    numbers = {"/dev/nvidia1": Number("char", 195, 1), "/dev/nvidia-uvm": Number("char", 508, 0)}
    found = read_in_use(root, [GPU, AUDIO, GPU2], stat_node=support.nodes_by_name(numbers))
    assert found == {
        GPU: ["process 21 (all) has /dev/nvidia-uvm"],
        GPU2: ["process 20 (one) has /dev/nvidia1", "process 21 (all) has /dev/nvidia-uvm"],
    }


def test_kernel_users_count(tmp_path: Path) -> None:
    data = support.change(support.description(), GPU, driver="nvidia")
    data["files"].update({"/sys/module/nvidia/refcnt": "3\n", "/sys/module/nvidia/holders/nvidia_uvm/x": ""})
    data["files"][f"/sys/devices/pci0000:64/{support.PORT}/{AUDIO}/graphics/fb0/name"] = ""
    found = read_in_use(support.build(tmp_path, data), [GPU, AUDIO])
    assert found == {
        GPU: ["kernel: module nvidia has 3 references, 1 of them by modules"],
        AUDIO: ["kernel console on fb0"],
    }


def on_nvidia(**files: str) -> dict[str, Any]:
    data = support.change(support.change(support.description(), GPU, driver="nvidia"), GPU2, driver="nvidia")
    data["files"].update({path.replace("__", "/"): text for path, text in files.items()})
    return data


def test_the_node_of_another_gpu_counts_for_that_one_only(tmp_path: Path) -> None:
    data = on_nvidia()
    data["files"].update(
        {
            "/proc/devices": "Character devices:\n195 nvidia\n511 nvidia-caps\n",
            f"/proc/driver/nvidia/gpus/{GPU}/information": "Device Minor: \t 0\n",
            f"/proc/driver/nvidia/gpus/{GPU2}/information": "Device Minor: \t 1\n",
        }
    )
    root = support.build(tmp_path, data)
    support.open_node(root, 20, "train", "/dev/nvidia1")
    support.open_node(root, 21, "other", "/dev/nvidiactl")
    numbers = {"/dev/nvidia1": Number("char", 195, 1), "/dev/nvidiactl": Number("char", 195, 255)}
    assert read_in_use(root, [GPU], stat_node=support.nodes_by_name(numbers)) == {
        GPU: ["process 21 (other) has /dev/nvidiactl"]
    }


def test_switches_have_nodes_of_their_own(tmp_path: Path) -> None:
    switch = "0000:07:00.0"
    data = support.description()
    data["pci"].append(
        {"address": switch, "class": "068000", "vendor": "10de", "device": "22a3", "driver": "nvidia-nvswitch"}
    )
    data["files"]["/proc/devices"] = "Character devices:\n195 nvidia\n234 nvidia-nvswitch\n"
    root = support.build(tmp_path, data)
    support.open_node(root, 30, "nv-fabricmanage", "/dev/nvidia-nvswitch0")
    Path(root.path("/proc/30/cgroup")).write_text("0::/system.slice/nvidia-fabricmanager.service\n")
    numbers = {"/dev/nvidia-nvswitch0": Number("char", 234, 0)}
    assert read_in_use(root, [switch, GPU], stat_node=support.nodes_by_name(numbers)) == {
        switch: ["process 30 (nv-fabricmanage, nvidia-fabricmanager.service) has /dev/nvidia-nvswitch0"]
    }


@pytest.mark.parametrize(
    ("files", "holder"),
    [
        # As with version 550: nvidia_drm depends on nvidia_modeset, and nvidia names only that one.
        (
            {
                "/sys/module/nvidia/holders/nvidia_modeset/x": "",
                "/sys/module/nvidia/refcnt": "1\n",
                "/sys/module/nvidia_drm/parameters/modeset": "Y\n",
                "/sys/module/nvidia_drm/parameters/fbdev": "N\n",
            },
            "kernel: module nvidia_drm is loaded on top of nvidia (modeset=Y, fbdev=N)",
        ),
        ({"/proc/fb": "0 EFI VGA\n1 nvidia-drmdrmfb\n"}, "kernel console on fb1 nvidia-drmdrmfb"),
        ({"/sys/module/nvidia/refcnt": "5\n"}, "kernel: module nvidia has 5 references, 0 of them by modules"),
        (
            {"/sys/fs/cgroup/system.slice/nvidia-powerd.service/cgroup.procs": ""},
            "service nvidia-powerd.service is active",
        ),
        (
            {"/sys/fs/cgroup/systemd/system.slice/nvidia-dcgm.service/tasks": ""},
            "service nvidia-dcgm.service is active",
        ),
    ],
)
def test_users_without_an_open_node(tmp_path: Path, files: dict[str, str], holder: str) -> None:
    data = support.change(support.description(), GPU, driver="nvidia")
    data["files"].update(files)
    assert read_in_use(support.build(tmp_path, data), [GPU, AUDIO]) == {GPU: [holder]}
    data = support.description()
    data["files"].update(files)
    (tmp_path / "nouveau").mkdir()
    assert read_in_use(support.build(tmp_path / "nouveau", data), [GPU, AUDIO]) == {}, "none of nouveau's business"


def test_a_display_manager_uses_what_has_displays(tmp_path: Path) -> None:
    data = support.description()
    data["links"]["/etc/systemd/system/display-manager.service"] = "/usr/lib/systemd/system/gdm.service"
    assert read_in_use(support.build(tmp_path, data), [GPU, GPU2]) == {}, "it is there and not active"
    (tmp_path / "active").mkdir()
    data["files"]["/sys/fs/cgroup/system.slice/gdm.service/cgroup.procs"] = "900\n"
    found = read_in_use(support.build(tmp_path / "active", data), [GPU, GPU2])
    assert found == {GPU: ["service gdm.service is active"]}, "the other has no display node"
