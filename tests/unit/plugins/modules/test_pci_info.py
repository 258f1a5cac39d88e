# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(main()) of the module, in check mode and without, over a tree that must stay as it is."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args

from ansible_collections.katagpu.cluster.plugins.modules import pci_info
from tests.unit import lspci_render, machines


class Exit(Exception):
    pass


class Failure(Exception):
    pass


def run(monkeypatch: pytest.MonkeyPatch, check: bool = False, **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}

    def leave(self: Any, **values: Any) -> None:
        result.update(values)
        raise Exit

    def fail(self: Any, msg: str, **values: Any) -> None:
        raise Failure(msg)

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave)
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", fail)
    with patch_module_args({**options, "_ansible_check_mode": check}), pytest.raises(Exit):
        pci_info.main()
    return result


def fingerprint(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): (
            str(path.readlink())
            if path.is_symlink()
            else (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
            if path.is_file()
            else path.stat().st_mtime_ns
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return machines.build("skylake_gtx1660", tmp_path)


@pytest.mark.parametrize("check", [False, True])
def test_sysfs_is_read_and_left_alone(tree: Path, check: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(tree)

    first = run(monkeypatch, check, root=str(tree))
    second = run(monkeypatch, check, root=str(tree))

    assert first == second == run(monkeypatch, not check, root=str(tree))
    assert first["changed"] is False
    assert len(first["devices"]) == 7
    assert fingerprint(tree) == before


def test_groups_of_chosen_devices_keep_all_members(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, root=str(tree), vendors=["10de"], classes=["03"])

    assert [device["address"] for device in result["devices"]] == ["0000:01:00.0"]
    assert result["iommu_groups"] == {
        "2": ["0000:00:01.0", "0000:01:00.0", "0000:01:00.1", "0000:01:00.2", "0000:01:00.3"]
    }
    assert result["unparsed"] == []


@pytest.mark.parametrize("source", ["auto", "lspci"])
def test_a_capture_is_read_instead_of_the_host(tree: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = lspci_render.render(machines.load("hgx_h200"), lspci_render.STYLES["vvnnk"]) + "a line too much\n"

    result = run(monkeypatch, root=str(tree), source=source, lspci_output=text, drivers=["nvidia"])

    assert len(result["devices"]) == 8
    assert {device["class_code"] for device in result["devices"]} == {"0302"}
    assert len(result["iommu_groups"]) == 8
    assert result["unparsed"] == ["a line too much"]


def test_names_are_filled_from_the_database(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "names").write_text("10de  NVIDIA Corporation\n\t2184  TU116 [GeForce GTX 1660]\n", encoding="utf-8")

    for text in (None, "01:00.0 0300: 10de:2184"):
        result = run(monkeypatch, root=str(tree), lspci_output=text, pci_ids="/names", ids=["10de:2184"])
        (device,) = result["devices"]
        assert (device["vendor_name"], device["device_name"]) == ("NVIDIA Corporation", "TU116 [GeForce GTX 1660]")
        assert device["class_name"] == "VGA compatible controller"


def test_lspci_of_the_host_is_run_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def answer(self: Any, command: list[str], environ_update: dict[str, str]) -> tuple[int, str, str]:
        commands.append((command, environ_update))
        return 0, "Slot:\t0000:65:00.0\nClass:\t3D controller [0302]\nVendor:\tNVIDIA Corporation [10de]\n", ""

    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda self, name, **options: f"/usr/bin/{name}")
    monkeypatch.setattr(basic.AnsibleModule, "run_command", answer)

    result = run(monkeypatch, source="lspci")

    assert [device["address"] for device in result["devices"]] == ["0000:65:00.0"]
    assert commands == [(["/usr/bin/lspci", "-Dvmmnnk"], {"LANGUAGE": "C", "LC_ALL": "C"})]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "lspci", "root": "/somewhere"}, "with the root /somewhere nothing is executed.*Fix:"),
        ({"source": "lspci"}, "lspci is not installed on this host.*Fix: install the package pciutils"),
        ({"source": "sysfs", "lspci_output": ""}, "lspci_output is not read with source=sysfs.*Fix:"),
        ({"addresses": ["nonsense"]}, "addresses: 'nonsense' is not a PCI address.*Fix:"),
        ({"pci_ids": "/nowhere/pci.ids"}, "pci_ids: /nowhere/pci.ids cannot be read.*Fix:"),
    ],
)
def test_refusals(options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda self, name, **more: None)

    with pytest.raises(Failure, match=message):
        run(monkeypatch, **options)


def test_a_failing_lspci_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda self, name, **options: f"/usr/bin/{name}")
    monkeypatch.setattr(basic.AnsibleModule, "run_command", lambda self, command, **options: (1, "", "no access\n"))

    with pytest.raises(Failure, match=r"/usr/bin/lspci -Dvmmnnk ended with status 1: no access"):
        run(monkeypatch, source="lspci")


def test_the_documented_options_are_those_of_the_module() -> None:
    import yaml

    documented = yaml.safe_load(pci_info.DOCUMENTATION)["options"]
    specified = pci_info.argument_spec()

    assert set(documented) | {"root"} == set(specified)
    assert all(documented[name]["type"] == specified[name]["type"] for name in documented)


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory where there is one: sysfs is in memory too, and a disk takes seconds to hold the tree."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def test_a_large_tree(memory_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how long the module takes; what bounds it is tested as a number of file accesses."""
    function = {"class": "030200", "vendor": "10de", "device": "2236", "subsystem": "10de:1482", "driver": "vfio-pci"}
    addresses = [f"0000:{number // 64:02x}:{number // 8 % 8:02x}.{number % 8}" for number in range(512)]
    pci = [{**function, "address": address, "group": str(number)} for number, address in enumerate(addresses)]
    machines.build({"pci": pci}, memory_path)

    started = time.perf_counter()
    result = run(monkeypatch, root=str(memory_path))
    elapsed = time.perf_counter() - started

    with capsys.disabled():
        print(f"\npci_info, 512 functions: {elapsed:.3f} s")
    assert len(result["devices"]) == len(result["iommu_groups"]) == 512


def test_the_documented_values_are_those_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    documented = yaml.safe_load(pci_info.RETURN)
    root = machines.build("thinkpad_p53", tmp_path)

    result = run(monkeypatch, root=str(root))

    assert set(documented) | {"changed"} == set(result)
    assert set(documented["devices"]["contains"]) == set(result["devices"][0])
    assert result["group_merges"] and set(documented["group_merges"]["contains"]) == set(result["group_merges"][0])


def test_no_process_is_started(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise AssertionError("a process was started")

    for name in ("fork", "posix_spawn", "system", "execve"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)

    assert run(monkeypatch, root=str(tree))["devices"]
