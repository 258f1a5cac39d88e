# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.facts import read_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.network import read_network
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Number, stat_number
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.writer import SysfsWriter
from tests.unit import machines
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import GPU, NIC, NVME

DISK = f"/sys/devices/pci0000:01/{NVME}/nvme/nvme0/nvme0n1"


def tree(tmp_path: Path, files: dict[str, str], links: dict[str, str], dirs: tuple[str, ...] = ()) -> HostRoot:
    data = {"pci": [support.function(NVME, "nvme"), support.function(NIC, "nic")], "files": files, "links": links}
    machines.build({**data, "dirs": list(dirs)}, tmp_path)
    return HostRoot(str(tmp_path))


def test_root_disk_and_network_card(tmp_path: Path) -> None:
    facts = read_facts(support.build(tmp_path), ())
    assert facts["critical"] == {
        NVME: ["holds /", "holds /boot"],
        NIC: ["carries the default route (ens1 below bond0)"],
    }
    assert facts["drivers"]["loadable"] == ["nvgrace_gpu_vfio_pci", "vfio_pci"]


def test_ssh_session_over_ipv6(tmp_path: Path) -> None:
    files = {
        "/proc/net/ipv6_route": "20010db8000000000000000000000000 40 " + "0" * 32 + " 00 " + "0" * 32
        + " 00000100 00000001 00000000 00000001 ens1\n"
        + "fe800000000000000000000000000000 40 " + "0" * 32 + " 00 " + "0" * 32 + " 100 1 0 00000001 ens2\n",
        "/sys/class/net/ens2/address": "",
    }  # fmt: skip
    root = tree(tmp_path, files, {"/sys/class/net/ens1/device": f"/sys/bus/pci/devices/{NIC}"})
    assert read_network(root, "2001:db8::5 51000 2001:db8::1 22") == {NIC: ["carries this SSH session (ens1)"]}
    assert read_network(root) == {NIC: ["has addresses or routes (ens1)"]}


def test_the_real_scan_sees_this_process(tmp_path: Path) -> None:
    """Against the running kernel: a node that this process holds is found by its number."""
    number = stat_number("/dev/null")
    assert number == Number("char", 1, 3)
    with open("/dev/null", "rb") as stream:
        assert stat_number(f"/proc/{os.getpid()}/fd/{stream.fileno()}") == number


def test_rules_are_read_back_and_guard_the_identity(tmp_path: Path) -> None:
    from ansible_collections.katagpu.cluster.plugins.module_utils._pci.sysfs import read_devices

    device = next(each for each in read_devices(support.build(tmp_path)) if each.address == GPU)
    line = rules.line_for(device, "vfio-pci")
    assert rules.parse(f"# other\n{line}\n") == {GPU: line} and rules.driver_of(line) == "vfio-pci"
    for word in ('ATTR{subsystem_vendor}=="0x10de"', 'ATTR{subsystem_device}=="0x1459"', "drivers_probe"):
        assert word in line
    text = rules.render('KERNEL=="x"\n', {GPU: line})
    assert text is not None and rules.render(text, {GPU: line}) == text and rules.render(text, {}) == 'KERNEL=="x"\n'


def test_writer_writes_and_reports_errors(tmp_path: Path) -> None:
    (tmp_path / "attribute").write_text("")
    writer = SysfsWriter(HostRoot(str(tmp_path)), 5.0)
    assert writer.write("/attribute", "vfio-pci\n").ok and (tmp_path / "attribute").read_text() == "vfio-pci\n"
    assert "No such file" in writer.write("/absent", "x").error


def test_writer_gives_up_on_a_write_that_does_not_return(tmp_path: Path) -> None:
    """A named pipe without a reader blocks its writer as a driver does that waits for a user."""
    os.mkfifo(tmp_path / "attribute")
    started = time.monotonic()
    outcome = SysfsWriter(HostRoot(str(tmp_path)), 0.3).write("/attribute", "x")
    assert outcome.wedged and not outcome.ok and time.monotonic() - started < 3.0
    with open(tmp_path / "attribute", "rb") as reader:
        assert reader.read() == b"x", "the writer was left alone, not killed"
    os.waitpid(-1, 0)


@pytest.mark.parametrize("name", ["/proc", "/sys", "/etc"])
def test_absent_folders_are_no_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name[1:]).mkdir()
    assert read_facts(HostRoot(str(tmp_path)))["critical"] == {}
