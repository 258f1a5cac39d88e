# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PCI functions carry the host's network, through bonds, bridges and VLANs."""

from __future__ import annotations

import ipaddress
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import netlink
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES, functions_of

_NET = "/sys/class/net"
_DEPTH = 8
_UP = 0x1
_MAIN = 254
_LIMIT = 4 * 1024 * 1024
_UNKNOWN = ipaddress.ip_network("0.0.0.0/32")


class Route(NamedTuple):
    interface: str
    network: netlink.Network
    table: int = _MAIN


class Address(NamedTuple):
    interface: str
    address: netlink.Address


class Configuration(NamedTuple):
    routes: List[Route]
    addresses: List[Address]


def read_network(
    root: HostRoot, ssh_connection: str = "", configuration: Optional[Configuration] = None
) -> Dict[str, List[str]]:
    """Address to reasons such as C(carries the default route (bond0)).

    C(ssh_connection) is the variable of that name of the session, which the caller has and a reader does not look for.
    """
    known = configuration or read_configuration(root)
    sessions = _session_interfaces(known, ssh_connection)
    found: Dict[str, List[str]] = {}
    for interface, reasons in _carriers(known, sessions).items():
        for lower in sorted(_lowers(root, interface)):
            via = lower if lower == interface else f"{lower} below {interface}"
            for address in _functions(root, lower):
                found.setdefault(address, []).extend(f"{reason} ({via})" for reason in reasons)
    for interface in root.list(_NET):
        reason = _suspicion(root, interface)
        for address in _functions(root, interface) if reason else ():
            found.setdefault(address, [f"{reason} ({interface})"])
    for address, driver in _moved(root):
        found.setdefault(address, [f"has its interface in another network namespace (driver {driver})"])
    return found


def _carriers(known: Configuration, sessions: Set[str]) -> Dict[str, List[str]]:
    """Interface to what the host does by it."""
    defaults: Dict[str, Set[int]] = {}
    for route in known.routes:
        if not route.network.prefixlen:
            defaults.setdefault(route.interface, set()).add(route.table)
    used = {route.interface for route in known.routes} | {entry.interface for entry in known.addresses} | sessions
    carriers = {}
    for interface in sorted(used):
        tables = defaults.get(interface, set())
        other = "" if _MAIN in tables or not tables else f" of table {min(tables)}"
        reasons = [f"carries the default route{other}"] if tables else []
        reasons += ["carries this SSH session"] if interface in sessions else []
        carriers[interface] = reasons or ["has addresses or routes"]
    return carriers


def _suspicion(root: HostRoot, interface: str) -> Optional[str]:
    """What speaks for a use that has no address on this interface nor on one above it."""
    master = root.link_name(f"{_NET}/{interface}/master")
    if master is not None:
        # Of Open vSwitch, or of a bridge that only virtual machines use.
        return f"is a port of {master}"
    if _is_connected(root, interface):
        # Containers may have interfaces on top of it that are not seen from here.
        return "is up with a link; set it down if nothing needs it"
    return None


def _is_connected(root: HostRoot, interface: str) -> bool:
    flags = root.read_line(f"{_NET}/{interface}/flags") or ""
    up = flags.startswith("0x") and int(flags, 16) & _UP
    return bool(up) and root.read_line(f"{_NET}/{interface}/carrier") == "1"


def _functions(root: HostRoot, interface: str) -> List[str]:
    """With the physical function that a virtual one goes down with."""
    found = functions_of(root, root.resolve(f"{_NET}/{interface}/device") or "")
    for address in list(found):
        physical = root.link_name(f"{PCI_DEVICES}/{address}/physfn")
        found += [physical] if physical is not None and physical not in found else []
    return found


