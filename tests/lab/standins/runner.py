# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop of the stand-ins: one process, both operators, each only while its Deployment is available."""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tests.lab.controlplane import access, server
from tests.lab.standins import coco_operator, facts, gpu_labels, gpu_operator
from tests.lab.standins.actions import Action, Note, Object, labels_of
from tests.lab.standins.cluster import Api, ApiError, Cluster, available, now

PERIOD_SECONDS = 2.0
# What the labelling of nodes has seen; forgotten when the process ends, as it would be upstream.
_memory: gpu_labels.Memory = {}


def operator_version(deployment: Object) -> str:
    """Version of an operator: the tag of its image, or its label where the image has none (a digest)."""
    image = str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
    tag = "" if "@" in image else image.rpartition("/")[2].partition(":")[2]
    return tag or labels_of(deployment).get("app.kubernetes.io/version", "")


def table_of(version: str) -> str | None:
    """Fact table of a version such as v26.7.0; None: the stand-in does not know that release."""
    found = re.match(r"v?(\d+\.\d+)\b", version)
    return facts.GPU_OPERATORS.get(found[1]) if found else None


def gpu_operator_step(cluster: Cluster) -> Iterator[list[Action]]:
    """One reconcile per available gpu-operator Deployment and ClusterPolicy; the Deployment says which release it is."""
    fact = facts.value(facts.GPU_OPERATOR, "deployment.gpu-operator")
    operators = cluster.list("Deployment", selector="app.kubernetes.io/component=gpu-operator")
    running = [one for one in operators if one["metadata"]["name"] == fact["name"] and available(one)]
    if not running:
        return
    version = operator_version(running[0])
    table = table_of(version)
    if table is None:
        yield [Note(f"GPU Operator {version or 'without a version'} is not one of {', '.join(facts.GPU_OPERATORS)}")]
        return
    namespace = running[0]["metadata"]["namespace"]
    # A second ClusterPolicy is ignored by upstream; the first by age is the one that counts.
    policies = sorted(cluster.list("ClusterPolicy"), key=_age)
    for policy in policies[:1]:
        if policy["metadata"].get("deletionTimestamp"):
            continue
        yield gpu_operator.reconcile(
            gpu_operator.GpuState(
                table=table,
                policy=policy,
                nodes=cluster.list("Node"),
                namespace=namespace,
                now=now(),
                daemonsets=cluster.by_name("DaemonSet", namespace),
                runtime_classes=cluster.by_name("RuntimeClass"),
                service_accounts=set(cluster.by_name("ServiceAccount", namespace)),
                config_maps=cluster.by_name("ConfigMap", namespace),
                memory=_memory,
            )
        )


def coco_operator_step(cluster: Cluster) -> Iterator[list[Action]]:
    """One reconcile per CcRuntime while the controller manager is available."""
    fact = facts.value(facts.COCO_OPERATOR, "deployment")
    operators = cluster.list("Deployment", fact["namespace"])
    if not any(one["metadata"]["name"] == fact["name"] and available(one) for one in operators):
        return
    for runtime in cluster.list("CcRuntime"):
        yield coco_operator.reconcile(
            coco_operator.CcState(
                runtime=runtime,
                nodes=cluster.list("Node"),
                namespace=fact["namespace"],
                daemonsets=cluster.by_name("DaemonSet", fact["namespace"]),
                runtime_classes=cluster.by_name("RuntimeClass"),
            )
        )


def _age(item: Object) -> str:
    return str(item["metadata"].get("creationTimestamp", ""))


STEPS: dict[str, Callable[[Cluster], Iterator[list[Action]]]] = {
    "coco-operator": coco_operator_step,
    "gpu-operator": gpu_operator_step,
}


class Log:
    """Lines with time; what repeats itself is written once."""

    def __init__(self) -> None:
        self._last: dict[str, set[str]] = {}

    def write(self, name: str, lines: list[str]) -> None:
        seen = self._last.get(name, set())
        for line in lines:
            if line and line not in seen:
                print(f"{time.strftime('%H:%M:%S')} {name} | {line}", flush=True)
        self._last[name] = set(lines)


def one_pass(cluster: Cluster, log: Log) -> None:
    """Both operators once; an error of the API ends the pass of one operator, as it would upstream."""
    for name, step in STEPS.items():
        lines: list[str] = []
        try:
            for actions in step(cluster):
                lines += [cluster.carry_out(action) for action in actions]
        except ApiError as error:
            lines.append(f"API error {error}"[:400])
        except OSError as error:
            lines.append(f"API not reachable: {error}"[:200])
        log.write(name, lines)


def client() -> Cluster:
    """With the rights of the upstream controllers, no more."""
    token = server.token_path(access.STANDIN).read_text(encoding="utf-8").strip()
    return Cluster(Api(server.API, server.ca_file(), token=token, name=access.STANDIN))


def run() -> int:
    """Until SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    cluster, log = client(), Log()
    releases = " and ".join(facts.GPU_OPERATORS)
    print(
        f"{time.strftime('%H:%M:%S')} stand-ins of CoCo operator v0.7.0 and GPU Operator {releases} started", flush=True
    )
    while not stop.is_set():
        one_pass(cluster, log)
        stop.wait(PERIOD_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(run())
