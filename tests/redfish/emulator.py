# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A BMC on loopback: the Redfish emulator of sushy-tools with the BIOS of a machine of tests/unit/fixtures/bios.

Of sushy-tools are the HTTP server, TLS, accounts, the resources and their links. Stand-ins are the driver below it (its fake
driver knows no BIOS), which keeps attributes, refuses what is read-only, and brings into force at a reset what waits; and the
manufacturer, the model and the attribute registry in its answers.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import flask
from sushy_tools import error
from sushy_tools.emulator import main as sushy
from sushy_tools.emulator.resources.systems.fakedriver import FakeDriver

from tests.unit import bios_machines

REGISTRY = "BiosAttributeRegistry.v1_0_0"


class BiosDriver(FakeDriver):  # type: ignore[misc]
    """One machine for all systems of the BMC, since the tests change only one."""

    machine = ""
    current: dict[str, Any] = {}
    waiting: dict[str, Any] = {}
    # What a BIOS takes at no reset, as one that refuses a value at POST does.
    stubborn: tuple[str, ...] = ()

    def get_bios(self, identity: str) -> dict[str, Any]:
        """The emulator asks the same for what is in force and for what waits."""
        if not flask.request.path.endswith("/Settings"):
            return self.current
        return {**self.current, **self.waiting} if bios_machines.load(self.machine)["shows_all"] else self.waiting

    def set_bios(self, identity: str, attributes: dict[str, Any]) -> None:
        known = bios_machines.load(self.machine)["attributes"]
        for name in attributes:
            if name not in self.current or "ReadOnly" in known[name].get("flags", ()):
                raise error.BadRequest(f"The attribute {name} cannot be set.")
        self.waiting.update(attributes)

    def set_power_state(self, identity: str, state: str) -> None:
        taken = {name: value for name, value in self.waiting.items() if name not in self.stubborn}
        self.current.update(taken)
        for name in taken:
            del self.waiting[name]


def _edit(path: str, document: dict[str, Any], machine: str) -> dict[str, Any]:
    if path.endswith("/BIOS"):
        document["AttributeRegistry"] = REGISTRY
    elif path == "/redfish/v1/Systems/Bios/BiosRegistry":
        document = bios_machines.registry(machine)
    elif path.startswith("/redfish/v1/Systems/") and "PowerState" in document:
        system = bios_machines.load(machine)["system"]
        document.update({key: system[key] for key in ("Manufacturer", "Model", "BiosVersion")})
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("machine", choices=bios_machines.NAMES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", required=True, help="folder for the emulator's files")
    parser.add_argument("--accounts", required=True, help="file in the style of htpasswd, with bcrypt")
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--systems", type=int, default=1)
    parser.add_argument("--set", default="{}", help="attributes that differ from the fixture, as JSON")
    parser.add_argument("--stubborn", default="", help="attribute that no reset brings into force")
    arguments = parser.parse_args()
    machine = arguments.machine
    first = bios_machines.load(machine)["system"]["Id"]
    names = [first, *(f"System.Other.{number}" for number in range(2, arguments.systems + 1))]
    BiosDriver.machine = machine
    BiosDriver.current = bios_machines.attributes(machine, **json.loads(arguments.set))
    BiosDriver.stubborn = (arguments.stubborn,) if arguments.stubborn else ()
    sushy.fakedriver.FakeDriver = BiosDriver
    sushy.app.configure(
        extra_config={
            "SUSHY_EMULATOR_FAKE_DRIVER": True,
            "SUSHY_EMULATOR_STATE_DIR": arguments.state,
            "SUSHY_EMULATOR_AUTH_FILE": arguments.accounts,
            "SUSHY_EMULATOR_FAKE_SYSTEMS": [
                {"uuid": name, "name": f"host-{index}", "power_state": "On", "nics": []}
                for index, name in enumerate(names)
            ],
        }
    )

    def edited(response: flask.Response) -> flask.Response:
        if response.is_json and response.status_code == 200:
            document = _edit(flask.request.path.rstrip("/"), response.get_json(), machine)
            response.set_data(json.dumps(document))
        return response

    sushy.app.after_request(edited)
    sushy.app.run(
        host="127.0.0.1", port=arguments.port, ssl_context=(arguments.certificate, arguments.key), threaded=False
    )


if __name__ == "__main__":
    main()
