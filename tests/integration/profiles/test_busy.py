# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process holds the device nodes of a card: nothing is taken from it while it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.profiles.machine import Machine, differing, documented, of, stopping, up

GPU, AUDIO = "0000:00:08.0", "0000:00:08.1"
# With a graphics card the operator of the default release binds its audio function too.
OWNER = ("-e", "katagpu_vfio_owner=host")
# Outside the file systems that are compared, and gone after a reboot, as a program that somebody has started.
HOLD = f"""\
set -e
modprobe uio_pci_generic
cd /sys/bus/pci/devices
for one in {GPU} {AUDIO}; do
  [ ! -e $one/driver ] || echo $one >$one/driver/unbind
  echo uio_pci_generic >$one/driver_override
  echo $one >/sys/bus/pci/drivers_probe
done
udevadm settle
systemd-run --unit=holder sh -c 'exec 8<>/dev/uio0 9<>/dev/uio1; exec sleep 86400'
sleep 2
systemctl is-active holder
"""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    for made in up("busy", request):
        made.guest(HOLD)
        yield made


def holder(machine: Machine) -> str:
    return machine.guest("systemctl show holder -p MainPID --value").strip()


def test_a_process_holds_both_functions(machine: Machine) -> None:
    assert machine.drivers() == {GPU: "uio_pci_generic", AUDIO: "uio_pci_generic"}
    held = machine.guest(f"readlink /proc/{holder(machine)}/fd/8 /proc/{holder(machine)}/fd/9").split()
    assert held == ["/dev/uio0", "/dev/uio1"]
    (group,) = [members for members in machine.groups().values() if GPU in members]
    assert sorted(group) == [GPU, AUDIO]


@pytest.mark.parametrize("device", [GPU, AUDIO])
def test_the_module_does_not_take_it(machine: Machine, device: str) -> None:
    before = machine.looks()
    result = machine.module("vfio_binding", addresses=[device], members="same_slot", live="idle")
    assert result["failed"] is True
    for text in (
        "[C01][block]",
        GPU,
        AUDIO,
        holder(machine),
        "sleep",
        "/dev/uio0",
        "/dev/uio1",
        "Nothing was changed.",
    ):
        assert text in result["msg"], result["msg"]
    assert differing(before, machine.looks()) == []


def test_preflight_leaves_it_to_the_reboot(machine: Machine) -> None:
    machine.found = machine.preflight(*OWNER)
    assert stopping(machine.found) == []
    bindings = of(machine.found, "A05")
    assert [(one["device"], one["state"]) for one in bindings] == [(one, "will_be_fixed_by") for one in (GPU, AUDIO)]
    assert all("at the next boot" in one["by"] for one in bindings)


def test_hosts_binds_at_the_boot(machine: Machine) -> None:
    process = holder(machine)
    machine.prepared(*OWNER)
    assert holder(machine) in ("", "0") != process
    assert machine.drivers() == {GPU: "vfio-pci", AUDIO: "vfio-pci"}
    machine.outcome.append(
        "The module ``vfio_binding`` refuses to take either function while it is held (``C01``, with process and device node)."
        " ``hosts.yml`` (with ``katagpu_vfio_owner: host``) takes neither from the process: both are bound at the boot of the drained reboot."
    )


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.unchanged(*OWNER)


def test_the_documentation_says_so(machine: Machine) -> None:
    documented(machine)
