# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Against the running kernel where it can show the case, else against trees in its form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import processes
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_in_use
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Number, open_nodes, unit_of
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import AUDIO, GPU, GPU2

FULL = Number("char", 1, 7)

# A process that has /dev/full in one of the ways in which the scan could miss it, and then says so.
OPENED = "import ctypes, mmap, os, sys, threading, time\nlibc = ctypes.CDLL(None)\n"
READY = "\nprint('ready', flush=True)\ntime.sleep(60)\n"
BY_THE_PROCESS = OPENED + "handle = os.open('/dev/full', os.O_RDONLY)" + READY
BY_A_THREAD_ALONE = (
    OPENED
    + "def work():\n    assert libc.unshare(0x400) == 0\n    os.open('/dev/full', os.O_RDONLY)\n    done.set()\n    time.sleep(60)\n"
    + "done = threading.Event()\nthreading.Thread(target=work, daemon=True).start()\ndone.wait()"
    + READY
)
AFTER_THE_FIRST_THREAD = (
    OPENED
    + "def work():\n    os.open('/dev/full', os.O_RDONLY)\n"
    + "    while open(f'/proc/{os.getpid()}/stat').read().split()[2] != 'Z':\n        time.sleep(0.01)\n"
    + "    print('ready', flush=True)\n    time.sleep(60)\n"
    + "threading.Thread(target=work).start()\nlibc.pthread_exit(None)\n"
)
# The class mmap keeps a descriptor of its own.
MAPPED = "handle = os.open('/dev/zero', os.O_RDWR)\nmemory = mmap.mmap(handle, 4096, flags=mmap.MAP_PRIVATE)\n"
MAPPED += "os.closerange(3, 64)\n"
BY_A_MAPPING = OPENED + MAPPED + READY
BY_A_MAPPING_AFTER_THE_FIRST_THREAD = OPENED + MAPPED + AFTER_THE_FIRST_THREAD


def held(program: str) -> list[str]:
    """The paths by which the scan of all processes finds /dev/full in the process of the program."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
            found = open_nodes(HostRoot("/"))
            return [path for process, path, number in found if process == str(child.pid) and number == FULL]
        finally:
            child.kill()


@pytest.mark.parametrize("program", [BY_THE_PROCESS, BY_A_THREAD_ALONE, AFTER_THE_FIRST_THREAD])
def test_the_kernel_shows_it_whoever_opened_it(program: str) -> None:
    if processes.kernel_compares(str(os.getpid()), str(os.getpid())) is None:
        pytest.skip("this kernel does not compare processes")
    assert held(program) == ["/dev/full"]


@pytest.mark.parametrize("program", [BY_A_MAPPING, BY_A_MAPPING_AFTER_THE_FIRST_THREAD])
def test_a_mapping_that_outlives_its_descriptor(program: str) -> None:
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
            found = [each for each in open_nodes(HostRoot("/")) if each[0] == str(child.pid)]
            assert (str(child.pid), "/dev/zero", Number("char", 1, 5)) in found
        finally:
            child.kill()


def test_threads_are_compared_by_the_kernel_where_it_can(tmp_path: Path) -> None:
    root = support.build(tmp_path)
    support.open_node(root, 10, "monitor", "/dev/null")
    thread = Path(root.path("/proc/10/task/11/fd"))
    thread.mkdir(parents=True)
    (thread / "5").symlink_to("/dev/dri/card1")
    (Path(root.path("/proc/10/task/10"))).mkdir()
    numbers = support.nodes_by_name({"/dev/dri/card1": Number("char", 226, 1)})
    assert [path for _process, path, _number in open_nodes(root, numbers)] == ["/dev/dri/card1"]
    assert not list(open_nodes(root, numbers, lambda one, other: True)), "the same table is not read again"


def test_a_mapping_of_a_removed_node_in_a_container(tmp_path: Path) -> None:
    """The path is that of the container, and nothing is there any more; the kernel's link still leads to the node."""
    root = support.build(tmp_path)
    folder = Path(root.path("/proc/77"))
    (folder / "map_files").mkdir(parents=True)
    (folder / "comm").write_text("python3\n")
    (folder / "maps").write_text(
        "00400000-00500000 r-xp 00000000 08:01 100                        /usr/bin/python3\n"
        "7f5c00000000-7f5c00200000 rw-s 00000000 00:35 7                          /nodes/gpu (deleted)\n"
        "7f5c10000000-7f5c10200000 rw-p 00000000 00:00 0 \n"
    )
    (folder / "map_files/7f5c00000000-7f5c00200000").symlink_to("/nodes/gpu (deleted)")
    stat_node = support.nodes_by_name({"/nodes/gpu (deleted)": Number("char", 226, 1)})
    assert read_in_use(root, [GPU], stat_node=stat_node) == {GPU: ["process 77 (python3) has /nodes/gpu (deleted)"]}


