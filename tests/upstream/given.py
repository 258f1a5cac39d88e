# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user provides: one YAML file with paths, by project and version."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.lab.errors import LabError

VARIABLE = "KATAGPU_UPSTREAM"
KEYS = {
    "gpu_operator": ("chart", "assets", "manifests", "binary"),
    "kata_deploy": ("chart",),
    "coco_operator": ("kustomizations",),
}
HELP = f"""Nothing of upstream is in this repository, so this check needs paths from you: set {VARIABLE} to a YAML file such as

  gpu_operator:                # NVIDIA/gpu-operator, by tag
    v26.7.0:
      chart: /src/gpu-operator/deployments/gpu-operator       # folder or .tgz
      assets: /src/gpu-operator/assets                        # of the same tag
      manifests: /src/gpu-operator/manifests
      binary: /src/gpu-operator/gpu-operator                  # the controller, for the comparison with the stand-in
  kata_deploy:                 # kata-containers/kata-containers, by tag
    4.0.0: {{chart: /src/kata-containers/tools/packaging/kata-deploy/helm-chart/kata-deploy}}
  coco_operator:               # confidential-containers/operator, by tag
    v0.7.0: {{kustomizations: /src/operator/config}}

and run make check-upstream again. Each path is optional; what is left out is skipped and said so."""


@dataclass(frozen=True)
class Given:
    """Paths by project, version and key."""

    paths: dict[str, dict[str, dict[str, Path]]] = field(default_factory=dict)

    def versions(self, project: str) -> list[str]:
        return list(self.paths.get(project, {}))

    def path(self, project: str, version: str, key: str) -> Path | None:
        return self.paths.get(project, {}).get(version, {}).get(key)


def parse(content: Any, base: Path, where: str) -> Given:
    """The file's content; relative paths start at its folder. A misspelt key is an error and not a check that is skipped."""
    if not isinstance(content, dict) or not content:
        raise LabError(f"{where} must hold a mapping of projects.\n\n{HELP}")
    paths: dict[str, dict[str, dict[str, Path]]] = {}
    for project, versions in content.items():
        if project not in KEYS:
            raise LabError(f"{where}: {project} is none of {', '.join(KEYS)}.")
        if not isinstance(versions, dict):
            raise LabError(f"{where}: {project} must hold a mapping of versions.")
        for version, items in versions.items():
            if not isinstance(version, str):
                raise LabError(f"{where}: {project}: put the version {version!r} in quotes.")
            if not isinstance(items, dict):
                raise LabError(f"{where}: {project}.{version} must hold {', '.join(KEYS[project])}.")
            for key, text in items.items():
                if key not in KEYS[project]:
                    raise LabError(f"{where}: {project}.{version}.{key} is none of {', '.join(KEYS[project])}.")
                path = (base / str(text)).resolve()
                if not path.exists():
                    raise LabError(f"{where}: {project}.{version}.{key}: there is no {path}.")
                paths.setdefault(project, {}).setdefault(version, {})[key] = path
    return Given(paths)


def read(path: Path) -> Given:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(f"{VARIABLE} names {path}: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise LabError(f"{path} is no YAML: {error}") from error
    return parse(content, path.parent, str(path))
