# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PCI functions carry the host's network, through bonds, bridges and VLANs."""

from __future__ import annotations

import ipaddress
from typing import Dict, List, NamedTuple, Optional, Set, Union

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import pci_address_of

_NET = "/sys/class/net"
_DEPTH = 8
_UP = 0x1
_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class Route(NamedTuple):
    interface: str
    network: _Network


def read_network(root: HostRoot, ssh_connection: str = "") -> Dict[str, List[str]]:
    """Address to reasons such as C(carries the default route (bond0)).

    C(ssh_connection) is the variable of that name of the session, which the caller has and a reader does not look for.
    """
    routes = read_routes(root)
    session = _session_interface(routes, ssh_connection)
    found: Dict[str, List[str]] = {}
    for interface in sorted({route.interface for route in routes} | _addressed(root)):
        reasons = []
        if any(route.interface == interface and route.network.prefixlen == 0 for route in routes):
            reasons.append("carries the default route")
        if interface == session:
            reasons.append("carries this SSH session")
        if not reasons:
            reasons.append("has addresses or routes")
        for lower in _lowers(root, interface):
            address = pci_address_of(root.resolve(f"{_NET}/{lower}/device") or "")
            if address is not None:
                for reason in reasons:
                    via = lower if lower == interface else f"{lower} below {interface}"
                    found.setdefault(address, []).append(f"{reason} ({via})")
    return found


def read_routes(root: HostRoot) -> List[Route]:
    routes = []
    for line in (root.read("/proc/net/route") or "").splitlines()[1:]:
        words = line.split()
        if len(words) >= 8 and words[0] != "lo":
            network = ipaddress.ip_network(f"{_little_endian(words[1])}/{_little_endian(words[7])}", strict=False)
            routes.append(Route(words[0], network))
    for line in (root.read("/proc/net/ipv6_route") or "").splitlines():
        words = line.split()
        if len(words) < 10 or words[9] == "lo" or not int(words[8], 16) & _UP:
            continue
        network6 = ipaddress.ip_network((int(words[0], 16).to_bytes(16, "big"), int(words[1], 16)), strict=False)
        if not (network6.is_link_local or network6.is_multicast):
            routes.append(Route(words[9], network6))
    return routes


def _addressed(root: HostRoot) -> Set[str]:
    """Interfaces with an IPv6 address that is more than the automatic link-local one."""
    found = set()
    for line in (root.read("/proc/net/if_inet6") or "").splitlines():
        words = line.split()
        if len(words) >= 6 and words[5] != "lo" and not words[0].startswith("fe80"):
            found.add(words[5])
    return found


def _session_interface(routes: List[Route], ssh_connection: str) -> Optional[str]:
    """The interface by which the client of the session is reached: the longest matching route."""
    words = ssh_connection.split()
    if len(words) < 3:
        return None
    try:
        client = ipaddress.ip_address(words[0].partition("%")[0])
    except ValueError:
        return None
    matching = [route for route in routes if route.network.version == client.version and client in route.network]
    return max(matching, key=lambda route: route.network.prefixlen).interface if matching else None


def _lowers(root: HostRoot, interface: str, depth: int = 0) -> Set[str]:
    """The interface and all below it, VLANs of bonds of cards included."""
    found = {interface}
    if depth < _DEPTH:
        for name in root.list(f"{_NET}/{interface}"):
            if name.startswith("lower_"):
                found |= _lowers(root, name[len("lower_") :], depth + 1)
    return found


def _little_endian(text: str) -> str:
    return str(ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(text), "little")))
