# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node side of the Confidential Containers operator v0.7.0: the replaced containerd and the Kata payload."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from ..behaviour import Behaviour, Context, Outcome, Pod, failed, register, running

DIRECTORY = "opt/confidential-containers"
DROP_IN = "etc/systemd/system/containerd.service.d/containerd-for-cc-override.conf"
DROP_IN_TEXT = "[Service]\nExecStart=\nExecStart=/opt/confidential-containers/bin/containerd\n"
VERSION = "containerd://1.6.8.2"
STANDIN = "Stand-in of the katagpu lab for a file of the payload image.\n"
KATA_LABEL = "katacontainers.io/kata-runtime"
HANDLERS = ("kata", "kata-clh", "kata-clh-tdx", "kata-qemu", "kata-qemu-tdx", "kata-qemu-sev", "kata-qemu-snp")
PAYLOAD = ("bin/containerd-shim-kata-v2", "bin/kata-runtime", "bin/qemu-system-x86_64", "bin/cloud-hypervisor")
CONFIGURATIONS = "share/defaults/kata-containers"


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _original(ctx: Context) -> Path:
    return ctx.state_dir / "containerd-version-before-coco"


def _name(pod: Pod) -> str:
    return str((pod["metadata"].get("labels") or {}).get("name", ""))


@register
class PreInstall(Behaviour):
    container = "cc-runtime-pre-install-pod"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        if not ctx.container_runtime_version.startswith("containerd://"):
            return failed(f"ERROR: {ctx.container_runtime_version} is not yet supported")
        ctx.log("Copying containerd-for-cc artifacts onto host")
        if ctx.container_runtime_version != VERSION:
            _write(_original(ctx), ctx.container_runtime_version)
        _write(ctx.root / DIRECTORY / "bin/containerd", STANDIN, 0o755)
        _write(ctx.root / DROP_IN, DROP_IN_TEXT)
        ctx.log("Restarting containerd")
        ctx.restart_runtime(VERSION)
        ctx.patch_node_labels({"cc-preinstall/done": "true"})
        return running()


@register
class Install(Behaviour):
    container = "cc-runtime-install-pod"

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        return container.get("name") == self.container and _name(pod) == "cc-operator-daemon-install"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        ctx.log("copying kata artifacts onto host")
        for name in PAYLOAD:
            _write(ctx.root / DIRECTORY / name, STANDIN, 0o755)
        for handler in HANDLERS:
            shim = handler.removeprefix("kata").lstrip("-") or "qemu"
            _write(ctx.root / DIRECTORY / CONFIGURATIONS / f"configuration-{shim}.toml", f"# {STANDIN}")
            ctx.runtime_handlers.add(handler)
        ctx.log("Add Kata Containers as supported runtimes for containerd: " + " ".join(HANDLERS))
        ctx.restart_runtime()
        ctx.patch_node_labels({KATA_LABEL: "true"})
        return running()

    def stop(self, ctx: Context, pod: Pod) -> None:
        """preStop runs cleanupCmd, kata-deploy.sh reset: the label goes and containerd restarts."""
        ctx.patch_node_labels({KATA_LABEL: None})
        ctx.restart_runtime()


@register
class Uninstall(Behaviour):
    container = "cc-runtime-install-pod"

    def matches(self, pod: Pod, container: dict[str, object]) -> bool:
        return container.get("name") == self.container and _name(pod) == "cc-operator-daemon-uninstall"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        ctx.log("deleting kata artifacts")
        for handler in HANDLERS:
            ctx.runtime_handlers.discard(handler)
        shutil.rmtree(ctx.root / DIRECTORY / "share", ignore_errors=True)
        for name in PAYLOAD:
            (ctx.root / DIRECTORY / name).unlink(missing_ok=True)
        ctx.restart_runtime()
        ctx.patch_node_labels({KATA_LABEL: "cleanup"})
        return running()


@register
class PostUninstall(Behaviour):
    container = "cc-runtime-post-uninstall-pod"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        ctx.log("Removing containerd-for-cc artifacts from host")
        (ctx.root / DROP_IN).unlink(missing_ok=True)
        (ctx.root / DIRECTORY / "bin/containerd").unlink(missing_ok=True)
        for path in (ctx.root / DROP_IN).parent, ctx.root / DIRECTORY / "bin", ctx.root / DIRECTORY:
            # Only where empty, as upstream's rmdir.
            with suppress(OSError):
                path.rmdir()
        before = _original(ctx)
        version = before.read_text(encoding="utf-8").strip() if before.exists() else None
        before.unlink(missing_ok=True)
        ctx.restart_runtime(version)
        ctx.patch_node_labels({"cc-postuninstall/done": "true"})
        return running()
