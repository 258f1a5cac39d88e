# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s-kata-manager v0.1.2: modules, CDI specification, artifacts, containerd runtimes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..behaviour import Behaviour, Context, Outcome, Pod, failed, register, running
from .sysfs import Function, sysfs
from .validators import validations

MODULES = ("vhost-vsock", "vhost-net")
CONFIG_MAP = "nvidia-kata-manager-config"
ARTIFACTS_DIR = "/opt/nvidia-gpu-operator/artifacts/runtimeclasses"
CDI_KIND = "nvidia.com/pgpu"
CDI_FILE = "cdi/nvidia.com-pgpu.yaml"  # below /run, which /var/run is
STANDIN = "Stand-in of the katagpu lab: the real file comes from the artifacts image of the class.\n"
KERNEL = "vmlinuz-5.19.2-000-nvidia-gpu"
INITRD = "kata-ubuntu-jammy-nvidia-gpu.initrd"
CONFIGURATION = "configuration-nvidia-gpu-qemu.toml"


def cdi_spec(gpus: list[Function]) -> str:
    """Names are positions among all GPUs; entries only for those on the literal driver vfio-pci."""
    devices = [(index, one) for index, one in enumerate(gpus) if one.driver == "vfio-pci" and one.group]
    if not devices:
        return ""
    lines = ["---", "cdiVersion: 0.5.0", "containerEdits: {}", "devices:"]
    for index, one in devices:
        lines += ["- containerEdits:", "    deviceNodes:", f"    - path: /dev/vfio/{one.group}", f'  name: "{index}"']
    return "\n".join([*lines, f"kind: {CDI_KIND}", ""])


def configuration(directory: str) -> str:
    """What the manager leaves of a Kata configuration after it rewrote the paths."""
    return (
        f"# {STANDIN}[hypervisor.qemu]\n"
        'path = "/opt/confidential-containers/bin/qemu-system-x86_64"\n'
        f'kernel = "{directory}/{KERNEL}"\ninitrd = "{directory}/{INITRD}"\n'
        'enable_annotations = ["enable_iommu", "default_memory", "default_vcpus"]\n'
        "hotplug_vfio_on_root_bus = true\npcie_root_port = 1\n"
    )


@register
class KataManager(Behaviour):
    container = "nvidia-kata-manager"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        ctx.log("waiting for vfio-pci validations to complete...")
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if ctx.memory.get("started"):
            return running()
        if not (validations(ctx) / "vfio-pci-ready").exists():
            return running(ready=False)
        ctx.memory["started"] = True
        return self._run(ctx, pod)

    def _run(self, ctx: Context, pod: Pod) -> Outcome:
        system = sysfs(ctx.root, ctx.simulated)
        for module in MODULES:
            problem = system.load(module)
            if problem:
                return failed(f"failed to load kernel modules: {problem}")
        spec = cdi_spec(system.gpus())
        if not spec:
            return failed("failed to generate CDI spec: invalid CDI Spec: no devices")
        path = ctx.run_root / CDI_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(spec, encoding="utf-8")
        ctx.log(f"wrote /var/run/{CDI_FILE}")

        directory = ctx.env("KATA_ARTIFACTS_DIR", ARTIFACTS_DIR).rstrip("/")
        ctx.memory["directory"] = directory
        ctx.memory["classes"] = []
        for one in self._classes(ctx, pod):
            name, url = str(one["name"]), str((one.get("artifacts") or {}).get("url", ""))
            self._artifacts(ctx.root / directory.lstrip("/") / name, f"{directory}/{name}", url)
            ctx.runtime_handlers.add(name)
            ctx.memory["classes"].append(name)
            ctx.log(f"added runtime {name} ({url})")
        (ctx.root / directory.lstrip("/") / "k8s-kata-manager.pid").write_text("1\n", encoding="utf-8")
        # SIGHUP to containerd.
        ctx.restart_runtime(seconds=2.0)
        ctx.log("containerd successfully restarted")
        return running()

    @staticmethod
    def _classes(ctx: Context, pod: Pod) -> list[dict[str, Any]]:
        namespace = pod["metadata"]["namespace"]
        found = ctx.api.get(f"/api/v1/namespaces/{namespace}/configmaps/{CONFIG_MAP}")
        classes: list[dict[str, Any]] = json.loads(found["data"]["config.yaml"]).get("runtimeClasses") or []
        return classes

    @staticmethod
    def _artifacts(path: Path, inside: str, url: str) -> None:
        path.mkdir(parents=True, exist_ok=True)
        (path / CONFIGURATION).write_text(configuration(inside), encoding="utf-8")
        for name in (KERNEL, INITRD):
            (path / name).write_text(f"{STANDIN}{url}\n", encoding="utf-8")

    def stop(self, ctx: Context, pod: Pod) -> None:
        """The runtimes go; artifacts and CDI file stay."""
        if not ctx.memory.get("classes"):
            return
        for name in ctx.memory["classes"]:
            ctx.runtime_handlers.discard(name)
        pid = ctx.root / str(ctx.memory["directory"]).lstrip("/") / "k8s-kata-manager.pid"
        pid.unlink(missing_ok=True)
        ctx.restart_runtime(seconds=2.0)
