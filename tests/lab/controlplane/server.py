# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts, checks and ends the control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler."""

from __future__ import annotations

import json
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab import paths, processes
from tests.lab.controlplane import access, binaries, pki, rights
from tests.lab.errors import LabError
from tests.lab.node.api import Api, ApiError

Progress = Callable[[str], None]

ADDRESS = "127.0.0.1"
API_PORT = 16443
ETCD_PORT, ETCD_PEER_PORT = 12379, 12380
CONTROLLER_MANAGER_PORT, SCHEDULER_PORT = 20257, 20259
API = f"https://{ADDRESS}:{API_PORT}"
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE_GRACE_SECONDS = 20  # short enough that a reboot of a guest really shows as NotReady


class ControlPlaneError(LabError):
    """The control plane did not come up; the text is for the user."""


def directory() -> Path:
    return Path(paths.STATE) / "controlplane"


def pki_directory() -> Path:
    return directory() / "pki"


def authority() -> pki.Authority:
    paths.ensure(pki_directory(), 0o700)
    return pki.Authority(pki_directory())


def ca_file() -> Path:
    return pki_directory() / "ca.crt"


def token_path(user: str) -> Path:
    """File with the bearer token of `lab-node-agent` or `lab-standin`."""
    return Path(paths.STATE) / "tokens" / user


def standin_kubeconfig() -> Path:
    """Kubeconfig of the stand-in controllers, with their own rights."""
    return Path(paths.STATE) / "kubeconfig-standin"


def api() -> Api:
    """The API as cluster administrator."""
    admin = authority().issue("admin", "katagpu-lab-admin", "system:masters")
    return Api(API, ca_file(), certificate=(admin.certificate, admin.key))


def _prepare() -> None:
    ca = authority()
    server = ca.issue("apiserver", "kube-apiserver", names=pki.API_NAMES)
    assert server.exists()
    ca.issue("etcd", "etcd", names=(ADDRESS, "localhost"))
    ca.issue("etcd-client", "kube-apiserver-etcd-client")
    ca.issue("kubelet-client", "kube-apiserver-kubelet-client")
    ca.issue("proxy-client", "front-proxy-client")
    pki.service_account_key(pki_directory())
    admin = ca.issue("admin", "katagpu-lab-admin", "system:masters")
    tokens = {user: pki.static_token(token_path(user)) for user in (access.AGENT, access.STANDIN)}
    pki.write_private(directory() / "tokens.csv", access.token_file(tokens).encode())
    pki.write_private(Path(paths.KUBECONFIG), pki.kubeconfig(API, ca.pair, admin).encode())
    standin = pki.kubeconfig(API, ca.pair, token=tokens[access.STANDIN], user=access.STANDIN)
    pki.write_private(standin_kubeconfig(), standin.encode())
    pki.write_private(directory() / "audit-policy.json", json.dumps(rights.AUDIT_POLICY).encode())
    paths.ensure(paths.AUDIT, 0o700)
    for name in ("kube-controller-manager", "kube-scheduler"):
        client = ca.issue(name, f"system:{name}", names=(ADDRESS, "localhost"))
        pki.write_private(directory() / f"{name}.kubeconfig", pki.kubeconfig(API, ca.pair, client, user=name).encode())


def _etcd_arguments() -> list[str]:
    certificates = pki_directory()
    client, peer = f"https://{ADDRESS}:{ETCD_PORT}", f"https://{ADDRESS}:{ETCD_PEER_PORT}"
    return [
        "--name=lab",
        f"--data-dir={directory() / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=lab={peer}",
        f"--cert-file={certificates / 'etcd.crt'}",
        f"--key-file={certificates / 'etcd.key'}",
        f"--trusted-ca-file={certificates / 'ca.crt'}",
        "--client-cert-auth=true",
        f"--peer-cert-file={certificates / 'etcd.crt'}",
        f"--peer-key-file={certificates / 'etcd.key'}",
        f"--peer-trusted-ca-file={certificates / 'ca.crt'}",
        "--peer-client-cert-auth=true",
        "--unsafe-no-fsync=true",  # the data is thrown away with the lab
        "--log-level=warn",
    ]


