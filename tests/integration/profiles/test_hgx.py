# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight equal GPUs and four equal NVSwitches: all or none for the stack, any of them for the module, and bound before the kubelet."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.profiles.machine import Machine, differing, documented, of, stopping, up

GPUS = [f"0000:00:{slot:02x}.0" for slot in range(8, 16)]
SWITCHES = [f"0000:00:{slot:02x}.0" for slot in range(16, 20)]
ONE = GPUS[3]
OWNER = ("-e", "katagpu_vfio_owner=host")
# What the kubelet finds when it starts is written down by its own unit, in which a dollar sign is doubled.
NOTE = """\
[Service]
ExecStartPre=/bin/sh -c 'cd /sys/bus/pci/devices; for one in *; do echo "$$one $$(readlink $$one/driver)"; done >/run/at-kubelet'
"""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    for made in up("hgx", request):
        made.put("/etc/systemd/system/kubelet.service.d/note.conf", NOTE)
        yield made


def on_vfio(machine: Machine) -> list[str]:
    return sorted(address for address, driver in machine.drivers().items() if driver == "vfio-pci")


def at_kubelet(machine: Machine) -> list[str]:
    """On vfio-pci when the kubelet of this boot was started."""
    rows = [line.split() for line in machine.guest("cat /run/at-kubelet").splitlines()]
    return sorted(row[0] for row in rows if len(row) > 1 and row[1].endswith("/vfio-pci"))


def seconds_before_the_kubelet(machine: Machine) -> float:
    """Between the last device node of a VFIO group, which comes with the binding, and the start of the kubelet's unit."""
    clock = machine.guest(
        "stat -c %.Y /dev/vfio/[0-9]*; echo; systemctl show kubelet -p ExecMainStartTimestampMonotonic --value;"
        " cut -d' ' -f1 /proc/uptime; date +%s.%N"
    )
    nodes, rest = clock.strip().split("\n\n")
    monotonic, uptime, now = rest.split()
    last = max(float(one) for one in nodes.split()) - float(now) + float(uptime)
    return int(monotonic) / 1e6 - last


def test_each_function_has_a_group_of_its_own(machine: Machine) -> None:
    groups = [members for members in machine.groups().values() if set(members) & {*GPUS, *SWITCHES}]
    assert sorted(groups) == [[address] for address in (*GPUS, *SWITCHES)]
    listing = machine.guest("lspci -Dn -d 10de:").splitlines()
    assert [line.split()[1:3] for line in listing] == [["0302:", "10de:2336"]] * 8 + [["0680:", "10de:22a3"]] * 4


def test_preflight_knows_gpus_and_switches(machine: Machine) -> None:
    machine.found = machine.preflight(*OWNER)
    assert stopping(machine.found) == []
    (switches,) = of(machine.found, "nvswitch")
    assert "4 NVSwitches" in switches["fact"]


def test_the_stack_refuses_a_part_of_the_gpus(machine: Machine) -> None:
    only = (*OWNER, "-e", json.dumps({"host_vfio_addresses": [ONE]}))
    before = machine.looks()
    run = machine.run("hosts", *only)
    assert run.returncode != 0, run.output
    (block,) = stopping(machine.findings())
    assert block["id"] == "partial_gpu_node"
    assert [address for address in GPUS if address not in block["fact"]] == [ONE]
    assert not any(run.changed.values()), run.recap
    assert differing(before, machine.looks()) == []
    machine.outcome.append("With one GPU named, ``hosts.yml`` refuses it (``partial_gpu_node``) and leaves it alone.")


def test_the_module_takes_a_part_of_them(machine: Machine) -> None:
    result = machine.module("vfio_binding", addresses=[ONE], live="idle")
    assert result["failed"] is False, result
    assert on_vfio(machine) == [ONE]
    assert machine.module("vfio_binding", addresses=[ONE], live="idle")["changed"] is False
    back = machine.module("vfio_binding", addresses=[ONE], live="idle", state="restored")
    assert back["failed"] is False, back
    assert on_vfio(machine) == []
    assert machine.guest("ls /etc/udev/rules.d/10-katagpu-vfio.rules 2>&1 || true").endswith(
        "No such file or directory\n"
    )
    machine.outcome.append("The module ``vfio_binding`` alone binds one of the eight equal GPUs, and gives it back.")


def test_all_are_bound_before_the_kubelet(machine: Machine) -> None:
    """The switches are asked for by the module, whose lines stay; hosts.yml does the GPUs, and the boot."""
    result = machine.module("vfio_binding", addresses=SWITCHES)
    assert result["failed"] is False and result["reboot_required"] is True, result
    assert on_vfio(machine) == []
    machine.prepared(*OWNER)
    assert on_vfio(machine) == at_kubelet(machine) == [*GPUS, *SWITCHES]
    assert seconds_before_the_kubelet(machine) > 0


def test_and_again_at_the_boot_after_that(machine: Machine) -> None:
    machine.reboot()
    assert on_vfio(machine) == at_kubelet(machine) == [*GPUS, *SWITCHES]
    early = seconds_before_the_kubelet(machine)
    print(f"bound {early:.1f} s before the kubelet")
    assert early > 0
    machine.outcome.append(
        "``hosts.yml`` (with ``katagpu_vfio_owner: host``) writes the bindings of all eight, drains the node and reboots it once; the"
        " NVSwitches were asked for with ``vfio_binding``. After that reboot and after another one all twelve are on ``vfio-pci`` before"
        " the kubelet starts."
    )


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.unchanged(*OWNER)


def test_the_documentation_says_so(machine: Machine) -> None:
    documented(machine)
