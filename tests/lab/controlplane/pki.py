# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, keys and kubeconfigs of the lab's control plane, made with the `cryptography` library."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

API_NAMES = (
    "127.0.0.1",
    "10.0.2.2",  # the host as guests see it through QEMU's user networking
    "10.96.0.1",  # first address of the service range
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
LIFETIME = datetime.timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """Paths of a certificate and its key, PEM."""

    certificate: Path
    key: Path

    def exists(self) -> bool:
        return self.certificate.is_file() and self.key.is_file()


def write_private(path: Path, data: bytes) -> None:
    """Replaces a file that only its owner can read: never a wider mode, never half a file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(data)
    temporary.replace(path)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def alternative_names(names: tuple[str, ...]) -> list[x509.GeneralName]:
    """IP addresses as IP entries, everything else as DNS entries: clients compare them differently."""
    result: list[x509.GeneralName] = []
    for name in names:
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            result.append(x509.DNSName(name))
    return result


class Authority:
    """The lab's certificate authority in a directory; made on first use, kept after that."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pair = Pair(directory / "ca.crt", directory / "ca.key")
        if not self.pair.exists():
            self._create()
        key = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "katagpu-lab-ca")])
        now = datetime.datetime.now(datetime.timezone.utc)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self.pair.key, private_pem(key))
        self.pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, file_name: str, common_name: str, group: str = "", names: tuple[str, ...] = ()) -> Pair:
        """A certificate for clients (user `common_name`, group `group`) and, with `names`, for a server."""
        pair = Pair(self.directory / f"{file_name}.crt", self.directory / f"{file_name}.key")
        if pair.exists():
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if group:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(attributes))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + LIFETIME - datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative_names(names)), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        write_private(pair.key, private_pem(key))
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return pair


def service_account_key(directory: Path) -> Path:
    """The key that signs service account tokens."""
    path = directory / "service-account.key"
    if not path.is_file():
        write_private(path, private_pem(ec.generate_private_key(ec.SECP256R1())))
    return path


def static_token(path: Path) -> str:
    """A random bearer token kept in `path`."""
    if not path.is_file():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text(encoding="utf-8").strip()


def kubeconfig(server: str, authority: Pair, client: Pair | None = None, token: str = "", user: str = "admin") -> str:
    """A kubeconfig with everything inside, so that the file can be copied. JSON is YAML, and kubectl reads both."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    credentials: dict[str, Any] = {"token": token}
    if client is not None:
        credentials = {"client-certificate-data": data(client.certificate), "client-key-data": data(client.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "katagpu-lab",
                "cluster": {"server": server, "certificate-authority-data": data(authority.certificate)},
            }
        ],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "katagpu-lab", "context": {"cluster": "katagpu-lab", "user": user}}],
        "current-context": "katagpu-lab",
    }
    return json.dumps(document, indent=2) + "\n"
