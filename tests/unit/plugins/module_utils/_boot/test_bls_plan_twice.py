# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the lines of the entries are, applying a plan twice is applying it once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import edit, facts, plan, wishes

WORDS = st.lists(
    st.sampled_from(["quiet", "a=1", "a=2", "iommu=off", "console=tty0", 'd="x y"', "b-c=1", "$tuned_params", "$x"]),
    max_size=7,
)
SPECS = st.lists(st.sampled_from(["quiet", "a=1", "b_c=1", "console=tty0", "e=5", 'd="x y"']), max_size=3, unique=True)
GONE = st.lists(st.sampled_from(["iommu=off", "iommu", "a=2", "z"]), max_size=2, unique=True)


def state(lines: list[list[str]], bootloader: str, variables: dict[str, str], template: str | None) -> dict[str, Any]:
    entries = {
        f"/boot/loader/entries/m-{number}.conf": f"title t\nversion {number}\noptions root=/dev/a {' '.join(line)}\nlinux /v\n"
        for number, line in enumerate(lines)
    }
    return rebuilt(
        {
            "bootloader": bootloader,
            "supported": True,
            "reason": "",
            "running": "",
            "notes": [],
            "regenerate": [],
            "files": {},
            "loader": {
                "entries": entries,
                "environment": {"path": "/boot/grub2/grubenv", "text": ""},
                "variables": variables,
                "machine_id": "m",
                "templates": {} if template is None else {facts.TEMPLATE: template},
                "template_outdated": False,
            },
        }
    )


def rebuilt(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "generated": facts._loader_entries(data["loader"], data["bootloader"] == "grubby")}


@given(
    st.lists(WORDS, min_size=1, max_size=3),
    SPECS,
    GONE,
    st.sampled_from(["grubby", "systemd_boot"]),
    st.sampled_from([None, "root=/dev/a quiet\n", "iommu=off", "a=1  a=2\tiommu=off \n"]),
)
def test_applying_twice_is_applying_once(
    lines: list[list[str]], present: list[str], absent: list[str], bootloader: str, template: str | None
) -> None:
    data = state(lines, bootloader, {"tuned_params": "isolcpus=2"}, template)
    first = plan.plan(data, present, absent)
    loader = data["loader"]
    entries = {path: first.writes.get(path, text) for path, text in loader["entries"].items()}
    templates = {**loader["templates"], **{p: t for p, t in first.writes.items() if p == facts.TEMPLATE}}
    after = rebuilt({**data, "loader": {**loader, "entries": entries, "templates": templates}})
    second = plan.plan(after, present, absent)
    assert second.writes == {} and second.commands == []
    assert not any(e["missing"] or e["unwanted"] for e in edit.assess_entries(after, wishes.read(present, absent)))
    for path, text in entries.items():
        kept = [word for word in loader["entries"][path].split() if word.startswith(("root=", "$"))]
        assert [word for word in text.split() if word.startswith(("root=", "$"))] == kept
