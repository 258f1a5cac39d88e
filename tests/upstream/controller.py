# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the real controller of the GPU Operator, with the arguments, variables and rights that its chart gives it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab import paths, processes
from tests.lab.controlplane import pki, server
from tests.lab.errors import LabError
from tests.upstream import script

NAME = "gpu-operator"
# It is to listen nowhere, and outside a pod it does not know the namespace of its lease.
OVERRIDES = ("--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-elect=false")
ENCLOSE = Path(__file__).resolve().parent / "enclose"


def variables(container: dict[str, Any], namespace: str) -> dict[str, str]:
    """Environment of the container; fields of the pod are those that the chart uses."""
    fields = {"metadata.namespace": namespace, "metadata.name": NAME}
    found = {}
    for one in container.get("env") or []:
        field = ((one.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
        found[one["name"]] = fields[field] if field else str(one.get("value", ""))
    return found


@contextmanager
def running(namespace: str, own: dict[str, Path]) -> Iterator[None]:
    """The controller, until the block ends."""
    api = server.api()
    deployment = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    account = pod["serviceAccountName"]
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    token = api.create(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    folder = paths.ensure(paths.STATE / "controller", 0o700)
    kubeconfig, os_release, root = folder / "kubeconfig", folder / "os-release", paths.ensure(folder / "root", 0o700)
    text = pki.kubeconfig(server.API, server.authority().pair, token=token["status"]["token"], user=account)
    pki.write_private(kubeconfig, text.encode())
    os_release.write_text(script.OS_RELEASE, encoding="utf-8")
    arguments = [*(container.get("args") or []), *OVERRIDES]
    inputs = (own["assets"], own["manifests"], own["binary"], kubeconfig, os_release)
    command = [*_unshare(), ENCLOSE, root, *inputs, *arguments]
    log = paths.LOGS / f"{NAME}.log"
    log.unlink(missing_ok=True)
    processes.start(NAME, command, env=variables(container, namespace))
    try:
        _wait_for_start(log)
        yield
        if processes.find(NAME) is None:
            raise LabError(f"The controller ended before the script did. {_tail(log)}")
    finally:
        processes.stop(NAME, timeout_seconds=30)


def _unshare() -> list[str]:
    tool = shutil.which("unshare")
    if tool is None:
        raise LabError("The tool unshare is needed to give the controller a root of its own. On Debian: util-linux.")
    return [tool, "--mount"] if os.geteuid() == 0 else [tool, "--user", "--map-root-user", "--mount"]


def _wait_for_start(log: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while "Starting workers" not in (log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""):
        if processes.find(NAME) is None or time.monotonic() > deadline:
            raise LabError(f"The controller did not start. {_tail(log)}")
        time.sleep(0.2)


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:] if log.exists() else []
    return f"The end of {log}:\n" + "\n".join(lines)
