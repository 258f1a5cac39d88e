# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each refusal of the documentation, brought about on a real API server, with its message.

The control plane runs alone: what a node reports is put there, and nothing acts on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.refusals import PAGE, block, heading
from tests.integration import bare
from tests.integration.refusals import CASES
from tests.integration.refusals.case import Case, messages_of, produce, record, runs
from tests.lab.scene import Scene


@pytest.fixture(scope="module", autouse=True)
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with bare.control_plane(tmp_path_factory.mktemp("baseline")):
        yield


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "cases", runs(CASES), ids=lambda cases: cases[0].key if len(cases) == 1 else f"{cases[0].key}_and_others"
)
def test_is_refused_with_its_message(cases: tuple[Case, ...], scene: Scene, tmp_path: Path) -> None:
    outcome = produce(cases, scene, tmp_path)
    found = {case.key: messages_of(case, outcome) for case in cases}
    for key, messages in found.items():
        record(key, messages)
    assert outcome.open_blocks == {block for case in cases for block in case.blocks}, outcome.run.output
    for case in cases:
        messages = found[case.key]
        assert outcome.states >= set(case.others), outcome.run.output
        assert messages, outcome.run.output
        assert [text for text in case.says if text not in " ".join(messages)] == [], messages
        told = f"{heading(case)}{block(messages)}\n" in PAGE.read_text(encoding="utf-8")
        assert told, f"{case.key}: the documentation says something else; run python -m tests.docs.refusals"
    assert (outcome.run.returncode != 0) == any(case.blocks or case.text for case in cases)
    assert "Traceback" not in outcome.run.output
    assert not any(outcome.run.changed.values()), outcome.run.recap