def _moved(root: HostRoot) -> Iterator[Tuple[str, str]]:
    """The folder stays when the interface goes to a container, and shows only what is in this namespace."""
    for address in root.list(PCI_DEVICES):
        folder = f"{PCI_DEVICES}/{address}/net"
        if root.is_dir(folder) and not root.list(folder):
            driver = root.link_name(f"{PCI_DEVICES}/{address}/driver")
            if driver is not None:
                yield address, driver


def read_configuration(root: HostRoot) -> Configuration:
    """From the kernel where this is its system; a copied tree has less."""
    if root.is_live:
        names = {root.read_line(f"{_NET}/{name}/ifindex"): name for name in root.list(_NET)}
        try:
            routes = [
                Route(names.get(str(each.interface), ""), each.network, each.table) for each in netlink.read_routes()
            ]
            addresses = [Address(names.get(str(index), ""), address) for index, address in netlink.read_addresses()]
        except OSError:
            pass
        else:
            return Configuration(
                [route for route in routes if _counts(route.interface, route.network.network_address)],
                [entry for entry in addresses if _counts(entry.interface, entry.address)],
            )
    return Configuration(read_routes(root), _addressed(root))


def _counts(interface: str, address: netlink.Address) -> bool:
    """The automatic address that every interface has in version 6 is no use of it."""
    automatic = address.version == 6 and (address.is_link_local or address.is_multicast)
    return interface not in ("", "lo") and not automatic


def read_routes(root: HostRoot) -> List[Route]:
    routes = []
    for line in (root.read("/proc/net/route", _LIMIT) or "").splitlines()[1:]:
        words = line.split()
        if len(words) >= 8 and words[0] != "lo":
            routes.append(Route(words[0], _network(words[1], words[7])))
    for line in (root.read("/proc/net/ipv6_route", _LIMIT) or "").splitlines():
        words = line.split()
        if len(words) < 10 or words[9] == "lo":
            continue
        network6 = _network6(words[0], words[1], words[8])
        if network6 is not None and not (network6.is_link_local or network6.is_multicast):
            routes.append(Route(words[9], network6))
    return routes


def _network(destination: str, mask: str) -> netlink.Network:
    """A line that is not understood, such as the last one of a text that is cut, still says that its interface is needed."""
    try:
        return ipaddress.ip_network(f"{_little_endian(destination)}/{_little_endian(mask)}", strict=False)
    except ValueError:
        return _UNKNOWN


def _network6(destination: str, length: str, flags: str) -> Optional[netlink.Network]:
    """Nothing for a route that is not in use."""
    try:
        if not int(flags, 16) & _UP:
            return None
        return ipaddress.ip_network((int(destination, 16).to_bytes(16, "big"), int(length, 16)), strict=False)
    except (ValueError, OverflowError):
        return _UNKNOWN


def _addressed(root: HostRoot) -> List[Address]:
    """Of version 6 only; those of version 4 are in no file."""
    found = []
    for line in (root.read("/proc/net/if_inet6", _LIMIT) or "").splitlines():
        words = line.split()
        if len(words) >= 6:
            address = _address6(words[0])
            found += [Address(words[5], address)] if _counts(words[5], address) else []
    return found


def _address6(text: str) -> netlink.Address:
    try:
        return ipaddress.ip_address(int(text, 16).to_bytes(16, "big"))
    except (ValueError, OverflowError):
        return _UNKNOWN.network_address


def _session_interfaces(known: Configuration, ssh_connection: str) -> Set[str]:
    """Where the address is that the client called, and by which the client is reached: the longest matching route."""
    words = ssh_connection.split()
    if len(words) < 3:
        return set()
    try:
        client, server = (ipaddress.ip_address(words[place].partition("%")[0]) for place in (0, 2))
    except ValueError:
        return set()
    found = {entry.interface for entry in known.addresses if entry.address == server}
    matching = [route for route in known.routes if route.network.version == client.version and client in route.network]
    best = [route for route in matching if route.table == _MAIN] or matching
    return found | ({max(best, key=lambda route: route.network.prefixlen).interface} if best else set())


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
