# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, loadable modules, filters and their value checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._pci import address, classes, names, select
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.device import PciDevice
from ansible_collections.katagpu.cluster.plugins.module_utils._pci.modalias import with_modules
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

PCI_IDS = (
    "# A comment\n10de  NVIDIA Corporation\n\t2236  GA102GL [A10]\n\t\t10de 1482  A10 board\n\t2237  A10G\n"
    "8086  Intel Corporation\n\t1521  I350\nffff  Illegal Vendor ID\n\nC 03  Display controller\n\t02  3D controller\n"
)
ALIASES = (
    "# Aliases extracted from modules themselves.\n"
    "alias pci:v000010DEd*sv*sd*bc03sc02i00* nvidiafb\n"
    "alias pci:v000010DEd00002236sv*sd*bc*sc*i* a10_only\n"
    "alias pci:v000010DEd00002236sv00001028sd*bc*sc*i* other_board\n"
    "alias pci:v000010DEd*sv*sd*bc03sc02i00* nouveau\n"
    "alias pci:v00008086d*sv*sd*bc03sc*i* i915\n"
    "alias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci\n"
    "alias pci:broken\n"
)
A10 = PciDevice(
    "0000:65:00.0",
    "030200",
    vendor_id="10de",
    device_id="2236",
    subsystem_vendor_id="10de",
    subsystem_device_id="1482",
    driver="vfio-pci",
)
BRIDGE = PciDevice("0000:64:00.0", "060400", vendor_id="8086", device_id="347a", driver="pcieport")
USB = PciDevice("0000:65:00.2", "0c0330", vendor_id="1b21", device_id="1142")
ALL = [BRIDGE, A10, USB]


def root(tmp_path: Path, files: dict[str, str]) -> HostRoot:
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return HostRoot(str(tmp_path))


@pytest.mark.parametrize("path", ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"])
def test_names_of_known_devices(path: str, tmp_path: Path) -> None:
    ids = names.load(root(tmp_path, {path: PCI_IDS}))

    a10, bridge = names.with_names([A10, BRIDGE], ids)

    assert (a10.class_name, a10.vendor_name, a10.device_name) == (
        "3D controller",
        "NVIDIA Corporation",
        "GA102GL [A10]",
    )
    assert (bridge.class_name, bridge.vendor_name, bridge.device_name) == ("PCI bridge", "Intel Corporation", None)
    assert ids.vendor("ffff") == "Illegal Vendor ID"
    assert ids.device("ffff", "1521") is None
    assert ids.vendor_names() == {
        "10de": "NVIDIA Corporation",
        "8086": "Intel Corporation",
        "ffff": "Illegal Vendor ID",
    }


def test_without_a_database_only_classes_have_names(tmp_path: Path) -> None:
    (a10,) = names.with_names([A10], names.load(HostRoot(str(tmp_path))))

    assert (a10.class_name, a10.vendor_name, a10.device_name) == ("3D controller", None, None)


def test_a_database_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(KatagpuError, match=r"pci_ids: /nowhere/pci\.ids cannot be read.*Fix:"):
        names.load(HostRoot(str(tmp_path)), "/nowhere/pci.ids")


def test_class_names_and_codes() -> None:
    assert classes.class_code("3D controller") == "0302"
    assert classes.class_code("Unassigned class") is None
    assert classes.class_name("ff0000") == "Unassigned class"
    assert classes.class_name("0302") == "3D controller"
    assert classes.class_name("77") is None
    assert classes.class_name(None) is None
    assert len(set(classes.SUBCLASSES.values())) == len(classes.SUBCLASSES)


def test_modules_of_the_running_kernel(tmp_path: Path) -> None:
    files = {"proc/sys/kernel/osrelease": "6.12.1-amd64\n", "lib/modules/6.12.1-amd64/modules.alias": ALIASES}

    bridge, a10, usb = with_modules(root(tmp_path, files), ALL)

    assert bridge.modules == ()
    assert a10.modules == ("a10_only", "nvidiafb", "nouveau")
    assert usb.modules == ("xhci_pci",)


@pytest.mark.parametrize("release", ["", "6.12.1-amd64", "../../../etc"])
def test_modules_of_an_unknown_kernel(release: str, tmp_path: Path) -> None:
    files = {"proc/sys/kernel/osrelease": release, "etc/modules.alias": ALIASES}

    assert with_modules(root(tmp_path, files), ALL) == ALL


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, ALL),
        ({"addresses": ["65:00.0"]}, [A10]),
        ({"addresses": ["0000:65:00.0", "0000:64:00.0"]}, [BRIDGE, A10]),
        ({"vendors": ["10DE"]}, [A10]),
        ({"vendors": ["0x10de", "8086"]}, [BRIDGE, A10]),
        ({"ids": ["10de:2236"]}, [A10]),
        ({"ids": ["10de:"]}, [A10]),
        ({"ids": ["10de:*", "8086:0000"]}, [A10]),
        ({"classes": ["03"]}, [A10]),
        ({"classes": ["0604", "0c0330"]}, [BRIDGE, USB]),
        ({"classes": ["030201"]}, []),
        ({"drivers": ["vfio-pci"]}, [A10]),
        ({"drivers": ["none", "pcieport"]}, [BRIDGE, USB]),
        ({"vendors": ["10de"], "drivers": ["none"]}, []),
    ],
)
def test_filters(options: dict[str, Any], chosen: list[PciDevice]) -> None:
    assert select.select(ALL, select.Selection.from_options(options)) == chosen


def test_a_short_class_never_matches_a_longer_filter() -> None:
    captured = PciDevice("0000:65:00.0", "0302")

    assert select.select([captured], select.Selection(classes=("030200",))) == []
    assert select.select([captured], select.Selection(classes=("0302",))) == [captured]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("addresses", "2.0", "is not a PCI address"),
        ("addresses", "65:00", "is not a PCI address"),
        ("addresses", "65:20.0", "is not a PCI address"),
        ("vendors", "nvidia", "is not 4 hexadecimal digits"),
        ("ids", "2236", "is not VENDOR:DEVICE"),
        ("ids", "10de:22", "is not VENDOR:DEVICE"),
        ("classes", "194", "is not 2 or 4 or 6 hexadecimal digits"),
        ("classes", "", "is not 2 or 4 or 6 hexadecimal digits"),
    ],
)
def test_a_misspelt_filter_is_refused(option: str, value: str, message: str) -> None:
    with pytest.raises(KatagpuError, match=message) as refused:
        select.Selection.from_options({option: [value]})
    assert str(refused.value).startswith(f"{option}: {value!r}")
    assert "Fix: " in str(refused.value)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFF), st.integers(0, 0x1F), st.integers(0, 7))
def test_addresses_have_one_form(domain: int, bus: int, device: int, function: int) -> None:
    canonical = f"{domain:04x}:{bus:02x}:{device:02x}.{function}"

    assert address.normalize(canonical.upper()) == canonical
    assert address.normalize(canonical) == canonical
    assert address.sort_key(canonical) == (domain, bus, device, function)
    if domain == 0:
        assert address.normalize(canonical[5:]) == canonical


@given(st.text())
def test_any_text_is_an_address_or_is_not(text: str) -> None:
    found = address.normalize(text)

    assert found is None or address.normalize(found) == found
