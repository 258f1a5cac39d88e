# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import bls, grub_env, gvariant
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

ENTRY = "# comment\ntitle  A b\noptions\troot=/dev/a  ro \r\n  linux /v\noptions x=1\nempty\n"


def test_fields_are_read_with_their_place() -> None:
    found = bls.fields(ENTRY)
    assert [(field.key, field.value) for field in found] == [
        ("title", "A b"),
        ("options", "root=/dev/a  ro"),
        ("linux", "/v"),
        ("options", "x=1"),
        ("empty", ""),
    ]
    assert all(ENTRY[field.start : field.end] == field.value for field in found)
    assert bls.with_value(ENTRY, found[1], "z") == ENTRY.replace("root=/dev/a  ro", "z")
    assert bls.with_value(ENTRY, found[4], "z") == ENTRY.replace("empty\n", "empty z\n")


@given(st.text(alphabet="opt ions\t\r\n#=$ab", max_size=60), st.integers(0, 5))
def test_writing_back_what_was_read_changes_nothing(text: str, place: int) -> None:
    for field in bls.fields(text):
        if field.value:
            assert bls.with_value(text, field, field.value) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a b", ["1", "2", "b"]),
        ("x $none y", ["x", "y"]),
        ("\\$a", ["\\$a"]),
        ("$a$a", ["1", "2", "1", "2"]),
    ],
)
def test_variables_are_put_in_as_grub_does(text: str, expected: list[str]) -> None:
    assert bls.expand(text, {"a": "1 2"}).split() == expected


def test_the_newest_version_sorts_last() -> None:
    names = ["m-4.18.0-513.24.1.el8", "m-4.18.0-553.el8_10", "m-5.14.0-9.el9", "m-5.14.0-70.el9"]
    paths = [f"/boot/loader/entries/{name}.conf" for name in names]
    assert sorted(reversed(paths), key=bls.order) == paths


def test_the_count_of_attempts_is_not_part_of_the_name() -> None:
    assert bls.identity("/efi/loader/entries/a-6.1+3-1.conf") == "a-6.1"
    assert bls.identity("/efi/loader/entries/a-6.1+deb.conf") == "a-6.1+deb"


NAMES = st.text(alphabet="abcdef_", min_size=1, max_size=8)
VALUES = st.text(alphabet='abc =#\\"$/', max_size=30)


@given(st.dictionaries(NAMES, VALUES, max_size=6), NAMES, VALUES)
def test_the_environment_block_round_trips(values: dict[str, str], name: str, value: str) -> None:
    text = ""
    for key, content in values.items():
        text = grub_env.with_value(text, key, content)
    assert grub_env.parse(text) == values
    after = grub_env.with_value(text, name, value)
    assert grub_env.parse(after) == {**values, name: value}
    assert len(after.encode()) == 1024 and after.startswith("# GRUB Environment Block\n")


def test_a_block_that_would_be_too_long_is_refused() -> None:
    with pytest.raises(KatagpuError, match=r"has 1024 bytes, and a would make it \d+. Nothing was changed"):
        grub_env.with_value("", "a", "x" * 1000)
    assert len(grub_env.with_value("", "a", "x" * (1024 - 25 - 3))) == 1024


def test_comments_of_the_block_stay() -> None:
    text = "# GRUB Environment Block\n# WARNING: Do not edit\na=1\n###"
    assert grub_env.with_value(text, "a", "2").startswith("# GRUB Environment Block\n# WARNING: Do not edit\na=2\n#")


def test_what_grub_cfg_sets_in_any_case_and_what_only_where_the_block_does_not() -> None:
    text = 'if [ -z "${kernelopts}" ]; then\n  set kernelopts="root=a ro "\nfi\nset tuned_params="x"\nset n=\'1\'\n'
    assert grub_env.assigned(text) == ({"tuned_params": "x", "n": "1"}, {"kernelopts": "root=a ro "})


@given(st.binary(max_size=200))
def test_any_bytes_are_a_dictionary_or_refused(data: bytes) -> None:
    try:
        found = gvariant.dictionary(data)
    except ValueError:
        return
    assert all(isinstance(key, str) for key in found)
