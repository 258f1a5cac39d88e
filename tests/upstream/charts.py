# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A chart of upstream: a copy of it with the version of its release, its values and CRDs, and what Helm renders of it."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.controlplane import binaries
from tests.lab.errors import LabError


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def run(*command: str | Path) -> str:
    """Standard output of a tool of the lab."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{Path(command[0]).name} {command[1]}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Chart:
    """A copy below the state of this check. `changes` says what had to be changed to make it the chart of a release."""

    folder: Path
    changes: tuple[str, ...]

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(load(self.folder / "Chart.yaml"))

    @property
    def values(self) -> dict[str, Any]:
        return dict(load(self.folder / "values.yaml"))

    @property
    def crds(self) -> dict[str, dict[str, Any]]:
        """CRDs of the chart itself, by name."""
        found = [load(path) for path in sorted(self.folder.glob("crds/*.y*ml"))]
        return {one["metadata"]["name"]: one for one in found if one}

    def subchart(self, name: str) -> dict[str, Any]:
        """Chart.yaml and values of a subchart, whether it is a folder or an archive; empty where it is not there."""
        folder = self.folder / "charts" / name
        if folder.is_dir():
            return {"metadata": load(folder / "Chart.yaml"), "values": load(folder / "values.yaml")}
        for archive in self.folder.glob(f"charts/{name}-*.tgz"):
            with tarfile.open(archive) as content:
                return {
                    "metadata": yaml.safe_load(_member(content, f"{name}/Chart.yaml")),
                    "values": yaml.safe_load(_member(content, f"{name}/values.yaml")),
                }
        return {}

    def render(
        self, name: str, namespace: str, values: Mapping[str, Any], kubernetes: str = ""
    ) -> list[dict[str, Any]]:
        """Objects of the chart, hooks and CRDs too."""
        path = self.folder.parent / "values.given.yaml"
        path.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
        version = ("--kube-version", kubernetes) if kubernetes else ()
        text = run(
            binaries.binary("helm"), "template", name, self.folder, "--namespace", namespace, "-f", path, *version
        )
        return [one for one in yaml.safe_load_all(text) if one]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    content = archive.extractfile(name)
    assert content is not None
    return content.read()


def prepare(source: Path, version: str, scratch: Path) -> Chart:
    """Copy a chart, and do to a chart of a repository what its release process does: the version is written into it.

    Subcharts that the repository only names are left out; Helm would refuse to render without them.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    folder = scratch / "chart"
    if source.is_dir():
        shutil.copytree(source, folder)
    else:
        with tarfile.open(source) as archive:
            archive.extractall(scratch / "archive", filter="data")
        (inner,) = (scratch / "archive").iterdir()
        inner.rename(folder)
    if not (folder / "Chart.yaml").is_file():
        raise LabError(f"{source} is no chart: it has no Chart.yaml.")
    metadata, changes = load(folder / "Chart.yaml"), []
    for key in ("version", "appVersion"):
        if metadata.get(key) != version:
            changes.append(f"{key} {metadata.get(key)} is taken for {version}")
            metadata[key] = version
    kept = []
    for one in metadata.get("dependencies") or []:
        if (folder / "charts" / one["name"]).is_dir() or [*folder.glob(f"charts/{one['name']}-*.tgz")]:
            kept.append(one)
        else:
            changes.append(f"the subchart {one['name']} is not in it and is left out")
    if "dependencies" in metadata:
        metadata["dependencies"] = kept
    if changes:
        (folder / "Chart.yaml").write_text(yaml.safe_dump(metadata, sort_keys=False), encoding="utf-8")
        (folder / "Chart.lock").unlink(missing_ok=True)
    return Chart(folder, tuple(changes))