def _apiserver_arguments() -> list[str]:
    certificates = pki_directory()
    return [
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        f"--secure-port={API_PORT}",
        # Nothing in the lab talks to the service "kubernetes", and a loopback address is not valid in Endpoints.
        "--endpoint-reconciler-type=none",
        f"--etcd-servers=https://{ADDRESS}:{ETCD_PORT}",
        f"--etcd-cafile={certificates / 'ca.crt'}",
        f"--etcd-certfile={certificates / 'etcd-client.crt'}",
        f"--etcd-keyfile={certificates / 'etcd-client.key'}",
        f"--tls-cert-file={certificates / 'apiserver.crt'}",
        f"--tls-private-key-file={certificates / 'apiserver.key'}",
        f"--client-ca-file={certificates / 'ca.crt'}",
        f"--token-auth-file={directory() / 'tokens.csv'}",
        "--anonymous-auth=false",
        "--authorization-mode=RBAC",
        f"--kubelet-certificate-authority={certificates / 'ca.crt'}",
        f"--kubelet-client-certificate={certificates / 'kubelet-client.crt'}",
        f"--kubelet-client-key={certificates / 'kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        # Unused, but without it the controller-manager and the scheduler complain every few seconds.
        f"--requestheader-client-ca-file={certificates / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--service-account-key-file={certificates / 'service-account.key'}",
        f"--service-account-signing-key-file={certificates / 'service-account.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--profiling=false",
        f"--audit-policy-file={directory() / 'audit-policy.json'}",
        f"--audit-log-path={rights.audit_log()}",
        "--audit-log-mode=blocking-strict",
    ]


def _client_arguments(name: str, port: int) -> list[str]:
    kubeconfig, certificates = directory() / f"{name}.kubeconfig", pki_directory()
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={ADDRESS}",
        f"--secure-port={port}",
        f"--tls-cert-file={certificates / f'{name}.crt'}",
        f"--tls-private-key-file={certificates / f'{name}.key'}",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--profiling=false",
    ]


def _controller_manager_arguments() -> list[str]:
    certificates = pki_directory()
    return [
        *_client_arguments("kube-controller-manager", CONTROLLER_MANAGER_PORT),
        f"--root-ca-file={certificates / 'ca.crt'}",
        f"--service-account-private-key-file={certificates / 'service-account.key'}",
        "--use-service-account-credentials=true",
        f"--node-monitor-grace-period={NODE_GRACE_SECONDS}s",
        "--node-monitor-period=2s",
        "--allocate-node-cidrs=false",
    ]


def arguments(name: str) -> list[str]:
    if name == "etcd":
        return _etcd_arguments()
    if name == "kube-apiserver":
        return _apiserver_arguments()
    if name == "kube-controller-manager":
        return _controller_manager_arguments()
    return _client_arguments("kube-scheduler", SCHEDULER_PORT)


def _start(name: str, progress: Progress) -> None:
    if processes.find(name) is not None:
        return
    progress(f"control plane | starting {name}")
    processes.start(name, [binaries.binary(name), *arguments(name)])


def cluster_up(progress: Progress) -> None:
    """Brings the control plane up; what runs already is left as it is."""
    started = time.monotonic()
    binaries.ensure_binaries(progress)
    binaries.link_clients()
    _prepare()
    fresh = any(processes.find(name) is None for name in NAMES)
    _start("etcd", progress)
    _start("kube-apiserver", progress)
    _wait("kube-apiserver", f"{API}/readyz")
    _grant(api())
    _start("kube-controller-manager", progress)
    _start("kube-scheduler", progress)
    _wait("kube-controller-manager", f"https://{ADDRESS}:{CONTROLLER_MANAGER_PORT}/healthz")
    _wait("kube-scheduler", f"https://{ADDRESS}:{SCHEDULER_PORT}/healthz")
    _wait_for_namespaces(api())
    _grant_ours(api())
    if fresh:
        version = binaries.version_of(binaries.KUBERNETES)
        progress(f"control plane | Kubernetes {version} ready at {API} in {time.monotonic() - started:.1f} s")
    else:
        progress(f"control plane | up at {API}")


