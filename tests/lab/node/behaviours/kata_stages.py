# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of kata-deploy 4.0.0 on a node, shared by its DaemonSet and its Jobs. No behaviour of its own."""

from __future__ import annotations

import platform
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..api import ApiError
from ..behaviour import Context
from . import kata_containerd

LABEL = "katacontainers.io/kata-runtime"
DIRECTORY = "/opt/kata"
NYDUS = "nydus-for-kata-tee"
ANNOTATIONS = ("enable_iommu", "kernel_params", "kernel_verity_params")
CONFIDENTIAL = (*ANNOTATIONS, "default_vcpus", "default_memory", "cc_init_data")
STANDIN = "Stand-in of the katagpu lab for a file of kata-deploy.\n"
SNAPSHOTTER_PROBLEM = "kata-deploy only supports snapshotter configuration with containerd 1.7 or newer"
RESTART_SECONDS = 6.0
RULES = "/apis/nfd.k8s-sigs.io/v1alpha1/nodefeaturerules"
RULE = "amd64-tee-keys"
RESOURCES = {"tdx": "tdx.intel.com/keys", "snp": "sev-snp.amd.com/esids"}
CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


@dataclass(frozen=True)
class Settings:
    """What the container's environment says."""

    shims: list[str]
    directory: str
    suffix: str
    daemonset: str
    main_file: str
    snapshotters: dict[str, str]
    setup: list[str]
    annotations: dict[str, list[str]]

    def handler(self, shim: str) -> str:
        return f"kata-{shim}{'-' if self.suffix else ''}{self.suffix}"


def settings(ctx: Context) -> Settings:
    """The variables of this machine's architecture."""
    arch = platform.machine().upper()
    suffix = ctx.env("MULTI_INSTALL_SUFFIX")
    prefix = ctx.env("INSTALLATION_PREFIX").rstrip("/")
    directory = (f"{prefix}{DIRECTORY}" if prefix else DIRECTORY) + (f"-{suffix}" if suffix else "")
    mapping = [entry.split(":") for entry in ctx.env(f"SNAPSHOTTER_HANDLER_MAPPING_{arch}").split(",") if ":" in entry]
    allowed = [entry.split(":") for entry in ctx.env(f"ALLOWED_HYPERVISOR_ANNOTATIONS_{arch}").split() if ":" in entry]
    return Settings(
        shims=ctx.env(f"SHIMS_{arch}").split(),
        directory=directory,
        suffix=suffix,
        daemonset=ctx.env("DAEMONSET_NAME", "kata-deploy"),
        main_file=ctx.env("CONTAINERD_CONFIG_FILE_NAME") or "config.toml",
        snapshotters={shim: NYDUS if name == "nydus" else name for shim, name in mapping},
        setup=[name for name in ctx.env("EXPERIMENTAL_SETUP_SNAPSHOTTER").split(",") if name],
        annotations={shim: names.split(",") for shim, names in allowed},
    )


def host_check(ctx: Context, want: Settings) -> str:
    """Why nothing can be installed here; empty when it can. Nothing is changed."""
    version = kata_containerd.version_of(ctx.container_runtime_version)
    if version == (0, 0):
        return f"Runtime {ctx.container_runtime_version} is not supported by this stand-in"
    if want.snapshotters and version < (1, 7):
        return SNAPSHOTTER_PROBLEM
    if want.suffix and version < (2, 0):
        return "Multi installation can only be done if containerd supports drop-in configuration files"
    for name in want.setup:
        if name not in ("nydus", "erofs"):
            return f"{name} is not a supported snapshotter by kata-deploy"
        if name == "erofs" and version < (2, 2):
            return "In order to use erofs-snapshotter containerd must be 2.2.0 or newer"
    return ""


def artifacts(ctx: Context, want: Settings) -> None:
    """Files below the installation directory, one configuration per shim, and the rule of NFD where its CRD exists."""
    ctx.log("copying kata artifacts onto host")
    base = ctx.root / want.directory.lstrip("/")
    for name in ("bin/containerd-shim-kata-v2", "bin/kata-runtime", "bin/qemu-system-x86_64", "versions.yaml"):
        _write(base / name, f"# {STANDIN}", 0o755 if name.startswith("bin/") else 0o644)
    for name in ("vmlinuz-nvidia-gpu.container", "kata-containers-nvidia-gpu.img"):
        _write(base / "share/kata-containers" / name, STANDIN)
    for shim in want.shims:
        directory = kata_containerd.configuration_directory(shim)
        path = base / directory / "runtimes" / shim / f"configuration-{shim}.toml"
        _write(path, configuration(want, shim))
        link = base / directory / f"configuration-{shim}.toml"
        link.unlink(missing_ok=True)
        link.symlink_to(f"runtimes/{shim}/configuration-{shim}.toml")
    if "nydus" in want.setup:
        _write(ctx.root / f"etc/systemd/system/{NYDUS}.service", f"# {STANDIN}[Service]\nExecStart=/bin/true\n")
        (ctx.root / f"var/lib/{NYDUS}").mkdir(parents=True, exist_ok=True)
    _feature_rules(ctx)


