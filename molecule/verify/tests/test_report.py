# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify.yml writes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

REPORT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / ".build" / "lab" / "report"


def test_the_report_holds_a_passed_workload_for_each_node(host: Any) -> None:
    data = json.loads(host.file(str(REPORT / "report.json")).content_string)
    assert data["workloads"]
    assert all(workload["result"] == "passed" for workload in data["workloads"])
    assert data["checks"] and all(check["result"] != "failed" for check in data["checks"])


def test_the_report_says_what_stands_in(host: Any) -> None:
    assert "Stand-ins" in host.file(str(REPORT / "report.txt")).content_string