def test_what_a_container_mounted_over_the_network_is_not_touched(tmp_path: Path) -> None:
    root = support.build(tmp_path)
    support.open_node(root, 20, "reader", "/data/file")
    support.open_node(root, 21, "reader", "/data/file")
    for process, space, kind in (("20", "mnt:[1]", "nfs4"), ("21", "mnt:[2]", "ext4")):
        folder = Path(root.path(f"/proc/{process}"))
        (folder / "ns").mkdir()
        (folder / "ns/mnt").symlink_to(space)
        (folder / "mountinfo").write_text(f"22 1 0:9 / /data rw - {kind} server:/data rw\n")
    touched = []

    def stat_node(path: str) -> Number | None:
        touched.append(path.split("/proc/")[1])
        return None

    assert not list(open_nodes(root, stat_node)) and touched == ["21/fd/0"]


POD = "6b1f2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/nvidia-persistenced.service\n", "nvidia-persistenced.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        ("0::/init.scope\n", "init.scope"),
        (f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-0a1b.scope\n", f"pod {POD}"),
        (f"4:memory:/x\n1:name=systemd:/kubepods/burstable/pod{POD}/0a1b\n", f"pod {POD}"),
        ("12:devices:/system.slice/ssh.service\n1:name=systemd:/system.slice/ssh.service\n", "ssh.service"),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_the_unit_that_is_to_be_stopped(cgroup: str, unit: str | None) -> None:
    assert unit_of(cgroup) == unit


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["/usr/bin/qemu-system-x86_64", "-device", f"vfio-pci,host={GPU},id=gpu0"], [GPU]),
        (["/opt/kata/bin/qemu-system-x86_64", "-device", "vfio-pci,host=65:00.0,bus=rp0"], [GPU]),
        (["/usr/libexec/qemu-kvm", "-device", '{"driver":"vfio-pci","host":"0000:b3:00.0"}'], [GPU2]),
        (["cloud-hypervisor", "--device", f"path=/sys/bus/pci/devices/{AUDIO}/"], [AUDIO]),
        (["/usr/bin/qemu-system-x86_64", "-device", "vfio-pci,host=0001:65:00.0"], []),
        (["/usr/bin/qemu-system-x86_64", "-m", "8192"], []),
        (["/usr/bin/python3", "ansible", "vfio_binding", GPU], []),
    ],
)
def test_virtual_machines_that_name_a_device(tmp_path: Path, arguments: list[str], named: list[str]) -> None:
    root = support.build(tmp_path)
    folder = Path(root.path("/proc/4711"))
    folder.mkdir(parents=True)
    (folder / "comm").write_text("qemu-system-x86\n")
    (folder / "cgroup").write_text(f"0::/kubepods/pod{POD}/sandbox\n")
    (folder / "cmdline").write_bytes(b"\0".join(word.encode() for word in arguments) + b"\0")
    expected = f"virtual machine 4711 (qemu-system-x86, pod {POD}) names it in its command line"
    assert read_in_use(root, [GPU, AUDIO, GPU2]) == {address: [expected] for address in named}
