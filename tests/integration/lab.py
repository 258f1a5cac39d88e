# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests on the lab share: running playbooks, commands in a guest and kubectl, and reading a recap."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("KATAGPU_LAB_STATE", REPOSITORY / ".build" / "lab"))
INVENTORY = REPOSITORY / "inventories" / "lab"
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)"
)

# What may differ on a machine that nobody changed: logs, temporary folders, Ansible's own folder, and the lab's node agent.
VOLATILE = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/var/tmp",
    "/var/log",
    "/root/.ansible",
    "/var/lib/systemd",
    "/var/cache",
    "/opt/katalab",
)


@dataclass(frozen=True)
class PlaybookRun:
    returncode: int
    output: str
    seconds: float

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        found = {}
        for line in self.output.splitlines():
            if match := RECAP.match(line):
                fields = match.groupdict()
                host = fields.pop("host")
                found[host] = {key: int(value) for key, value in fields.items()}
        return found

    @property
    def changed(self) -> dict[str, int]:
        return {host: counts["changed"] for host, counts in self.recap.items()}


def playbook(
    name: str,
    *arguments: str,
    inventory: Path | str = INVENTORY,
    timeout: float = 1500,
    environment: Mapping[str, str] | None = None,
    kill_when: Callable[[], bool] | None = None,
) -> PlaybookRun:
    """With C(kill_when) the run is killed, with all that it has started, as soon as that is true."""
    begun = time.monotonic()
    target = name if name.endswith(".yml") else f"katagpu.cluster.{name}"
    command = ["ansible-playbook", target, "-i", str(inventory), *arguments]
    log = REPOSITORY / ".build" / "tests" / "playbooks.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # Written while it runs, so that a run that hangs can be looked at.
    with log.open("a+", encoding="utf-8") as stream:
        stream.write(f"$ {' '.join(command)}\n")
        stream.flush()
        start = stream.tell()
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_INJECT_FACT_VARS": "false",
                "PATH": f"{STATE / 'bin'}{os.pathsep}{os.environ['PATH']}",
                **(environment or {}),
            },
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = _ended(process, begun + timeout, kill_when)
        stream.seek(start)
        output = stream.read()
    return PlaybookRun(code, output, time.monotonic() - begun)


def _ended(process: subprocess.Popen[bytes], deadline: float, kill_when: Callable[[], bool] | None) -> int:
    try:
        while True:
            try:
                return process.wait(timeout=1 if kill_when else max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                if kill_when is None or time.monotonic() > deadline:
                    raise
                if kill_when():
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        # Also where the tests are interrupted: the run is in a session of its own.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def module(host: str, name: str, options: Mapping[str, Any], *arguments: str) -> dict[str, Any]:
    """What one module returns on one host, whether it fails or not, and as `shown` what Ansible has said before, such as a diff."""
    given = ["-a", json.dumps(dict(options))] if options else []
    command = ["ansible", host, "-i", str(INVENTORY), "-m", name, *given, *arguments]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    head, arrow, body = done.stdout.partition(" => ")
    assert arrow and head.rpartition("\n")[2].startswith(f"{host} | "), done.stdout + done.stderr
    result: dict[str, Any] = json.JSONDecoder().raw_decode(body)[0]
    return {**result, "failed": head.endswith("FAILED!"), "shown": head.rpartition("\n")[0]}


def lab(*arguments: str, timeout: float = 2700) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"tests.lab {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def guest(machine: str, command: str) -> str:
    return lab("ssh", machine, command)


def kubectl(*arguments: str) -> str:
    return lab("kubectl", *arguments)


def apply(manifest: dict[str, Any]) -> None:
    path = STATE / "applied.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    kubectl("apply", "-f", str(path))


def kubectl_json(*arguments: str) -> Any:
    return json.loads(kubectl(*arguments, "-o", "json"))


def listing() -> str:
    """The command that shows every file with type, mode, owner, size, change times and link target."""
    prune = " -o ".join(f"-path {path}" for path in VOLATILE)
    return f"find / $(findmnt -rno TARGET -t vfat) -xdev \\( {prune} \\) -prune -o -printf '%p %y %m %U:%G %s %T@ %C@ %l\\n'"


def files(shown: str) -> list[str]:
    return sorted(line for line in shown.splitlines() if not re.match(r"^/(root|var/lib|) d ", line))


def tree(machine: str) -> list[str]:
    """Every file of the guest."""
    return files(guest(machine, listing()))


def cluster_dump() -> dict[str, Any]:
    """What a run of ours could change on the API, without what time changes by itself."""
    dump: dict[str, Any] = {}
    for kind in ("namespaces", "nodes", "runtimeclasses", "crds", "deployments,daemonsets,serviceaccounts,configmaps"):
        for item in kubectl_json("get", kind, "--all-namespaces")["items"]:
            meta = item["metadata"]
            dump[f"{item['kind']}/{meta.get('namespace', '')}/{meta['name']}"] = {
                "labels": meta.get("labels"),
                "annotations": meta.get("annotations"),
                "spec": item.get("spec"),
                "unschedulable": item.get("spec", {}).get("unschedulable"),
            }
    return dump
