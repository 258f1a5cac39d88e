# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm on the lab's charts, and the forms in which the fact tables describe what it renders."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import paths
from tests.upstream import trace
from tests.upstream.compare import leaves

__all__ = ["CHARTS", "at", "helm", "leaves", "observed_form", "only", "render", "schema_at", "tool", "values"]
CHARTS = Path(__file__).resolve().parents[2] / "tests" / "lab" / "upstream" / "charts"


def tool(name: str, pattern: str) -> str:
    """A command of the lab's cache or of the machine; these tests skip loudly without one."""
    cached = sorted(paths.BIN.glob(pattern))
    found = str(cached[-1]) if cached else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed and not in the lab's cache")
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [tool("helm", "helm-*/helm"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def render(chart: str, release: str, namespace: str, *settings: str) -> list[dict[str, Any]]:
    """Objects of a chart, hooks too."""
    sets = [word for setting in settings for word in ("--set", setting)]
    done = helm("template", release, str(CHARTS / chart), "--namespace", namespace, *sets)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def values(chart: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CHARTS / chart / "values.yaml").read_text(encoding="utf-8"))
    return content


def at(content: dict[str, Any], path: str) -> Any:
    """A value by its dotted path."""
    for key in path.split("."):
        content = content[key]
    return content


def schema_at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """The part of an OpenAPI schema that describes a field."""
    for key in path.split("."):
        schema = schema["properties"][key]
    return schema


def only(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The one object of a kind and, where given, a name."""
    (found,) = [one for one in objects if one["kind"] == kind and name in ("", one["metadata"]["name"])]
    return found


def observed_form(item: dict[str, Any]) -> dict[str, Any]:
    """A DaemonSet in the words of the fact table."""
    beyond = ("images", "env", "command", "owned", "service_account")
    form = {key: value for key, value in trace.daemonset(item).items() if key not in beyond}
    return {"name": item["metadata"]["name"], **form}
