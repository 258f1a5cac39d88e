# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine with a control plane that has no stand-ins: what is found on it, what is done to it, and the row of the documentation."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.integration import lab
from tests.lab.machines.profiles import PROFILES

OUTPUT = lab.REPOSITORY / ".build" / "tests" / "profiles"
RESULTS = lab.REPOSITORY / "tests" / "integration" / "profiles" / "results.yml"
REPORT = lab.STATE / "report" / "report.json"

BOOT = "cat /proc/sys/kernel/random/boot_id"
DRIVERS = 'cd /sys/bus/pci/devices; for one in *; do echo "$one $(cat $one/vendor) $(basename "$(readlink $one/driver)")"; done'

Json = dict[str, Any]


class Machine:
    """A profile that is up."""

    def __init__(self, name: str, session: pytest.Session) -> None:
        self.name, self.profile = name, PROFILES[name]
        self.session, self.failed = session, session.testsfailed
        self.node = self.profile.node
        self.found: list[Json] = []
        self.outcome: list[str] = []
        self.began = time.monotonic()

    # -- the collection -------------------------------------------------------------------------------------------

    def run(self, playbook: str, *arguments: str) -> lab.PlaybookRun:
        return lab.playbook(playbook, *arguments, timeout=1200)

    def findings(self) -> list[Json]:
        """Of the last run, about this machine."""
        report = json.loads(REPORT.read_text(encoding="utf-8"))
        return [one for one in report["findings"] if one["node"] == self.node]

    def preflight(self, *arguments: str) -> list[Json]:
        """What it finds; it changes nothing, which is looked at."""
        before = self.looks()
        run = self.run("preflight", *arguments)
        assert "Traceback" not in run.output
        assert not any(run.changed.values()), run.recap
        assert differing(before, self.looks()) == []
        found = self.findings()
        assert (run.returncode != 0) == bool(stopping(found)), run.output
        return found

    def refused(self, *arguments: str) -> None:
        """hosts.yml ends with an error and leaves the machine as it was: no file, no boot, no driver, and it still answers."""
        before = self.looks()
        run = self.run("hosts", *arguments)
        assert run.returncode != 0, run.output
        assert not any(run.changed.values()), run.recap
        assert differing(before, self.looks()) == []
        assert stopping(self.findings()) != []
        self.outcome.append(
            "``hosts.yml`` refuses it. Every file, the boot id and the driver of every PCI function are as before"
            " and the machine answers."
        )

    def prepared(self, *arguments: str) -> lab.PlaybookRun:
        """hosts.yml ends well, after one drained reboot."""
        before, restarts = self.boot_id(), self.restarts()
        run = self.run("hosts", *arguments)
        assert run.returncode == 0, run.output
        assert self.boot_id() != before
        # Less where QEMU itself had to be started again, which begins the log anew.
        assert self.restarts() <= restarts + 1
        return run

    def restarts(self) -> int:
        """How often the guest's kernel has said that it reboots."""
        log = lab.STATE / "logs" / f"machine-{self.name}-serial.log"
        return log.read_bytes().count(b"reboot: Restarting system")

    def unchanged(self, *arguments: str) -> None:
        """The second run."""
        before = self.looks()
        run = self.run("hosts", *arguments)
        assert run.returncode == 0, run.output
        assert not any(run.changed.values()), run.recap
        assert differing(before, self.looks()) == []
        self.outcome.append("A second run changes nothing.")

    def module(self, name: str, *arguments: str, **options: Any) -> Json:
        """The result of one module on this machine."""
        return lab.module(self.node, f"katagpu.cluster.{name}", options, *arguments)

    # -- the guest ------------------------------------------------------------------------------------------------

    def guest(self, command: str) -> str:
        return lab.guest(self.name, command)

    def put(self, path: str, text: str) -> None:
        encoded = base64.b64encode(text.encode()).decode()
        self.guest(f"mkdir -p $(dirname {path}) && echo {encoded} | base64 -d >{path}")

    def boot_id(self) -> str:
        return self.guest(BOOT).strip()

    def drivers(self, vendor: str = "10de") -> dict[str, str]:
        """Address to driver, empty where there is none."""
        rows = [line.split() for line in self.guest(DRIVERS).splitlines()]
        return {row[0]: "".join(row[2:3]) for row in rows if vendor in ("", row[1].removeprefix("0x"))}

    def groups(self) -> dict[str, list[str]]:
        """IOMMU group to its members, as the kernel made them."""
        listing = self.guest("cd /sys/kernel/iommu_groups; for one in *; do echo $one $(ls $one/devices); done")
        rows = [line.split() for line in listing.splitlines()]
        return {row[0]: row[1:] for row in rows if row and row[0].isdigit()}

    def looks(self) -> Json:
        """All that nothing may have changed, in one session because each costs seconds in an emulated guest."""
        boot, drivers, files = self.guest(f"{BOOT}; echo; {DRIVERS}; echo; {lab.listing()}").split("\n\n", 2)
        return {"boot": boot, "drivers": drivers, "tree": lab.files(files)}

    def reboot(self) -> None:
        """As an administrator does it."""
        before = self.boot_id()
        lab.lab("ssh", self.name, "systemd-run --on-active=1 systemctl reboot")
        deadline = time.monotonic() + 600
        while True:
            assert time.monotonic() < deadline, "the machine did not come back"
            try:
                if self.boot_id() != before:
                    return
            except AssertionError:
                pass
            time.sleep(2)

    # -- the documentation ----------------------------------------------------------------------------------------

    def row(self) -> Json:
        return {
            "machine": self.profile.description,
            "findings": [summary(one) for one in self.found],
            "messages": [one["message"] for one in stopping(self.found)],
            "outcome": self.outcome,
            "seconds": round(time.monotonic() - self.began),
        }


def summary(finding: Json) -> Json:
    return {key: finding[key] for key in ("id", "severity", "state", "device")}


def stopping(found: list[Json]) -> list[Json]:
    return [one for one in found if one["severity"] == "block" and one["state"] == "open"]


def of(found: list[Json], name: str) -> list[Json]:
    return [one for one in found if one["id"] == name]


def differing(before: Json, after: Json) -> list[str]:
    """Readable where something differs."""
    found = [f"{key}: {before[key]} -> {after[key]}" for key in ("boot", "drivers") if before[key] != after[key]]
    return found + sorted(set(before["tree"]) ^ set(after["tree"]))


def up(name: str, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """The body of each file's fixture."""
    if not os.environ.get("KATAGPU_KEEP_LAB"):
        lab.lab("down")
    machine = Machine(name, request.session)
    print(lab.lab("up", "--bare", "--machines", name))
    yield machine
    if not os.environ.get("KATAGPU_KEEP_LAB"):
        lab.lab("down")


def documented(machine: Machine) -> None:
    """The documentation says of the findings and of the outcome what has been seen, which is kept for it where all went well."""
    row = machine.row()
    assert machine.session.testsfailed == machine.failed, "something before this has failed"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{machine.name}.json").write_text(json.dumps(row, indent=1), encoding="utf-8")
    kept = yaml.safe_load(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    said = {key: kept.get(machine.name, {}).get(key) for key in row}
    assert {**said, "seconds": 0} == {**row, "seconds": 0}, "run python -m tests.docs.profiles"
