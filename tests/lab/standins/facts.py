# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fact tables of tests/facts, by row id: what the stand-ins build from cannot drift from what was read upstream."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

TABLES = Path(__file__).resolve().parents[2] / "facts"

GPU_OPERATOR = "gpu_operator_v23_9_2"
COCO_OPERATOR = "coco_operator_v0_7_0"
KATA_MANAGER = "k8s_kata_manager_v0_1_2"
DEVICE_PLUGIN = "kubevirt_gpu_device_plugin_v1_2_4"


@functools.cache
def _table(name: str) -> dict[str, dict[str, Any]]:
    # The C loader where PyYAML has it: these tables are read at every start.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load((TABLES / f"{name}.yml").read_text(encoding="utf-8"), Loader=loader)
    return {row["id"]: row for row in content["rows"]}


def rows(table: str) -> dict[str, dict[str, Any]]:
    """All rows of a table by id."""
    return copy.deepcopy(_table(table))


def row(table: str, row_id: str) -> dict[str, Any]:
    """One row; a misspelt id is an error, so that every citation in the code is checked when it runs."""
    return copy.deepcopy(_table(table)[row_id])


def value(table: str, row_id: str) -> Any:
    """The value of one row."""
    return row(table, row_id)["value"]


def prefixed(table: str, prefix: str) -> list[Any]:
    """Values of the rows whose id begins so, in the order of the table."""
    return [copy.deepcopy(one["value"]) for row_id, one in _table(table).items() if row_id.startswith(prefix)]
