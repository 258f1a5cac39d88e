# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""That a reboot is asked for where it helps and nowhere else, held against what the kernel does with the same machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._iommu.diagnose import ACTIVE, diagnose
from tests.unit.kernel_iommu import Machine

WORDS = [
    "ro",
    "quiet",
    "iommu=off",
    "iommu=pt",
    "iommu=pt,off",
    "iommu=off,soft",
    "iommu=nopt",
    "iommu.passthrough=1",
    "intel_iommu=on",
    "intel_iommu=off",
    "intel-iommu=off",
    "intel_iommu=on,sm_on",
    "intel_iommu=sm_on,off",
    "amd_iommu=on",
    "amd_iommu=off",
    "amd_iommu=fullflush,off",
    "intremap=off",
    "intremap=on",
    "intremap=nosid",
    "intremap=off,nosid",
    "intremap=on,off",
    "intremap=off,on",
    "nointremap",
    "noapic",
    "acpi=off",
    "acpi=force",
    "--",
]
LINES = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
MACHINES = st.builds(
    Machine,
    vendor=st.sampled_from(["intel", "amd", "arm"]),
    table=st.sampled_from([True, True, True, False]),
    units=st.sampled_from([None, 1, 4, 0]),
    driver=st.sampled_from([True, True, True, False]),
    default_on=st.booleans(),
    config_at_hand=st.sampled_from([True, True, False]),
    refuses=st.sampled_from([False, False, False, True]),
    remaps=st.sampled_from([True, True, False]),
    remaps_in_kernel=st.sampled_from([True, True, False]),
    guest=st.booleans(),
)
SOUND = st.builds(
    Machine,
    vendor=st.sampled_from(["intel", "amd"]),
    units=st.sampled_from([None, 1, 4]),
    default_on=st.booleans(),
    guest=st.booleans(),
)
# What only somebody who knows why it is there may take away.
BY_HAND = {"acpi=off", "noapic"}
# What else one might write, to see that nothing would have helped.
OTHER_LINES = ("", "intel_iommu=on", "intremap=on", "iommu=pt intel_iommu=on intremap=on", "acpi=force amd_iommu=on")


def edited(line: str, result: dict[str, Any]) -> str:
    """As the arguments are applied: before the part that belongs to init."""
    kernel, separator, rest = f" {line} ".partition(" -- ")
    words = [word for word in kernel.split() if word not in result["contradicting_arguments"]]
    return " ".join([*words, *result["wanted_arguments"]]) + (f" --{' ' if rest else ''}{rest}" if separator else "")


def is_unknowable(machine: Machine, line: str) -> bool:
    """That a kernel refuses shows when nothing else is in the way; without its configuration what it has is not known, and neither what
    the hardware can where no table or register says so.
    """
    silent = machine.units is None or machine.vendor == "amd"
    return (
        machine.refuses
        or (not machine.config_at_hand and not (machine.driver and machine.remaps_in_kernel))
        or (not machine.remaps and silent)
    )


@given(SOUND, LINES)
def test_on_a_sound_machine_a_reboot_is_asked_for_exactly_where_it_helps(machine: Machine, line: str) -> None:
    on, remapped = machine.kernel(line)
    result = diagnose(machine.facts(line))

    by_hand = BY_HAND & set(result["blamed_arguments"])
    assert result["reboot_would_help"] is (not (on and remapped) and not by_hand)

    then_on, then_remapped = machine.kernel(edited(line, result))
    assert then_on or by_hand, (line, edited(line, result))
    assert then_remapped or by_hand or not on


@given(MACHINES, LINES)
def test_a_reboot_that_is_asked_for_helps(machine: Machine, line: str) -> None:
    result = diagnose(machine.facts(line))
    if not result["reboot_would_help"] or is_unknowable(machine, line):
        return
    on, remapped = machine.kernel(edited(line, result))
    assert on, (line, edited(line, result))
    assert result["state"] != ACTIVE or remapped

    # Interrupt remapping is judged when there are groups, so it may come second, and then no third time.
    second = diagnose(machine.facts(edited(line, result)))
    third = diagnose(machine.facts(edited(edited(line, result), second)))
    assert second["state"] == ACTIVE and not third["reboot_would_help"]


@given(MACHINES, LINES)
def test_a_kernel_that_refuses_is_asked_once(machine: Machine, line: str) -> None:
    machine = replace(machine, refuses=True, config_at_hand=True)
    first = diagnose(machine.facts(line))

    second = diagnose(machine.facts(edited(line, first)))

    assert not second["reboot_would_help"]


@given(MACHINES, LINES)
def test_where_no_reboot_is_asked_for_none_would_help(machine: Machine, line: str) -> None:
    result = diagnose(machine.facts(line))
    if result["reboot_would_help"] or BY_HAND & set(result["blamed_arguments"]):
        return
    on, remapped = machine.kernel(line)

    for other in OTHER_LINES:
        better_on, better_remapped = machine.kernel(other)
        assert on or not better_on, (line, other)
        assert not on or remapped or not better_remapped, (line, other)


@given(MACHINES, LINES)
def test_the_state_is_what_there_is(machine: Machine, line: str) -> None:
    on, remapped = machine.kernel(line)

    result = diagnose(machine.facts(line))

    assert (result["state"] == ACTIVE) is on
    assert bool(result["reasons"]) is not (on and (remapped or machine.vendor == "arm"))
    assert len(result["reasons"]) == len(result["causes"]) and all(result["reasons"])
    assert bool(result["remedies"]) is bool(result["reasons"])
    assert set(result["contradicting_arguments"]) <= set(result["blamed_arguments"]) <= set(line.split())
    groups = next(layer for layer in result["layers"] if layer["layer"] == "groups")
    assert groups["ok"] is on


@pytest.mark.parametrize(
    ("machine", "line", "asked"),
    [
        (Machine(default_on=True), "intremap=off", True),
        (Machine(default_on=True, remaps=False), "intremap=off", False),
        (Machine(default_on=True, remaps_in_kernel=False), "intremap=off", False),
        (Machine(default_on=True), "intremap=on nointremap", True),
        (Machine(default_on=True), "nointremap intremap=on", False),
        (Machine(default_on=True), "noapic", False),
        (Machine(default_on=True), "intremap=on,off", True),
        (Machine(default_on=True), "intremap=off,on", False),
        (Machine(units=0), "quiet", False),
        (Machine(units=None), "quiet", True),
        (Machine(vendor="amd", units=0), "iommu=off", False),
    ],
)
def test_cases_that_are_easily_got_wrong(machine: Machine, line: str, asked: bool) -> None:
    assert diagnose(machine.facts(line))["reboot_would_help"] is asked
