# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role host_firmware and the real Redfish modules against an emulated BMC on loopback, with TLS and accounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import COLLECTIONS
from tests.redfish.bmc import ACCOUNT, PASSWORD, Bmc

HPE, SUPERMICRO, DELL = "hpe_dl385", "supermicro_821ge", "dell_r750"
FACTS = ("katagpu_bios", "katagpu_record", "katagpu_host")
# The host is this machine, whatever it is; what is judged here is only what the BMC says.
READY = {"katagpu_host": {"plan": {"host_firmware": {"attributes": "x"}}, "summary": {"blocked": False}}}
START = {
    "ansible.builtin.set_fact": {
        "katagpu_stack": "{{ '23.9' | katagpu.cluster.release_data({}) }}",
        "katagpu_cluster": {"nodes": {}},
    },
    "delegate_to": "localhost",
    "delegate_facts": True,
}


def role(tasks_from: str = "main") -> dict[str, Any]:
    return {"ansible.builtin.include_role": {"name": "katagpu.cluster.host_firmware", "tasks_from": tasks_from}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    begun: list[Bmc] = []

    def begin(machine: str, **more: Any) -> Bmc:
        begun.append(Bmc(tmp_path / f"bmc{len(begun)}", machine, **more))
        return begun[-1]

    yield begin
    for bmc in begun:
        bmc.stop()


class Run:
    def __init__(self, folder: Path, bmc: Bmc, *tasks: dict[str, Any], options: tuple[str, ...] = (), **given: Any):
        facts = "{{ {" + ", ".join(f"'{name}': {name} | default(none)" for name in FACTS) + "} | to_json }}"
        dump = {"ansible.builtin.copy": {"dest": f"{folder}/facts.json", "content": facts, "mode": "0600"}}
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "host_firmware_bmc": bmc.address,
            "host_firmware_username": ACCOUNT,
            "host_firmware_password": PASSWORD,
            "host_firmware_ca_path": str(bmc.ca),
            "katagpu_firmware": "apply",
            **given,
        }
        play = {
            "hosts": "gpu-01",
            "gather_facts": False,
            "tasks": [START, *tasks, {**dump, "check_mode": False, "diff": False, "changed_when": False}],
        }
        (folder / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
        (folder / "hosts.yml").write_text(
            yaml.safe_dump({"all": {"hosts": {"gpu-01": {k: v for k, v in variables.items() if v is not None}}}}),
            encoding="utf-8",
        )
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml", *options]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "true",
        }
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        self.failed = done.returncode != 0
        self.output = done.stdout + done.stderr
        # The secret is nowhere, whatever is printed and however it ends.
        assert PASSWORD not in self.output
        self.facts: dict[str, Any] = {}
        if not self.failed:
            text = (folder / "facts.json").read_text(encoding="utf-8")
            assert PASSWORD not in text
            self.facts = json.loads(text)

    @property
    def changed(self) -> int:
        return int(self.output.rpartition("changed=")[2].split()[0])

    def findings(self) -> dict[str, dict[str, Any]]:
        return {finding["id"]: finding for finding in self.facts["katagpu_bios"]["findings"]}


def test_a_setting_on_its_way_from_the_plan_through_the_reboot(folder: Path, start: Any) -> None:
    bmc = start(HPE, ProcAmdIoVt="Disabled")
    ready = {"ansible.builtin.set_fact": READY}

    plan = Run(folder, bmc, ready, role(), options=("--check", "--diff"))
    assert "-ProcAmdIoVt: Disabled" in plan.output and "+ProcAmdIoVt: Enabled" in plan.output and plan.changed == 1
    assert bmc.waiting() == {} and bmc.requests("PATCH") == 0

    # As loud as Ansible can be, so that everything it could print is looked at.
    first = Run(folder, bmc, ready, role(), options=("-vvvv", "--diff"))
    assert first.changed == 1 and bmc.waiting() == {"ProcAmdIoVt": "Enabled"} and bmc.requests("PATCH") == 1
    assert bmc.requests("POST") == 0, "the host was reset through the BMC"
    assert first.facts["katagpu_bios"]["fixes"] == ["iommu"]
    assert "BIOS settings wait for it: ProcAmdIoVt" in first.facts["katagpu_record"]["reboot_reasons"]

    second = Run(folder, bmc, ready, role())
    assert second.changed == 0 and bmc.requests("PATCH") == 1

    bmc.reset()
    assert bmc.attributes()["ProcAmdIoVt"] == "Enabled" and bmc.waiting() == {}
    rebooted = {"ansible.builtin.set_fact": {"katagpu_bios": {"rebooted": True}}}
    after = Run(folder, bmc, rebooted, role("read"))
    assert after.facts["katagpu_bios"]["plan"] == {} and after.facts["katagpu_bios"]["reboot_reasons"] == []
    assert not [found for found in after.findings().values() if found["severity"] != "info"]


