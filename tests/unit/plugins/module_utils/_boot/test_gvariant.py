# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The format of a staged deployment, written here by the rules of its specification and read by the product."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import gvariant, ostree


def number(value: int, width: int) -> bytes:
    return value.to_bytes(width, "little")


def framed(parts: list[bytes], alignment: int) -> bytes:
    """An array of elements of no fixed size: padded, and behind them where each ends."""
    body, ends = b"", []
    for part in parts:
        body += bytes(-len(body) % alignment) + part
        ends.append(len(body))
    if not parts:
        return b""
    width = next(width for width in (1, 2, 4) if len(body) + width * len(ends) < 1 << 8 * width)
    return body + b"".join(number(end, width) for end in ends)


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def entry(key: str, value: bytes, kind: str) -> bytes:
    name = text(key)
    body = name + bytes(-len(name) % 8) + value + b"\0" + kind.encode()
    width = next(width for width in (1, 2, 4) if len(body) + width < 1 << 8 * width)
    return body + number(len(name), width)


def dictionary(content: dict[str, str | list[str]]) -> bytes:
    return framed(
        [
            entry(key, text(value), "s")
            if isinstance(value, str)
            else entry(key, framed([text(each) for each in value], 1), "as")
            for key, value in content.items()
        ],
        8,
    )


WORD = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=40)


@given(st.dictionaries(WORD.filter(bool), st.one_of(WORD, st.lists(WORD, max_size=12)), max_size=5))
def test_what_is_written_is_read(content: dict[str, str | list[str]]) -> None:
    assert gvariant.dictionary(dictionary(content)) == content


def test_long_arrays_have_wide_tables() -> None:
    content: dict[str, str | list[str]] = {"kargs": [f"word{place}=x" for place in range(9000)]}
    assert gvariant.dictionary(dictionary(content)) == content


def test_values_of_other_types_are_nothing() -> None:
    assert gvariant.dictionary(framed([entry("n", number(7, 4), "u")], 8)) == {"n": None}
    assert gvariant.dictionary(b"") == {}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "the table of an array lies outside it"),
        (b"abc\x04\x09\x03", "an element lies outside its array"),
        (framed([b"ab\x09"], 8), "a key does not end inside its entry"),
        (framed([entry("a", b"x", "s")], 8), "a string has no end"),
        (framed([text("a") + bytes(6) + b"x" + b"\x02"], 8), "a value has no type"),
    ],
)
def test_what_is_no_dictionary_is_said(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        gvariant.dictionary(data)
    assert not ostree.is_readable(data)


def test_arguments_that_are_no_list_are_not_readable() -> None:
    assert ostree.is_readable(None)
    assert ostree.is_readable(dictionary({"kargs": ["ro"]}))
    assert not ostree.is_readable(dictionary({"kargs": "ro"}))
    assert not ostree.is_readable(dictionary({"name": "x"}))


@pytest.mark.parametrize("version", ["²", pytest.param("9" * 5000, id="long"), "1.2", ""])
def test_a_version_that_is_no_number_comes_last(version: str) -> None:
    entries = {"/e/a.conf": f"title a\nversion {version}\n", "/e/b.conf": "title b\nversion 2\n"}
    found = ostree.deployments(entries, None)
    assert list(found) == ["/e/b.conf", "/e/a.conf"]
    assert [each[0]["managed"] for each in found.values()] == [True, False]
