# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lspci would print of each described machine, in each style, gives back the facts that the style shows."""

from __future__ import annotations

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.lspci import parse
from tests.unit import lspci_render, machines

MACHINES = {name: machines.load(name) for name in machines.names()}


@pytest.mark.parametrize("distortion", sorted(lspci_render.DISTORTIONS))
@pytest.mark.parametrize("style_name", sorted(lspci_render.STYLES))
def test_a_rendered_machine_is_read_back(style_name: str, distortion: str) -> None:
    style = lspci_render.STYLES[style_name]
    for name, machine in MACHINES.items():
        text = lspci_render.DISTORTIONS[distortion](lspci_render.render(machine, style))

        devices, unparsed = parse(text)

        assert unparsed == [], name
        functions = sorted(machine["pci"], key=lambda function: machines.sort_key(function["address"]))
        assert [device.address for device in devices] == [function["address"] for function in functions]
        for device, function in zip(devices, functions, strict=True):
            wanted = lspci_render.expected(function, style)
            found = {key: value for key, value in device.as_dict().items() if key in wanted}
            assert found == wanted, name


def test_there_are_enough_machines_of_enough_kinds() -> None:
    described = list(MACHINES.values())
    functions = [function for machine in described for function in machine["pci"]]

    assert len(described) >= 14
    assert all(machine["source"] for machine in described)
    assert {function["address"].split(":")[0] for function in functions} >= {"0000", "0008", "0009", "10000"}
    assert sum(all(function["vendor"] != "10de" for function in machine["pci"]) for machine in described) >= 3
