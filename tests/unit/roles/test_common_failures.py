# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of a host that fails: the reason, and what was known of it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _eligible
from tests.unit.roles import plays

RECORD = {
    "node": "gpu-01",
    "role": "kata",
    "boot_id": "11111111-1111-4111-8111-111111111111",
    "gpus": [{"address": "0000:65:00.0"}],
    "reboot_needed": True,
    "reboot_reasons": ["x"],
    "findings": [{"id": "A07", "severity": "block", "fact": "it shares a group with a disk.", "node": "gpu-01"}],
}
HOSTS: dict[str, dict[str, Any]] = {
    "gpu-01": {"katagpu_record": RECORD},
    "forgotten": {"katagpu_record": RECORD, "forget": True},
    "unread": {},
    "loop": {"katagpu_record": RECORD, "items": ["good", "bad", "worse"]},
}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    fail = {"ansible.builtin.assert": {"that": "item == 'good'", "fail_msg": "{{ item }} is none"}, "name": "Look"}
    failing = {
        "block": [
            plays.include("common", "forget_host", when="forget | default(false)"),
            {**fail, "loop": "{{ items }}", "when": "items is defined"},
            {"ansible.builtin.fail": {"msg": "it shares a group"}, "name": "Stop"},
        ],
        "rescue": [plays.include("common", "record_failure")],
    }
    found = plays.run(tmp_path_factory.mktemp("play"), [failing], HOSTS, "katagpu_record")
    return {host: facts["katagpu_record"] for host, facts in found.items()}


def test_what_was_known_is_kept(records: dict[str, dict[str, Any]]) -> None:
    assert records["gpu-01"] == {**RECORD, "failed": True, "error": "Stop: it shares a group"}


def test_also_of_a_host_that_was_about_to_be_changed(records: dict[str, dict[str, Any]]) -> None:
    """A reboot or a restart may have been made since, so whether one is needed is not known."""
    without = {**RECORD, "reboot_needed": False, "reboot_reasons": [], "restart_needed": False, "restart_reasons": []}
    assert records["forgotten"] == {**without, "failed": True, "error": "Stop: it shares a group"}


def test_a_host_that_was_not_read_has_its_name(records: dict[str, dict[str, Any]]) -> None:
    assert records["unread"] == {
        "node": "unread",
        "role": "kata",
        "failed": True,
        "error": "Stop: it shares a group",
    }


def test_every_item_of_a_loop_says_why(records: dict[str, dict[str, Any]]) -> None:
    assert records["loop"]["error"] == "Look: bad is none; worse is none"


def test_none_of_them_is_eligible(records: dict[str, dict[str, Any]]) -> None:
    variables = {host: {"katagpu_record": record} for host, record in records.items()}
    assert _eligible.eligible(variables, list(records), [], {})["kata"] == []
