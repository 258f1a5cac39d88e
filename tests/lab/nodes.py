# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the node agent into a guest over SSH, and waits for its Node."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.controlplane import access, binaries, server
from tests.lab.errors import LabError
from tests.lab.node.api import ApiError

Progress = Callable[[str], None]

AGENT = Path(__file__).resolve().parent / "node"
GUEST_API = f"https://10.0.2.2:{server.API_PORT}"
READY_SECONDS = 180.0
CONTAINERD = "2.2.1"

UNIT = """\
[Unit]
Description=Node agent of the katagpu lab (stands in for kubelet and containerd)
Wants=network-online.target
After=network-online.target

[Service]
WorkingDirectory=/opt/katalab
ExecStart=/usr/bin/python3 -m node --agent-config /etc/katalab/agent.json
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
"""

# As kubeadm leaves it, in short. The agent does not read it; what the collection does with it is real.
KUBELET_CONFIGURATION = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
cgroupDriver: systemd
featureGates: {}
runtimeRequestTimeout: 0s
rotateCertificates: true
"""

# One connection: a trivial command costs about two seconds in an emulated guest. The archive comes on stdin.
INSTALL = """\
if [ "$(cat /etc/katalab/digest 2>/dev/null)" = {digest} ] && systemctl is-active -q kubelet; then
  cat >/dev/null; echo unchanged
else
  rm -rf /opt/katalab/node && tar -C / -xf - && systemctl daemon-reload && \
  {{ [ -e /var/lib/kubelet/config.yaml ] || install -D -m 0644 /etc/katalab/kubelet.yaml /var/lib/kubelet/config.yaml; }} && \
  systemctl enable -q kubelet && systemctl restart kubelet && \
  echo {digest} >/etc/katalab/digest && echo pushed
fi
"""


def agent_files() -> dict[str, bytes]:
    """The agent's sources by path relative to its package."""
    return {
        str(path.relative_to(AGENT)): path.read_bytes()
        for path in sorted(AGENT.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def digest_of(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def container_runtime() -> str:
    """What a new node claims to run. Releases differ in what they take: 23.9 wants containerd 1, and only 2 and newer
    publish their handlers in the Node. A node that exists keeps what it has."""
    return f"containerd://{os.environ.get('KATAGPU_LAB_CONTAINERD', CONTAINERD)}"


def agent_config(node: str, address: str, directory: str, **changes: Any) -> dict[str, Any]:
    """agent.json; `directory` is where the agent finds its token and certificates."""
    return {
        "node": node,
        "address": address,
        "api": GUEST_API,
        "token_file": f"{directory}/token",
        "ca_file": f"{directory}/ca.crt",
        "certificate_file": f"{directory}/serving.crt",
        "key_file": f"{directory}/serving.key",
        "root": "/",
        "port": 10250,
        "bind": "0.0.0.0",
        "simulated": False,
        "kubelet_version": binaries.version_of(binaries.KUBERNETES),
        "container_runtime_version": container_runtime(),
        **changes,
    }


def credentials(node: str, address: str) -> dict[str, bytes]:
    """Token, authority and serving certificate of an agent."""
    pair = server.authority().issue(f"node-{node}", f"system:node:{node}", names=(address, node))
    return {
        "token": server.token_path(access.AGENT).read_bytes(),
        "ca.crt": server.ca_file().read_bytes(),
        "serving.crt": pair.certificate.read_bytes(),
        "serving.key": pair.key.read_bytes(),
    }


def archive(files: dict[str, bytes]) -> bytes:
    """A tar archive; everything below etc/katalab is for root only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), int(time.time())
            entry.mode = 0o600 if name.startswith("etc/katalab/") else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def push_agent(machine: str, progress: Progress) -> bool:
    """Installs or updates the agent in a guest; True when something was pushed. The Node is Ready afterwards."""
    from tests.lab.machines import lifecycle

    profile = lifecycle.profile_of(machine)
    config = agent_config(profile.node, profile.address, "/etc/katalab")
    files = {f"opt/katalab/node/{name}": content for name, content in agent_files().items()}
    files.update({f"etc/katalab/{name}": data for name, data in credentials(profile.node, profile.address).items()})
    files["etc/katalab/agent.json"] = json.dumps(config, indent=1).encode()
    files["etc/systemd/system/kubelet.service"] = UNIT.encode()
    files["etc/katalab/kubelet.yaml"] = KUBELET_CONFIGURATION.encode()
    before = renewal(profile.node)
    command = lifecycle.ssh_command(profile, [INSTALL.format(digest=digest_of(files))])
    result = subprocess.run(command, input=archive(files), capture_output=True, timeout=300, check=False)
    if result.returncode != 0:
        raise LabError(f"machine {machine}: the node agent could not be installed: {result.stderr.decode().strip()}")
    pushed = b"pushed" in result.stdout
    progress(f"machine {machine} | node agent {'installed' if pushed else 'unchanged'}")
    wait_ready(profile.node, progress, before if pushed else "")
    return pushed


def renewal(node: str) -> str:
    """When the node's Lease was renewed last; empty when there is none."""
    try:
        lease = server.api().get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")
    except ApiError as error:
        if error.status == 404:
            return ""
        raise
    return str(lease["spec"].get("renewTime", ""))


def wait_ready(node: str, progress: Progress, before: str = "", seconds: float = READY_SECONDS) -> None:
    """Waits until the node is Ready and its Lease is not the one of an earlier agent (`before`, see `renewal`)."""
    client, started, said = server.api(), time.monotonic(), 0.0
    while True:
        try:
            conditions = client.get(f"/api/v1/nodes/{node}")["status"].get("conditions", [])
            if any(item["type"] == "Ready" and item["status"] == "True" for item in conditions):
                latest = renewal(node)
                if latest and latest != before:
                    return
        except ApiError as error:
            if error.status != 404:
                raise
        waited = time.monotonic() - started
        if waited > seconds:
            raise LabError(f"node {node} is not Ready after {waited:.0f} s. Look at the log of its agent.")
        if waited - said >= 10:
            said = waited
            progress(f"node {node} | waiting for Ready ... {waited:.0f} s")
        time.sleep(0.25)
