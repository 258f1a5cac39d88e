# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page about releases says what the release data say, its examples work, and every guide is listed."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _artifacts, _releases
from tests.contract import product
from tests.docs import releases

PAGE = releases.PAGE.read_text(encoding="utf-8")
DATA = _releases.load()
DOCSITE = product.REPOSITORY / "docs" / "docsite"


def section(name: str) -> str:
    return PAGE.partition(f"\nRelease {name}\n~")[2].partition("\nRelease ")[0]


def examples() -> list[dict[str, Any]]:
    blocks = re.findall(r"^\.\. code-block:: yaml\+jinja\n\n((?:   .*\n|\n)+)", PAGE, re.MULTILINE)
    return [yaml.safe_load(textwrap.dedent(block)) for block in blocks]


def test_the_matrix_is_the_generated_one() -> None:
    wanted = releases.with_matrix(PAGE, releases.matrix(DATA, _releases.default_name()))
    assert wanted == PAGE, "run `make docs`"


def test_a_change_of_the_data_is_a_change_of_the_page() -> None:
    changed = {**DATA, "26.7": _releases.merge(DATA["26.7"], {"kubernetes": {"max": "1.99"}})}
    assert releases.with_matrix(PAGE, releases.matrix(changed, "26.7")) != PAGE


def test_what_is_written_by_hand_survives() -> None:
    new = releases.with_matrix(PAGE, "nothing")
    assert new.partition(releases.BEGIN)[0] == PAGE.partition(releases.BEGIN)[0]
    assert new.partition(releases.END)[2] == PAGE.partition(releases.END)[2]
    with pytest.raises(SystemExit, match="no place for the matrix"):
        releases.with_matrix("a page without it", "x")


@pytest.mark.parametrize("name", list(DATA))
def test_every_release_has_its_table(name: str) -> None:
    release, text = DATA[name], section(name)
    assert f"{release['kubernetes']['min']} to {release['kubernetes']['max']}" in text
    if release["support"]["level"] != _releases.INSTALL:
        assert "ot installed by this one" in text or "never installed" in text
        return
    assert "Installed by this collection" in text
    for wanted in (
        release["gpu_operator"]["chart_version"],
        release["runtime_classes"]["gpu"],
        release["resource"]["prefix"],
        release["workload"]["image"],
        *release["architectures"],
        *release["defects"],
    ):
        assert wanted in text
    titles = re.findall(r"^   \* - (.+)$", text, re.MULTILINE)
    assert {"Kata", "order", "containerd", "who binds what", "ready when", "known defects"} <= set(titles)


def test_the_examples_of_the_page_are_accepted() -> None:
    changes = [example for example in examples() if "katagpu_releases" in example]
    assert len(changes) == 2
    warnings = []
    for example in changes:
        (name,) = example["katagpu_releases"]
        release = _releases.lookup(example.get("katagpu_release", name), example["katagpu_releases"])
        assert _releases.refusal(release, _releases.load(example["katagpu_releases"])) == ""
        warnings.append(len(_artifacts.artifacts(release)["warnings"]))
    assert warnings == [1, 0], "the page says that listed_for ends the warning"


def test_every_guide_is_listed() -> None:
    guides = sorted(path.stem for path in (DOCSITE / "rst").glob("*.rst"))
    (listed,) = product.load(DOCSITE / "extra-docs.yml")["sections"]
    assert sorted(listed["toctree"]) == guides
    readme = (product.REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [name for name in guides if f"(docs/docsite/rst/{name}.rst)" not in readme] == []


def test_the_readme_names_the_releases_by_their_support() -> None:
    readme = (product.REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## What is supported")[2].partition("\n## ")[0]
    for name, release in DATA.items():
        row = next(line for line in table.splitlines() if line.startswith("| stack release") and f"`{name}`" in line)
        assert ("not installed" in row) == (release["support"]["level"] != _releases.INSTALL), name
        if release["support"]["level"] == _releases.INSTALL:
            for wanted in (
                release["gpu_operator"]["chart_version"],
                release["kubernetes"]["min"],
                release["kubernetes"]["max"],
            ):
                assert wanted in row, name
    assert f"`{_releases.default_name()}` (default)" in table
