# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB's environment block, and a doubt about what grub-mkconfig will make of the files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import drop_in, grub_env, grub_plan, wishes
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

HEADER = "# GRUB Environment Block\n"


def block(body: str) -> str:
    return HEADER + body + "#" * (1024 - len(HEADER + body))


NAME = st.sampled_from(["a", "kernelopts", "saved_entry"])
VALUE = st.text(alphabet="ab =\\/-$", max_size=20)


@given(st.dictionaries(NAME, VALUE), NAME, VALUE)
def test_one_variable_is_set_and_the_others_stay(before: dict[str, str], name: str, value: str) -> None:
    text = HEADER
    for each, content in before.items():
        text = grub_env.with_value(text, each, content)
    assert grub_env.parse(text) == before
    after = grub_env.with_value(text, name, value)
    assert grub_env.parse(after) == {**before, name: value} and len(after) == 1024
    assert grub_env.with_value(after, name, value) == after


def test_of_two_assignments_the_last_one_counts_and_is_set() -> None:
    text = grub_env.with_value(block("kernelopts\nkernelopts=a\nx=1\nkernelopts=b\n"), "kernelopts", "c")
    assert grub_env.parse(text) == {"kernelopts": "c", "x": "1"}


def test_a_block_that_would_not_hold_is_refused() -> None:
    with pytest.raises(
        KatagpuError, match=r"has 1024 bytes, and kernelopts would make it 1\d{3}\. Nothing was changed"
    ):
        grub_env.with_value(block("a=b\n"), "kernelopts", "x" * 1000)


def facts(defaults: str, generated: str | None) -> dict[str, Any]:
    lines = [] if generated is None else [{"arguments": generated, "managed": True}]
    return {
        "files": {"/etc/default/grub": defaults},
        "drop_ins": True,
        "regenerate": ["update-grub"],
        "generated": {"/boot/grub/grub.cfg": lines},
    }


DOUBTFUL = 'GRUB_CMDLINE_LINUX="iommu=pt"\n. /etc/other\n'


@pytest.mark.parametrize(("generated", "written"), [("ro iommu=pt", False), ("ro", True), (None, True)])
def test_where_only_a_shell_can_tell_what_was_generated_decides(generated: str | None, written: bool) -> None:
    edited = grub_plan.plan(facts(DOUBTFUL, generated), wishes.read(["iommu=pt"], []))
    assert (drop_in.PATH in edited.writes) is written
    assert edited.uncertain == ["/etc/default/grub: line 2: . /etc/other: . can change any variable"]


def test_an_argument_that_a_doubtful_file_takes_back_is_written_all_the_same() -> None:
    text = 'if true; then GRUB_CMDLINE_LINUX="x"; fi\nGRUB_CMDLINE_LINUX="iommu=off"\n'
    edited = grub_plan.plan(facts(text, "iommu=off"), wishes.read(["iommu=pt"], []))
    assert "iommu=pt" in (edited.writes[drop_in.PATH] or "")
