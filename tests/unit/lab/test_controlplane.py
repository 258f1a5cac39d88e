# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's control plane: versions, certificates, kubeconfigs, arguments."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.lab.controlplane import access, binaries, download, pki, server
from tests.lab.errors import LabError

GO_MOD = """module x

go 1.26.0

require k8s.io/kubernetes v1.37.2

require (
\tk8s.io/kubelet v0.37.2 // indirect
\texample.com/k8s.io/kubernetes v9.9.9
)
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [("v1.37.2", (1, 37, 2)), ("go1.26.8", (1, 26, 8)), ("1.26", (1, 26, 0)), ("go1.27rc1", (1, 27, 0))],
)
def test_versions_are_parsed(text: str, version: tuple[int, int, int]) -> None:
    assert binaries.parse_version(text) == version


def test_module_version() -> None:
    assert binaries.module_version(GO_MOD, "k8s.io/kubernetes") == "v1.37.2"
    assert binaries.module_version(GO_MOD, "k8s.io/kubelet") == "v0.37.2"
    assert binaries.go_version_needed(GO_MOD) == (1, 26, 0)
    with pytest.raises(LabError, match=r"does not require k8s\.io/kube$"):
        binaries.module_version(GO_MOD, "k8s.io/kube")


@pytest.mark.parametrize("component", binaries.COMPONENTS, ids=lambda component: component.name)
def test_every_component_is_pinned_and_has_sums(component: binaries.Component) -> None:
    version = binaries.version_of(component)
    assert binaries.directory_of(component).name == f"{component.name}-{version}"
    sums = (binaries.GO_SOURCES / component.name / "go.sum").read_text()
    assert f"{component.module} {version} h1:" in sums


def test_kubernetes_knows_its_version() -> None:
    stamp = binaries.kubernetes_stamp("v1.37.2")
    for part in ("gitVersion=v1.37.2", "gitMajor=1", "gitMinor=37"):
        assert f"-X k8s.io/component-base/version.{part}" in stamp


def test_missing_binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries.paths, "CACHE", tmp_path)
    assert binaries.missing(binaries.ETCD) == ["etcd"]
    target = binaries.binary("etcd")
    target.parent.mkdir(parents=True)
    target.touch()
    assert binaries.missing(binaries.ETCD) == ["etcd"], "a file that cannot be executed is not a binary"
    target.chmod(0o755)
    assert binaries.missing(binaries.ETCD) == []
    with pytest.raises(LabError, match="no binary nonsense"):
        binaries.binary("nonsense")


def test_published_checksums() -> None:
    sums = "aa  etcd-v1-linux-amd64.tar.gz\nBB *other.tar.gz\n"
    assert download.checksum_of(sums, "https://x.example.com/etcd-v1-linux-amd64.tar.gz") == "aa"
    assert download.checksum_of(sums, "https://x.example.com/other.tar.gz") == "bb"
    assert download.checksum_of("cc\n", "https://x.example.com/kubectl") == "cc"
    with pytest.raises(LabError, match="no published checksum for absent"):
        download.checksum_of(sums, "https://x.example.com/absent")


def certificate(pair: pki.Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())


def test_server_certificate_names_every_way_to_the_api(tmp_path: Path) -> None:
    pair = pki.Authority(tmp_path).issue("apiserver", "kube-apiserver", names=pki.API_NAMES)
    names = certificate(pair).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(one) for one in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "10.0.2.2", "10.96.0.1"}
    assert {"localhost", "kubernetes", "kubernetes.default.svc"} <= set(names.get_values_for_type(x509.DNSName))


def test_client_certificates_are_for_clients_only(tmp_path: Path) -> None:
    pair = pki.Authority(tmp_path).issue("admin", "me", "system:masters")
    subject = certificate(pair).subject
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:masters"
    usage = certificate(pair).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_private_and_kept(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path)
    pair = authority.issue("a", "a")
    before = pair.certificate.read_bytes()
    again = pki.Authority(tmp_path).issue("a", "a")
    assert again.certificate.read_bytes() == before
    certificate(again).verify_directly_issued_by(certificate(authority.pair))
    keys = [pair.key, authority.pair.key, pki.service_account_key(tmp_path)]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_tokens_are_private_kept_and_different(tmp_path: Path) -> None:
    first, second = pki.static_token(tmp_path / "a"), pki.static_token(tmp_path / "b")
    assert first != second
    assert pki.static_token(tmp_path / "a") == first
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_kubeconfig_is_complete(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path)
    admin = authority.issue("admin", "me", "system:masters")
    config = json.loads(pki.kubeconfig("https://127.0.0.1:16443", authority.pair, admin))
    assert config["current-context"] == config["contexts"][0]["name"]
    assert config["contexts"][0]["context"]["user"] == config["users"][0]["name"]
    data = config["users"][0]["user"]["client-certificate-data"]
    assert base64.b64decode(data) == admin.certificate.read_bytes()
    assert json.loads(pki.kubeconfig("https://x", authority.pair, token="t"))["users"][0]["user"] == {"token": "t"}


@pytest.mark.parametrize("name", server.NAMES)
def test_nothing_listens_beyond_loopback(name: str) -> None:
    options = ("--bind-address", "--listen-client-urls", "--listen-peer-urls")
    listening = [word for word in server.arguments(name) if word.split("=")[0] in options]
    assert listening
    assert all("127.0.0.1" in word for word in listening)


def test_agents_cannot_do_what_administrators_can() -> None:
    rules = access.AGENT_RULES + access.STANDIN_RULES
    assert not any("*" in rule["verbs"] or "*" in rule["apiGroups"] for rule in rules)
    secrets = [rule["verbs"] for rule in rules if "secrets" in rule["resources"]]
    assert all(verbs == access.READ for verbs in secrets)


def test_token_file_lines() -> None:
    assert access.token_file({"b": "2", "a": "1"}) == "1,a,a\n2,b,b\n"