def _healthy(url: str) -> str:
    """Empty when the endpoint answers 200, else what is wrong."""
    admin = authority().issue("admin", "katagpu-lab-admin", "system:masters")
    context = ssl.create_default_context(cafile=str(ca_file()))
    context.load_cert_chain(admin.certificate, admin.key)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=3):
            return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except OSError as error:
        return str(error)


def _wait(name: str, url: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while problem := _healthy(url):
        for one in dict.fromkeys(("etcd", "kube-apiserver", name)):
            if processes.find(one) is None:
                raise ControlPlaneError(f"control plane: {one} has ended. {_log_tail(one)}")
        if time.monotonic() > deadline:
            raise ControlPlaneError(f"control plane: {name} is not ready ({problem}). {_log_tail(name)}")
        time.sleep(0.1)


def _log_tail(name: str) -> str:
    log = Path(paths.LOGS) / f"{name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:] if log.is_file() else []
    return f"The end of {log}:\n" + "\n".join(lines)


def _grant(client: Api) -> None:
    for item in access.objects():
        path = access.path_of(item)
        try:
            client.create(path, item)
        except ApiError as error:
            if error.status != 409:
                raise
            client.replace(f"{path}/{item['metadata']['name']}", item)


def _grant_ours(client: Api) -> None:
    """The collection's own users, as an administrator would set them up: its manifests, and a token for each account."""
    for item in rights.manifests(rights.releases()):
        path = rights.path_of(item)
        try:
            client.create(path, item)
        except ApiError as error:
            if error.status != 409:
                raise
            if item["kind"] != "Namespace":
                client.replace(f"{path}/{item['metadata']['name']}", item)
    for user in rights.USERS:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 7 * 86400},
        }
        answer = client.create(rights.token_path(user), body)
        text = pki.kubeconfig(API, authority().pair, token=answer["status"]["token"], user=user)
        pki.write_private(rights.kubeconfig_of(user), text.encode())


def _wait_for_namespaces(client: Api, seconds: float = 30.0) -> None:
    """The first namespaces appear shortly after /readyz, and pods need the service account after them."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.get("/api/v1/namespaces/default/serviceaccounts/default")
            return
        except ApiError as error:
            if error.status != 404 or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def cluster_down(progress: Progress = lambda text: None) -> None:
    """Ends the control plane and removes its data; keys, tokens and the cache stay."""
    for name in reversed(NAMES):
        if processes.stop(name):
            progress(f"control plane | {name} ended")
    shutil.rmtree(directory() / "etcd", ignore_errors=True)


def cluster_status() -> dict[str, Any]:
    """State, memory and age of the processes, readiness of the API, and the nodes it knows."""
    result: dict[str, Any] = {"server": API, "ready": False, "processes": {}, "nodes": {}}
    for name in NAMES:
        record = processes.find(name)
        if record is not None:
            result["processes"][name] = {
                "pid": record["pid"],
                "memory_mib": processes.rss_kib(record["pid"]) // 1024,
                "age_seconds": round(processes.age_seconds(record)),
            }
    if "kube-apiserver" in result["processes"] and not _healthy(f"{API}/readyz"):
        result["ready"] = True
        for node in api().get("/api/v1/nodes")["items"]:
            conditions = {item["type"]: item["status"] for item in node["status"].get("conditions", [])}
            result["nodes"][node["metadata"]["name"]] = conditions.get("Ready", "Unknown")
    return result
