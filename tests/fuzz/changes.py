# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs made from seeds by a random generator: where atheris is not there, and for the few seconds among the unit tests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_SPECIAL = (
    *(b"\n", b"\0", b'"', b"'", b"\\", b"=", b"$(", b"${", b"`", b"#", b"--", b" ", b"\t", b"\r", b"{", b"[", b"("),
    *(
        b"0",
        b"-1",
        b"9" * 30,
        b"\xff",
        b"\xc2\xb2",
        b"\xd9\xa1",
        b"if ",
        b"!!int ",
        b"2001-99-99",
        b"&a ",
        b"*a ",
        b": ",
    ),
)
LONGEST = 8192


def inputs(seeds: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """First the seeds, then changes of them without an end; the same for the same number."""
    source = random.Random(seed)
    yield from seeds
    yield b""
    while True:
        data = bytearray(source.choice(seeds))
        for _change in range(source.choice((1, 1, 2, 4, 16))):
            _change_one(source, data, seeds)
        yield bytes(data[:LONGEST])


def _change_one(source: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    place = source.randrange(len(data) + 1)
    end = min(len(data), place + source.choice((1, 1, 2, 8, 64)))
    kind = source.randrange(6)
    if kind == 0:
        del data[place:end]
    elif kind == 1:
        data[place:place] = source.choice(_SPECIAL)
    elif kind == 2:
        data[place:end] = bytes(source.randrange(256) for _byte in range(end - place))
    elif kind == 3:
        data[place:place] = data[place:end] * source.choice((1, 2, 50))
    elif kind == 4:
        other = source.choice(seeds)
        start = source.randrange(len(other) + 1)
        data[place:end] = other[start : start + source.choice((4, 32, 256))]
    elif place < len(data):
        data[place] ^= 1 << source.randrange(8)
