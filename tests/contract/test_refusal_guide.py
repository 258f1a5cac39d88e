# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the refusals has every case once, in order. Whether the messages are true the lab shows, see test_refusals.py."""

from __future__ import annotations

import re

from tests.contract import product
from tests.docs.refusals import HEAD, PAGE, heading
from tests.integration.refusals import CASES, SECTIONS

# Where the inventory, the controller and the cluster are judged; hosts are shown by the machines of the lab.
JUDGED = {"_controller.py", "_chart_values.py", "cluster.py", "stack.py", "takeover.py", "workloads.py"}
# What no case brings about, and why.
NOT_SHOWN = {
    "node_not_ready": "a warning, which stops nothing",
    "labelled_not_eligible": "a warning beside selected_not_eligible, which stops nothing",
}


def test_the_page_has_every_case_in_order() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith(HEAD)
    places = [text.find(heading(case)) for case in CASES]
    assert [case.key for case, place in zip(CASES, places, strict=True) if place < 0] == []
    assert places == sorted(places)
    titles = re.findall(r"^(.+)\n~+$", text, re.MULTILINE)
    assert titles == [case.title for case in CASES]
    assert re.findall(r"^(.+)\n-+$", text, re.MULTILINE) == list(SECTIONS)


def test_cases_have_names_of_their_own() -> None:
    assert len({case.key for case in CASES}) == len({case.title for case in CASES}) == len(CASES)


def test_every_refusal_of_controller_and_cluster_has_a_case() -> None:
    shown = {name for case in CASES for name, _node in case.blocks} | {
        name for case in CASES for name, _, _ in case.others
    }
    assert {path.name for path in product.REPOSITORY.glob("plugins/plugin_utils/**/*.py")} >= JUDGED
    wanted = product.finding_ids(lambda path: path.name in JUDGED)
    assert {"chart_values", "E02", "F16", "taint", "serial"} <= wanted
    assert wanted - shown - set(NOT_SHOWN) == set()
    assert set(NOT_SHOWN) <= wanted - shown
