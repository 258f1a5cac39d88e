# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import netlink
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.network import (
    Address,
    Configuration,
    Route,
    read_network,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.session import ssh_connection
from tests.unit import machines
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import NIC

SECOND = "0000:02:00.1"
NOBODY = Configuration([], [])


def host(tmp_path: Path, links: dict[str, str], **files: str) -> HostRoot:
    cards = [support.function(NIC, "nic"), support.function(SECOND, "nic")]
    named = {
        "/sys/class/net/ens1/device": f"/sys/bus/pci/devices/{NIC}",
        "/sys/class/net/ens2/device": f"/sys/bus/pci/devices/{SECOND}",
    }
    description = {"pci": cards, "links": {**named, **links}, "files": files}
    return HostRoot(str(machines.build(description, tmp_path)))


def route(interface: str, network: str, table: int = 254) -> Route:
    return Route(interface, ipaddress.ip_network(network), table)


def address(interface: str, text: str) -> Address:
    return Address(interface, ipaddress.ip_address(text))


def test_a_default_route_of_another_table_counts(tmp_path: Path) -> None:
    known = Configuration([route("ens1", "0.0.0.0/0"), route("ens2", "::/0", 200)], [])
    assert read_network(host(tmp_path, {}), "", known) == {
        NIC: ["carries the default route (ens1)"],
        SECOND: ["carries the default route of table 200 (ens2)"],
    }


def test_an_address_counts_though_no_route_names_the_interface(tmp_path: Path) -> None:
    """As with an interface of a VRF, whose routes are in a table of its own, or with noprefixroute."""
    known = Configuration([], [address("ens2", "10.1.2.3")])
    assert read_network(host(tmp_path, {}), "", known) == {SECOND: ["has addresses or routes (ens2)"]}


@pytest.mark.parametrize(
    ("session", "interfaces"),
    [
        ("192.0.2.9 40000 192.0.2.1 22", [NIC]),
        # Policy routing: the answer leaves where the address is, whatever the main table says.
        ("203.0.113.7 40000 198.51.100.1 22", [NIC, SECOND]),
        ("2001:db8::5%ens2 40000 2001:db8::1 22", []),
        ("", []),
        ("nonsense 1 nonsense 2", []),
    ],
)
def test_the_session_by_its_route_and_by_the_address_that_was_called(
    tmp_path: Path, session: str, interfaces: list[str]
) -> None:
    known = Configuration(
        [route("ens1", "0.0.0.0/0"), route("ens1", "192.0.2.0/24"), route("ens2", "0.0.0.0/0", 200)],
        [address("ens1", "192.0.2.1"), address("ens2", "198.51.100.1")],
    )
    found = read_network(host(tmp_path, {}), session, known)
    assert [nic for nic in (NIC, SECOND) if any("this SSH session" in text for text in found[nic])] == interfaces


@pytest.mark.parametrize("kind", ["bond0", "br0", "bond0.100", "team0", "macvlan0"])
def test_what_lies_above_a_card(tmp_path: Path, kind: str) -> None:
    """The kernel links every kind of upper interface to its lower ones in the same way."""
    root = host(tmp_path, {f"/sys/class/net/{kind}/lower_ens1": "/sys/class/net/ens1"})
    assert read_network(root, "", Configuration([route(kind, "::/0")], [])) == {
        NIC: [f"carries the default route (ens1 below {kind})"]
    }


def test_a_vlan_on_a_bond_of_two_cards(tmp_path: Path) -> None:
    links = {
        "/sys/class/net/bond0.7/lower_bond0": "/sys/class/net/bond0",
        "/sys/class/net/bond0/lower_ens1": "/sys/class/net/ens1",
        "/sys/class/net/bond0/lower_ens2": "/sys/class/net/ens2",
        "/sys/class/net/ens1/master": "/sys/class/net/bond0",
    }
    found = read_network(host(tmp_path, links), "", Configuration([], [address("bond0.7", "10.0.0.1")]))
    assert found == {
        NIC: ["has addresses or routes (ens1 below bond0.7)"],
        SECOND: ["has addresses or routes (ens2 below bond0.7)"],
    }


@pytest.mark.parametrize("master", ["ovs-system", "br-vms"])
def test_a_port_of_a_switch_without_an_address(tmp_path: Path, master: str) -> None:
    """The address is on an internal port of Open vSwitch, which the kernel does not link to the card."""
    root = host(tmp_path, {"/sys/class/net/ens2/master": f"/sys/class/net/{master}"})
    known = Configuration([route("br-ex", "0.0.0.0/0")], [address("br-ex", "10.0.0.1")])
    assert read_network(root, "", known) == {SECOND: [f"is a port of {master} (ens2)"]}


@pytest.mark.parametrize(
    ("flags", "carrier", "found"), [("0x1003", "1", True), ("0x1003", "0", False), ("0x1002", "1", False)]
)
def test_a_card_that_is_up_with_a_link_is_suspect(tmp_path: Path, flags: str, carrier: str, found: bool) -> None:
    """Of a macvlan in a container nothing is seen from the host but this."""
    files = {"/sys/class/net/ens2/flags": f"{flags}\n", "/sys/class/net/ens2/carrier": f"{carrier}\n"}
    root = host(tmp_path, {}, **files)
    assert bool(read_network(root, "", NOBODY)) is found


def test_the_physical_function_goes_down_with_its_virtual_one(tmp_path: Path) -> None:
    root = host(tmp_path, {f"/sys/bus/pci/devices/{SECOND}/physfn": f"/sys/bus/pci/devices/{NIC}"})
    known = Configuration([route("ens2", "0.0.0.0/0")], [])
    assert read_network(root, "", known) == {
        SECOND: ["carries the default route (ens2)"],
        NIC: ["carries the default route (ens2)"],
    }


def test_an_interface_that_went_to_a_container(tmp_path: Path) -> None:
    root = host(tmp_path, {})
    for name in (NIC, SECOND):
        (Path(root.path(f"/sys/bus/pci/devices/{name}")).resolve() / "net").mkdir()
    (Path(root.path(f"/sys/bus/pci/devices/{NIC}/net")) / "ens1").mkdir()
    found = read_network(root, "", NOBODY)
    assert found == {SECOND: ["has its interface in another network namespace (driver ice)"]}


def test_a_card_on_usb_needs_its_controller(tmp_path: Path) -> None:
    usb = "0000:00:14.0"
    description = {
        "pci": [{"address": usb, "class": "0c0330", "vendor": "8086", "device": "a36d", "driver": "xhci_hcd"}],
        "links": {"/sys/class/net/usb0/device": f"/sys/devices/pci0000:00/{usb}/usb1/1-5/1-5:1.0"},
        "dirs": [f"/sys/devices/pci0000:00/{usb}/usb1/1-5/1-5:1.0"],
    }
    root = HostRoot(str(machines.build(description, tmp_path)))
    assert list(read_network(root, "", Configuration([route("usb0", "0.0.0.0/0")], []))) == [usb]


IN_A_NAMESPACE = """
import json, subprocess, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import netlink
for command in sys.argv[2].split(";"):
    subprocess.run(["ip", *command.split()], check=True)
names = {}
for line in subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout.splitlines():
    names[int(line.split(":")[0])] = line.split(":")[1].strip().split("@")[0]
print(json.dumps({
    "addresses": sorted([names[index], str(address)] for index, address in netlink.read_addresses()),
    "routes": sorted([names[each.interface], each.table, str(each.network)] for each in netlink.read_routes()),
}))
"""


def configured(*commands: str) -> dict[str, list[list[object]]]:
    """What the running kernel says of a network namespace that was set up with these commands of ip."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs root, ip and unshare")
    collections = [path for path in sys.path if (Path(path) / "ansible_collections/katagpu").is_dir()]
    program = [sys.executable, "-c", IN_A_NAMESPACE, collections[0], ";".join(commands)]
    done = subprocess.run(["unshare", "--net", *program], capture_output=True, text=True, check=False)
    if "not supported" in done.stderr or "Unknown device type" in done.stderr:
        pytest.skip(f"this kernel lacks something: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    result: dict[str, list[list[object]]] = json.loads(done.stdout)
    return result


def test_the_kernel_lists_addresses_of_both_families() -> None:
    """Also one whose route is not in the main table, or in none."""
    found = configured(
        "link set lo up",
        "address add 192.0.2.1/24 dev lo noprefixroute",
        "address add 2001:db8::1/64 dev lo nodad noprefixroute",
        "address add 10.0.0.1 peer 10.0.0.2 dev lo",
    )
    assert found["addresses"] == [
        ["lo", "10.0.0.1"],
        ["lo", "127.0.0.1"],
        ["lo", "192.0.2.1"],
        ["lo", "2001:db8::1"],
        ["lo", "::1"],
    ]


def test_the_kernel_lists_routes_of_all_tables() -> None:
    found = configured(
        "link set lo up",
        "address add 192.0.2.1/24 dev lo",
        "route add default dev lo table 200",
        "route add 198.51.100.0/24 dev lo",
        "route add blackhole 203.0.113.0/24",
        "-6 route add default dev lo table 1000",
        "route add 10.9.0.0/16 table 77 nexthop dev lo weight 1 nexthop dev lo weight 2",
    )
    routes = [entry for entry in found["routes"] if entry[1] != 255]
    for expected in (["lo", 200, "0.0.0.0/0"], ["lo", 254, "198.51.100.0/24"], ["lo", 1000, "::/0"]):
        assert expected in routes
    assert routes.count(["lo", 77, "10.9.0.0/16"]) == 2, "one for each hop"
    assert not [entry for entry in routes if entry[2] == "203.0.113.0/24"]


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_messages_that_end_early_are_no_error(cut: int) -> None:
    data = bytes.fromhex(
        "3400000018000200010000001a4e000002000000fe0300010000000008000f00fe00000008000500c0000201080004000400000"
        "03c00000018000200010000001a4e000002180000fe02fd010000000008000f00fe00000008000100c000020008000700c0000202"
        "0800040004000000"
    )
    assert len(netlink.parse_routes(data)) == 2 and len(netlink.parse_routes(data[:cut])) <= 2
    assert netlink.parse_addresses(data[:cut]) == []


def test_a_session_that_sudo_has_hidden(tmp_path: Path) -> None:
    """sshd 10 -> shell 20 -> sudo 30 -> the module 40."""
    for process, parent, environment in (
        (40, 30, "HOME=/root\0SUDO_USER=ops\0"),
        (30, 20, "HOME=/root\0"),
        (20, 10, "USER=ops\0SSH_CONNECTION=192.0.2.9 40000 192.0.2.1 22\0"),
        (10, 0, ""),
    ):
        folder = tmp_path / "proc" / str(process)
        folder.mkdir(parents=True)
        (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
        (folder / "environ").write_text(environment)
    root = HostRoot(str(tmp_path))
    assert ssh_connection({}, root, "40") == "192.0.2.9 40000 192.0.2.1 22"
    assert ssh_connection({"SSH_CONNECTION": "own"}, root, "40") == "own"
    assert ssh_connection({}, root, "10") == ssh_connection({}, root, "99") == ""