def test_what_depends_on_another_setting_comes_after_its_reboot(folder: Path, start: Any) -> None:
    bmc = start(SUPERMICRO)
    ready = {"ansible.builtin.set_fact": READY}
    first = Run(folder, bmc, ready, role(), host_firmware_features=["tdx"])
    assert bmc.waiting() == {"MemoryEncryption_TME__3C77": "Enabled", "LimitCPUPAto46Bits_F319": "Disable"}
    assert "bios_locked" in first.findings() and first.facts["katagpu_bios"]["fixes"] == []


def test_a_bios_that_does_not_take_a_setting(folder: Path, start: Any) -> None:
    bmc = start(DELL, SriovGlobalEnable="Disabled", stubborn="SriovGlobalEnable")
    Run(folder, bmc, {"ansible.builtin.set_fact": READY}, role(), host_firmware_features=["sriov"])
    bmc.reset()
    rebooted = {"ansible.builtin.set_fact": {"katagpu_bios": {"rebooted": True}}}
    after = Run(folder, bmc, rebooted, role("read"), host_firmware_features=["sriov"])
    assert after.findings()["bios_pending"]["severity"] == "block"
    assert after.facts["katagpu_bios"]["reboot_reasons"] == []


def test_settings_of_somebody_else_are_not_overwritten(folder: Path, start: Any) -> None:
    bmc = start(HPE, ProcAmdIoVt="Disabled")
    bmc.set_by_somebody(MinimumSevAsid=100)
    run = Run(folder, bmc, {"ansible.builtin.set_fact": READY}, role())
    assert bmc.waiting() == {"MinimumSevAsid": 100} and bmc.requests("PATCH") == 1
    found = run.findings()["bios_pending"]
    assert found["severity"] == "block" and "MinimumSevAsid = 100" in found["fact"]
    assert run.facts["katagpu_record"]["blocked"]


def test_a_report_changes_nothing(folder: Path, start: Any) -> None:
    bmc = start(DELL, ProcVirtualization="Disabled")
    run = Run(folder, bmc, {"ansible.builtin.set_fact": READY}, role("read"), role(), katagpu_firmware="report")
    assert run.changed == 0 and bmc.requests("PATCH") == 0 and bmc.waiting() == {}
    assert run.findings()["bios_setting"]["severity"] == "warn"


@pytest.mark.parametrize(
    ("given", "finding", "part"),
    [
        ({"host_firmware_password": None}, "bmc_credentials", "host_firmware_password is not set"),
        ({"host_firmware_username": "nobody"}, "bmc_credentials", "refuses the account"),
        ({"host_firmware_ca_path": None}, "bmc_unreachable", "certificate was not accepted"),
        ({"host_firmware_bmc": "127.0.0.1:1"}, "bmc_unreachable", "did not answer"),
    ],
    ids=["no password", "wrong account", "unknown CA", "nobody there"],
)
def test_refusals(folder: Path, start: Any, given: dict[str, Any], finding: str, part: str) -> None:
    run = Run(folder, start(HPE), role("read"), options=("-vvv",), **given)
    found = run.findings()[finding]
    assert part in found["fact"] and found["severity"] == "block" and found["fix"]
    assert "bmc_tls" not in run.findings()


def test_an_unverified_bmc_is_read_with_a_warning(folder: Path, start: Any) -> None:
    given = {"host_firmware_ca_path": None, "host_firmware_validate_certs": False}
    run = Run(folder, start(HPE), role("read"), **given)
    assert run.findings()["bmc_tls"]["severity"] == "warn" and run.facts["katagpu_bios"]["profile"] == "hpe"


def test_of_several_systems_one_has_to_be_named(folder: Path, start: Any) -> None:
    bmc = start(HPE, systems=2, ProcAmdIoVt="Disabled")
    assert "System.Other.2" in Run(folder, bmc, role("read")).findings()["bmc_systems"]["fact"]
    Run(folder, bmc, {"ansible.builtin.set_fact": READY}, role(), host_firmware_system="1")
    assert bmc.waiting() == {"ProcAmdIoVt": "Enabled"}


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"host_firmware_features": ["iomu"]}, "Known: virtualization"),
        ({"host_firmware_timeout_seconds": "soon"}, "soon"),
        ({"host_firmware_attributes": ["x"]}, "host_firmware_attributes"),
    ],
)
def test_a_mistake_fails_without_the_secret(folder: Path, start: Any, given: dict[str, Any], part: str) -> None:
    run = Run(folder, start(HPE), role("read"), options=("-vvvv",), **given)
    assert run.failed and part in run.output
