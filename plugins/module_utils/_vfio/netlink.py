# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and routes as the kernel has them, of all tables: C(/proc/net/route) shows one table and no IPv4 address."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Dict, Iterator, List, NamedTuple, Tuple, Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

# linux/netlink.h and linux/rtnetlink.h.
_GET_ADDRESSES, _GET_ROUTES = 22, 26
_NEW_ADDRESS, _NEW_ROUTE = 20, 24
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
_UNICAST = 1
_LOCAL = 255
_ADDRESS, _LOCAL_ADDRESS = 1, 2
_DESTINATION, _INTERFACE, _MULTIPATH, _TABLE = 1, 4, 9, 15
_FAMILIES: Dict[int, int] = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}
_BUFFER = 256 * 1024
_SECONDS = 5.0


class IndexedRoute(NamedTuple):
    interface: int
    table: int
    network: Network


def read_addresses() -> List[Tuple[int, Address]]:
    """Index of the interface and address."""
    return [entry for family in _FAMILIES for entry in parse_addresses(_dump(_GET_ADDRESSES, family))]


def read_routes() -> List[IndexedRoute]:
    return [entry for family in _FAMILIES for entry in parse_routes(_dump(_GET_ROUTES, family))]


def parse_addresses(data: bytes) -> List[Tuple[int, Address]]:
    found = []
    for kind, body in _messages(data):
        if kind == _NEW_ADDRESS and len(body) >= 8:
            index = struct.unpack_from("=I", body, 4)[0]
            values = dict(_attributes(body, 8))
            raw = values.get(_LOCAL_ADDRESS) or values.get(_ADDRESS) or b""
            if len(raw) in _FAMILIES.values():
                found.append((index, ipaddress.ip_address(raw)))
    return found


def parse_routes(data: bytes) -> List[IndexedRoute]:
    """Those by which packets leave; a route over several interfaces is one for each."""
    found = []
    for kind, body in _messages(data):
        if kind != _NEW_ROUTE or len(body) < 12:
            continue
        family, length, table, of_type = body[0], body[1], body[4], body[7]
        values: Dict[int, bytes] = dict(_attributes(body, 12))
        if of_type != _UNICAST or family not in _FAMILIES:
            continue
        table = _number(values.get(_TABLE, b"")) or table
        raw = values.get(_DESTINATION) or bytes(_FAMILIES[family])
        indexes = [_number(values[_INTERFACE])] if _INTERFACE in values else []
        indexes += _hops(values.get(_MULTIPATH, b""))
        if table != _LOCAL and len(raw) == _FAMILIES[family] and length <= 8 * len(raw):
            network = ipaddress.ip_network((raw, length), strict=False)
            found += [IndexedRoute(index, table, network) for index in indexes]
    return found


def _dump(kind: int, family: int) -> bytes:
    """Raises OSError where the kernel does not answer as it should."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as connection:
        connection.settimeout(_SECONDS)
        connection.bind((0, 0))
        body = struct.pack("=B11x", family)
        connection.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_DUMP, 1, 0) + body)
        parts = []
        while True:
            part = connection.recv(_BUFFER)
            parts.append(part)
            kinds = [found for found, _body in _messages(part)]
            if _ERROR in kinds or not kinds:
                raise OSError("the kernel refused to list addresses or routes")
            if _DONE in kinds:
                return b"".join(parts)


def _messages(data: bytes) -> Iterator[Tuple[int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if length < 16:
            return
        yield kind, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes, offset: int) -> Iterator[Tuple[int, bytes]]:
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _hops(data: bytes) -> List[int]:
    found, offset = [], 0
    while offset + 8 <= len(data):
        length, index = struct.unpack_from("=HxxI", data, offset)
        if length < 8:
            break
        found.append(index)
        offset += (length + 3) & ~3
    return found


def _number(data: bytes) -> int:
    return int(struct.unpack("=I", data)[0]) if len(data) == 4 else 0
