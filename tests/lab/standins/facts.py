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
GPU_OPERATOR_26 = "gpu_operator_v26_7_0"
COCO_OPERATOR = "coco_operator_v0_7_0"
KATA_MANAGER = "k8s_kata_manager_v0_1_2"
DEVICE_PLUGIN = "kubevirt_gpu_device_plugin_v1_2_4"
KATA_DEPLOY = "kata_deploy_4_0_0"
CC_MANAGER = "k8s_cc_manager_v0_4_3"
DRIVER_MANAGER = "k8s_driver_manager_v0_12_0"
KATA_PLUGIN = "nvidia_sandbox_device_plugin_v0_0_5"

# GPU Operator releases that the stand-in knows, by the first two numbers of their version.
GPU_OPERATORS = {"23.9": GPU_OPERATOR, "26.7": GPU_OPERATOR_26}


@functools.cache
def _table(name: str) -> dict[str, dict[str, Any]]:
    # The C loader where PyYAML has it: these tables are read at every start.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows: dict[str, dict[str, Any]] = {}
    # A large table has its subjects in files of their own beside it: NAME.SUBJECT.yml.
    for path in [TABLES / f"{name}.yml", *sorted(TABLES.glob(f"{name}.*.yml"))]:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
        rows.update({row["id"]: row for row in content["rows"]})
    return rows


def rows(table: str) -> dict[str, dict[str, Any]]:
    """All rows of a table by id."""
    return copy.deepcopy(_table(table))


def row(table: str, row_id: str) -> dict[str, Any]:
    """One row; a misspelt id is an error, so that every citation in the code is checked when it runs."""
    return copy.deepcopy(_table(table)[row_id])


def value(table: str, row_id: str) -> Any:
    """The value of one row."""
    return row(table, row_id)["value"]


def find(table: str, row_id: str, absent: Any) -> Any:
    """The value of a row that not every release has."""
    return value(table, row_id) if row_id in _table(table) else absent


def prefixed(table: str, prefix: str) -> list[Any]:
    """Values of the rows whose id begins so, in the order of the table."""
    return [copy.deepcopy(one["value"]) for row_id, one in _table(table).items() if row_id.startswith(prefix)]