def configuration(want: Settings, shim: str) -> str:
    """The few keys of a Kata configuration that the lab's runtime looks at."""
    gpu = "nvidia-gpu" in shim
    allowed = CONFIDENTIAL if any(word in shim for word in ("snp", "tdx")) else ANNOTATIONS
    names = ", ".join(f'"{name}"' for name in [*allowed, *want.annotations.get(shim, [])])
    return (
        f"# {STANDIN}[hypervisor.qemu]\n"
        f'path = "{want.directory}/bin/qemu-system-x86_64"\n'
        f"enable_annotations = [{names}]\n"
        f'cold_plug_vfio = "{"root-port" if gpu else "no-port"}"\n'
        "[runtime]\n"
        'pod_resource_api_sock = "/var/lib/kubelet/pod-resources/kubelet.sock"\n'
    )


def configure_runtime(ctx: Context, want: Settings) -> None:
    """Writes containerd's configuration and restarts it, also when nothing changed."""
    ctx.log("Add Kata Containers as a supported runtime for containerd")
    to = _wiring(ctx, want)
    if not to.main.is_file():
        kata_containerd.write(ctx.root, to, "", ctx.container_runtime_version)
        to = _wiring(ctx, want)  # the new file may import conf.d
    schema = kata_containerd.schema_of(to.main.read_text(encoding="utf-8"))
    text = kata_containerd.tables(schema, want.shims, want.directory, want.suffix, want.snapshotters)
    kata_containerd.write(ctx.root, to, text, ctx.container_runtime_version)
    ctx.runtime_handlers.update(want.handler(shim) for shim in want.shims)
    ctx.log(f"runtimes in {to.drop_in or to.main.name}; restarting containerd")
    ctx.restart_runtime(seconds=RESTART_SECONDS)


def runtime_is_back(ctx: Context, since: float) -> bool:
    """Whether the restart is over and the node says Ready again."""
    if time.time() < since + RESTART_SECONDS:
        return False
    conditions = ctx.node_object().get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def runtime_configured(ctx: Context, want: Settings) -> bool:
    """Whether there is something to take back."""
    to = _wiring(ctx, want)
    path = ctx.root / to.drop_in.lstrip("/") if to.drop_in else to.main.with_name(to.main.name + kata_containerd.BACKUP)
    return path.exists()


def remove_runtime(ctx: Context, want: Settings) -> None:
    """Snapshotter and containerd configuration; no restart."""
    if "nydus" in want.setup:
        (ctx.root / f"etc/systemd/system/{NYDUS}.service").unlink(missing_ok=True)
    kata_containerd.remove(ctx.root, _wiring(ctx, want))
    ctx.runtime_handlers.difference_update({want.handler(shim) for shim in want.shims})


def remove_artifacts(ctx: Context, want: Settings) -> None:
    ctx.log("deleting kata artifacts")
    shutil.rmtree(ctx.root / want.directory.lstrip("/"), ignore_errors=True)
    if present(ctx, f"{RULES}/{RULE}"):
        ctx.api.delete(f"{RULES}/{RULE}")


def present(ctx: Context, path: str) -> dict[str, Any] | None:
    """An object, or None where it or its kind does not exist."""
    try:
        return ctx.api.get(path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _wiring(ctx: Context, want: Settings) -> kata_containerd.Wiring:
    return kata_containerd.wiring(ctx.root, want.main_file, ctx.container_runtime_version, want.directory, want.suffix)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _feature_rules(ctx: Context) -> None:
    """Only where the CRD of NFD exists at this moment: then the rule, and the key resources of the TEE classes."""
    if platform.machine() != "x86_64" or present(ctx, RULES) is None:
        return
    if present(ctx, f"{RULES}/{RULE}") is None:
        labels = {"app.kubernetes.io/managed-by": "kata-deploy", "kata-deploy/instance": "default"}
        rule = {
            "apiVersion": "nfd.k8s-sigs.io/v1alpha1",
            "kind": "NodeFeatureRule",
            "metadata": {"name": RULE, "labels": labels},
            "spec": {"rules": [_rule("amd.sev-snp", "amd", "snp"), _rule("intel.tdx", "intel", "tdx")]},
        }
        try:
            ctx.api.create(RULES, rule)
        except ApiError as error:
            if error.status != 409:  # another node was faster
                raise
    for item in (present(ctx, CLASSES) or {}).get("items", []):
        name = item["metadata"]["name"]
        key = next((resource for word, resource in RESOURCES.items() if re.match(rf"kata.*{word}", name)), "")
        if key and key not in (item.get("overhead") or {}).get("podFixed", {}):
            ctx.api.merge_patch(f"{CLASSES}/{name}", {"overhead": {"podFixed": {key: "1"}}})


def _rule(name: str, vendor: str, feature: str) -> dict[str, Any]:
    matched = {"sev.snp.enabled" if feature == "snp" else "tdx.enabled": {"op": "Exists"}}
    count = "encrypted_state_ids" if feature == "snp" else "total_keys"
    return {
        "name": name,
        "labels": {f"{vendor}.feature.node.kubernetes.io/{feature}": "true"},
        "extendedResources": {RESOURCES[feature]: f"@cpu.security.{'sev' if feature == 'snp' else 'tdx'}.{count}"},
        "matchFeatures": [{"feature": "cpu.security", "matchExpressions": matched}],
    }
