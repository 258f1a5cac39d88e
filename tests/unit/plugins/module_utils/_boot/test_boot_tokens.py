# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import tokens

TEXT = st.text(alphabet='ab-_=," \t\n.', max_size=40)


@given(TEXT)
def test_parsing_loses_nothing(text: str) -> None:
    assert str(tokens.parse(text)) == text


@given(st.text(max_size=60))
def test_parsing_loses_nothing_of_any_text(text: str) -> None:
    assert str(tokens.parse(text)) == text


@given(TEXT)
def test_tokens_are_separated_by_white_space_outside_quotes_only(text: str) -> None:
    for token in tokens.parse(text).tokens:
        outside = "".join(token.text.split('"')[::2])
        assert token.text and not any(char.isspace() for char in outside)


@given(TEXT, st.sampled_from(["a", "b", "a_a", "ab"]))
def test_removing_takes_the_named_tokens_and_no_other(text: str, key: str) -> None:
    line = tokens.parse(text)
    after = tokens.without(line, lambda token: token.key == key)
    assert [token.text for token in after.tokens] == [token.text for token in line.tokens if token.key != key]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("quiet", "quiet", None),
        ("intel-iommu=on", "intel_iommu", "on"),
        ('dyndbg="file a +p"', "dyndbg", "file a +p"),
        ('"dyndbg=file a +p"', "dyndbg", "file a +p"),
        ("root=UUID=1-2", "root", "UUID=1-2"),
        ("console=", "console", ""),
        ("vfio-pci.ids=10de:2236", "vfio_pci.ids", "10de:2236"),
    ],
)
def test_token_is_split_as_the_kernel_does(text: str, key: str, value: str | None) -> None:
    assert tokens.token(text) == (text, key, value)


@pytest.mark.parametrize(
    ("line", "wanted", "expected"),
    [
        ("intel_iommu=off intel_iommu=on", "intel_iommu=on", True),
        ("intel_iommu=on intel_iommu=off", "intel_iommu=on", False),
        ("intel-iommu=on", "intel_iommu=on", True),
        ("intel_iommu=on,sm_on", "intel_iommu=on", False),
        ("console=ttyS0 console=tty0", "console=ttyS0", True),
        ("modprobe.blacklist=a,nouveau modprobe.blacklist=b", "modprobe.blacklist=nouveau", True),
        ("modprobe.blacklist=nouveaux", "modprobe.blacklist=nouveau", False),
        ("splash quiet", "quiet", True),
        ("quietly", "quiet", False),
        ("-- intel_iommu=on", "intel_iommu=on", False),
        ('"foo=a b"', 'foo="a b"', True),
    ],
)
def test_carries(line: str, wanted: str, expected: bool) -> None:
    assert tokens.carries(tokens.parse(line), tokens.token(wanted)) is expected


@pytest.mark.parametrize(
    ("line", "gone", "expected"),
    [
        ("a b c", "a", "b c"),
        ("a  b c", "b", "a c"),
        ("a b  c ", "c", "a b "),
        (" a", "a", " "),
        ("a a", "a", ""),
        ("b -- a", "a", "b -- a"),
    ],
)
def test_white_space_goes_with_its_token(line: str, gone: str, expected: str) -> None:
    assert str(tokens.without(tokens.parse(line), lambda token: token.key == gone)) == expected
