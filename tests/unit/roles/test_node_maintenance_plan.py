# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What check mode says of the reboot that a real run would make."""

from __future__ import annotations

from pathlib import Path

from tests.unit.roles import plays


def test_a_reboot_without_a_drain_is_shown_as_one(tmp_path: Path) -> None:
    host = {
        "node_maintenance_drain": False,
        "katagpu_host": {"summary": {"reboot_needed": True, "reboot_reasons": ["the IOMMU is off"]}},
        "katagpu_record": {
            "boot_id": "11111111-1111-4111-8111-111111111111",
            "machine_id": "abc",
            "reboot_needed": True,
        },
    }
    found = plays.run(tmp_path, [plays.include("node_maintenance", "plan")], {"gpu-01": host}, "katagpu_record")
    assert found["gpu-01"]["katagpu_record"]["reboot_planned"] is True
    output = (tmp_path / "output.txt").read_text(encoding="utf-8")
    assert "gpu-01 would be rebooted once, without being drained: the IOMMU is off" in output
    assert "would be drained" not in output
