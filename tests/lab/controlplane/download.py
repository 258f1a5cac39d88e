# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Released binaries instead of built ones, where the internet is open (KATAGPU_LAB_BINARIES=download).

Every file is compared with the checksum that the project publishes beside it.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.errors import LabError

if TYPE_CHECKING:
    from tests.lab.controlplane.binaries import Component

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def sources(
    name: str, version: str, files: tuple[str, ...], arch: str = ARCHITECTURE
) -> dict[str, tuple[str, str, str]]:
    """Per binary: URL, URL of its SHA-256 sums, and the member of the archive ("" when the file is the binary)."""
    if name == "kubernetes":
        base = f"https://dl.k8s.io/{version}/bin/linux/{arch}"
        return {file: (f"{base}/{file}", f"{base}/{file}.sha256", "") for file in files}
    if name == "helm":
        url = f"https://get.helm.sh/helm-{version}-linux-{arch}.tar.gz"
        return {"helm": (url, f"{url}.sha256sum", f"linux-{arch}/helm")}
    base = f"https://github.com/etcd-io/etcd/releases/download/{version}"
    archive = f"etcd-{version}-linux-{arch}"
    return {"etcd": (f"{base}/{archive}.tar.gz", f"{base}/SHA256SUMS", f"{archive}/etcd")}


def checksum_of(sums: str, url: str) -> str:
    """The sum for a file in a published list, or the only sum of a file that has no names."""
    name = url.rpartition("/")[2]
    for line in sums.splitlines():
        words = line.split()
        if words and (len(words) == 1 or words[-1].lstrip("*") == name):
            return words[0].lower()
    raise LabError(f"no published checksum for {name}")


def fetch(component: Component, version: str, target: Path, progress: Callable[[str], None]) -> bool:
    """Downloads the binaries of a component; False, and a line, when there is no way there: they are built then."""
    for name, (url, sums_url, member) in sources(component.name, version, component.files()).items():
        progress(f"control plane | downloading {name} {version}")
        try:
            with urllib.request.urlopen(sums_url, timeout=30) as answer:
                expected = checksum_of(answer.read().decode(), url)
            with urllib.request.urlopen(url, timeout=60) as answer:
                data = answer.read()
        except (urllib.error.URLError, OSError) as error:
            progress(f"control plane | {url} cannot be had ({error}); building {component.name} instead")
            return False
        if hashlib.sha256(data).hexdigest() != expected:
            raise LabError(f"{url}: the checksum is not the published one. Nothing was installed.")
        if member:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                extracted = archive.extractfile(member)
                if extracted is None:
                    raise LabError(f"{url} has no file {member}")
                data = extracted.read()
        target.mkdir(parents=True, exist_ok=True)
        temporary = target / f".{name}.new"
        temporary.write_bytes(data)
        temporary.chmod(0o755)
        os.replace(temporary, target / name)
    return True
