# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fuzzer found, reduced: each of these ended a run with a traceback, or took for ever."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci import modalias
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import netlink, network, rules
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _helm, _maintenance
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import arguments, document
from tests.fuzz.host import LINE, Files


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/proc/net/route", "Iface\nens1 x 0 1 0 0 0 0 0 0 0\nens1 00000000 0 1 0 0 0 00FF"),
        ("/proc/net/ipv6_route", "x 40 0 0 0 0 0 0 1 ens1\n"),
        ("/proc/net/ipv6_route", "0 40 0 0 0 0 0 0 MTU ens1\n"),
        ("/proc/net/ipv6_route", f"{'f' * 33} 40 0 0 0 0 0 0 1 ens1\n"),
    ],
)
def test_a_route_that_is_not_understood_still_needs_its_interface(path: str, text: str) -> None:
    routes = network.read_routes(Files({path: text.encode()}))
    assert [(route.interface, str(route.network)) for route in routes] == [("ens1", "0.0.0.0/32")] * len(routes)
    assert routes


def test_an_address_that_is_not_understood_still_needs_its_interface() -> None:
    known = network.read_configuration(Files({"/proc/net/if_inet6": b"x 02 40 00 80 ens1\n"}))
    assert [entry.interface for entry in known.addresses] == ["ens1"]


def test_a_prefix_longer_than_an_address_is_no_route() -> None:
    body = bytes([2, 33, 0, 0, 254, 3, 0, 1]) + bytes(4) + b"\x08\x00\x04\x00\x02\x00\x00\x00"
    message = (16 + len(body)).to_bytes(4, "little") + b"\x18\x00" + bytes(10) + body
    assert netlink.parse_routes(message) == []
    right = message[:17] + b"\x20" + message[18:]
    assert [route.network.prefixlen for route in netlink.parse_routes(right)] == [32]


@pytest.mark.parametrize("address", ["6", "0000:65:00", "0000:65:20.0", "::.", "0000:65:00.8"])
def test_a_line_of_ours_with_a_damaged_address_is_not_ours_any_more(address: str) -> None:
    damaged = LINE.replace("0000:65:00.0", address)
    assert rules.parse(damaged) == {}
    after = rules.render(damaged, {"0000:65:00.0": LINE}) or ""
    assert damaged in after.split("\n") and rules.parse(after) == {"0000:65:00.0": LINE}


def test_a_line_of_ours_with_a_damaged_guard_is_kept_once() -> None:
    damaged = LINE.replace("ATTR{vendor}", "AATTR{vendor}")
    once = rules.render(damaged, {"0000:65:00.0": LINE})
    assert rules.render(once, {"0000:65:00.0": LINE}) == once


def test_only_a_line_feed_ends_a_line_of_others() -> None:
    theirs = "a\r\nb\x0bc\x0cd\u2028e\x85f\n"
    after = rules.render(theirs, {"0000:65:00.0": LINE}) or ""
    assert after.endswith(theirs) and rules.render(after, {}) == theirs


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (b"*" * 200 + b"x", b"a" * 60, False),
        (b"a*" * 40 + b"x", b"a" * 60, False),
        (b"sv*sd*bc03sc02i*", b"sv000010DEsd00001482bc03sc02i00", True),
        (b"sv*sd*bc03sc00i*", b"sv000010DEsd00001482bc03sc02i00", False),
        (b"ab", b"ab", True),
        (b"ab", b"abc", False),
        (b"ab*ba", b"aba", False),
        (b"ab*ba", b"abba", True),
        (b"*b*c*", b"cb", False),
        (b"*b*c*", b"xbxcx", True),
        (b"**", b"", True),
    ],
)
def test_a_pattern_of_many_stars_is_soon_done(pattern: bytes, text: bytes, fits: bool) -> None:
    assert modalias.fits(pattern, text) is fits


CUT = gzip.compress(b'{"name": "x"}')[:-4]
OTHERS = {
    "cut": CUT,
    "list": gzip.compress(b"[]"),
    "version": gzip.compress(b'{"name": 1, "version": {"a": 1}}'),
    "deep": gzip.compress(b"[" * 99999),
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=list(OTHERS))
def test_a_release_that_is_cut_or_another_one_is_not_helms(content: bytes) -> None:
    text = base64.b64encode(base64.b64encode(content)).decode()
    assert _helm.decode({"data": {"release": text}}) is None


@pytest.mark.parametrize("values", ["5", '["a"]', '"text"'])
def test_values_that_are_no_mapping_are_no_release(values: str) -> None:
    content = gzip.compress(f'{{"name": "x", "config": {values}}}'.encode())
    text = base64.b64encode(base64.b64encode(content)).decode()
    assert _helm.decode({"data": {"release": text}}) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"cordoned_by_us": true, "rolls": 5}',
        '{"cordoned_by_us": true, "rolls": [[]]}',
        pytest.param("[" * 99999, id="deep"),
    ],
)
def test_a_mark_that_we_did_not_write_is_none(text: str) -> None:
    node: dict[str, Any] = {"metadata": {"annotations": {_maintenance.ANNOTATION: text}}}
    assert _maintenance.maintenance_mark(node) == {}
    assert _maintenance.begun_maintenance(node, "b", roll="kata-deploy")["rolls"] == ["kata-deploy"]


HEAD = "kind: KubeletConfiguration\n"


@pytest.mark.parametrize(
    "text", ["a: 2001-99-99\n", "a: !!int x\n", "a: !!bool x\n", pytest.param("a: " + "[" * 5000, id="deep")]
)
def test_a_configuration_with_an_impossible_value_is_refused(text: str) -> None:
    with pytest.raises(KatagpuError, match=r"^f is not valid YAML: .*Fix: correct the file\."):
        document.edit(HEAD + text, {"maxPods": 9}, "f")


def test_an_argument_that_looks_like_an_impossible_date_is_text() -> None:
    assert arguments.settings({"max-pods": ["2001-99-99"]}, ["maxPods"]) == {"maxPods": "2001-99-99"}
