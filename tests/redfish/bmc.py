# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the emulator with a CA and an account of its own, and talks to it as a person at the BMC would."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import REPOSITORY

ACCOUNT = "operator"
# Looked for in everything that is printed and written.
PASSWORD = "canary-7f3e-password"


class Bmc:
    def __init__(self, folder: Path, machine: str, systems: int = 1, stubborn: str = "", **attributes: Any) -> None:
        self.folder = folder
        self.machine = machine
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        _certificates(folder)
        (folder / "accounts").write_text(
            f"{ACCOUNT}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n", encoding="utf-8"
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        self.address = f"127.0.0.1:{port}"
        (folder / "state").mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.redfish.emulator", machine, "--port", str(port)]
        command += ["--state", str(folder / "state"), "--accounts", str(folder / "accounts")]
        command += ["--certificate", str(folder / "bmc.pem"), "--key", str(folder / "bmc.key")]
        command += ["--systems", str(systems), "--set", json.dumps(attributes), "--stubborn", stubborn]
        with (folder / "log").open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.get("/redfish/v1/")
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the emulator did not start:\n{(self.folder / 'log').read_text(encoding='utf-8')}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)

    def requests(self, method: str) -> int:
        """How often the emulator was asked so since it started."""
        return (self.folder / "log").read_text(encoding="utf-8").count(f"{method} /redfish")

    def get(self, path: str) -> dict[str, Any]:
        return self._send("GET", path, None)

    @property
    def system(self) -> str:
        return str(self.get("/redfish/v1/Systems")["Members"][0]["@odata.id"])

    def attributes(self) -> dict[str, Any]:
        return dict(self.get(f"{self.system}/BIOS")["Attributes"])

    def waiting(self) -> dict[str, Any]:
        current = self.attributes()
        settings = self.get(f"{self.system}/BIOS/Settings")["Attributes"]
        return {name: value for name, value in settings.items() if current[name] != value}

    def set_by_somebody(self, **attributes: Any) -> None:
        self._send("PATCH", f"{self.system}/BIOS/Settings", {"Attributes": attributes})

    def reset(self) -> None:
        self._send("POST", f"{self.system}/Actions/ComputerSystem.Reset", {"ResetType": "GracefulRestart"})

    def _send(self, method: str, path: str, body: Any) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"https://{self.address}{path}", data, method=method)
        account = base64.b64encode(f"{ACCOUNT}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {account}")
        request.add_header("Content-Type", "application/json")
        context = ssl.create_default_context(cafile=str(self.ca))
        handler = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with handler.open(request, timeout=20) as answer:
            text = answer.read()
        return dict(json.loads(text)) if text else {}


def _certificates(folder: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(name: str, key: Any, issuer: str, by: Any, authority: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
        )
        return builder.sign(by, hashes.SHA256())

    root, bmc = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate("ca", root, "ca", root, True).public_bytes(pem))
    (folder / "bmc.pem").write_bytes(certificate("bmc", bmc, "ca", root, False).public_bytes(pem))
    private = bmc.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "bmc.key").write_bytes(private)
