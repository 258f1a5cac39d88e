# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not be in the repository, and what every Python file begins with."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.contract import product

HEADER = (
    "# Copyright (c) 2026, katagpu contributors",
    "# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "# SPDX-License-Identifier: GPL-3.0-or-later",
)
# The brackets keep these patterns from finding themselves.
MIRRORS = re.compile(r"deb[.]debian[.]org|security[.]debian|pypi[.]org|proxy[.]golang|files[.]pythonhosted")
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:wor[k]|hom[e]|roo[t])/\w")
LIMIT = 500_000
RELEASES = product.REPOSITORY / "plugins" / "plugin_utils" / "_release_data" / "releases.yml"


def pins(entry: dict[str, Any]) -> set[str]:
    """Names and versions of one release that may stand in its data only."""
    operator, coco = entry["gpu_operator"], entry.get("coco_operator") or {}
    found = {operator["chart_version"], entry["workload"]["image"], entry["workload"]["name"]}
    found |= {value for key, value in coco.items() if key in ("version", "operator_ref", "runtime_ref", "ccruntime")}
    found |= set(coco.get("daemonsets") or [])
    found |= {entry["runtime_classes"]["gpu"], *entry["runtime_classes"]["operator"]}
    found |= {operand["daemonset"] for operands in entry["operands"].values() for operand in operands}
    found |= {part["artifacts"]["url"] for part in (entry.get("kata_manager") or {}).get("classes", [])}
    found |= {row["image"] for row in entry["downloads"]["images"]}
    return found


def all_pins() -> set[str]:
    releases = _releases.load().values()
    return {pin for entry in releases if entry["support"]["level"] == "install" for pin in pins(entry)}


def product_strings() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for folder in ("roles", "playbooks", "plugins"):
        for path in sorted((product.REPOSITORY / folder).rglob("*")):
            name = str(path.relative_to(product.REPOSITORY))
            if path.suffix == ".py":
                found += [(name, text) for text in product.code_strings(path)]
            # The manifests with our rights are made from the release data, and a test compares them.
            elif path.parent.name == "files" and path.name.startswith("rbac-"):
                continue
            elif path.suffix in (".yml", ".yaml") and path != RELEASES and path.name != "argument_specs.yml":
                found += [(name, text) for text in product.strings(product.load(path))]
    return found


def strays(pin_names: set[str], found: list[tuple[str, str]]) -> list[str]:
    pattern = re.compile(
        "|".join(rf"(?<![\w-]){re.escape(pin)}(?![\w-])" for pin in sorted(pin_names, key=len, reverse=True))
    )
    return [f"{name}: {text[:80]!r}" for name, text in found if pattern.search(text)]


def test_versions_stand_in_the_release_data_only() -> None:
    names = all_pins()
    assert len(names) > 15
    assert strays(names, product_strings()) == []


def test_a_stray_version_is_found() -> None:
    pin = sorted(all_pins())[0]
    assert strays(all_pins(), [("roles/x.yml", f"a {pin} b")])


def test_no_package_mirror_is_named() -> None:
    assert [name for name, text in product.tracked_text() if MIRRORS.search(text)] == []


def test_no_path_of_a_developer_machine() -> None:
    found = [
        f"{name}: {match.group()}"
        for name, text in product.tracked_text()
        if (match := MACHINE_PATHS.search(text)) and not name.startswith("tests/unit/fixtures/")
    ]
    assert found == []


def test_mirrors_and_machine_paths_are_recognised() -> None:
    assert MIRRORS.search("http://deb" + ".debian.org/debian")
    assert MACHINE_PATHS.search("cd /" + "work/x") and MACHINE_PATHS.search('"/' + 'home/x"')
    assert not MACHINE_PATHS.search("tests/wor" + "k/x")


def test_no_large_file() -> None:
    assert [str(path) for path in product.tracked() if path.stat().st_size > LIMIT] == []


def python_files() -> list[product.Path]:
    return [
        path
        for path in product.tracked()
        if path.suffix == ".py" and path.relative_to(product.REPOSITORY).parts[0] in ("plugins", "tests")
    ]


def test_every_python_file_has_the_header() -> None:
    without = []
    for path in python_files():
        lines = path.read_text(encoding="utf-8").splitlines()
        if not lines:
            continue
        start = 1 if lines[0].startswith("#!") else 0
        if tuple(lines[start : start + 3]) != HEADER:
            without.append(str(path))
    assert python_files() and without == []


def test_plugins_postpone_annotations() -> None:
    late = [
        str(path)
        for path in python_files()
        if "plugins" in path.parts
        and "tests" not in path.parts
        and (text := path.read_text(encoding="utf-8"))
        and "from __future__ import annotations" not in text
    ]
    assert late == []


@pytest.mark.parametrize("folder", ["roles", "playbooks", "meta", "inventories", "changelogs"])
def test_every_yaml_file_parses(folder: str) -> None:
    files = [path for path in (product.REPOSITORY / folder).rglob("*") if path.suffix in (".yml", ".yaml")]
    assert files
    for path in files:
        yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_guide_lists_every_finding() -> None:
    guide = (product.REPOSITORY / "docs/docsite/rst/guide_findings.rst").read_text(encoding="utf-8")
    listed = {name.strip() for row in re.findall(r"^   \* - (.+)$", guide, re.MULTILINE) for name in row.split(",")} - {
        "id"
    }
    in_code = product.finding_ids()
    assert len(in_code) > 20
    assert listed - in_code == set(), "the guide lists what no code reports"
    assert in_code - listed == set(), "the guide does not list"
