# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation says of BIOS profiles is what they contain."""

from __future__ import annotations

import re

from ansible_collections.katagpu.cluster.plugins.plugin_utils._firmware import profiles
from tests.contract import product

VENDORS = ("dell", "hpe", "supermicro", "lenovo", "asrockrack")


def test_the_table_of_the_guide_is_that_of_the_profiles() -> None:
    guide = (product.REPOSITORY / "docs/docsite/rst/guide_firmware.rst").read_text(encoding="utf-8")
    rows = re.findall(r"^   \* - ``(\w+)``\n((?:     - .+\n)+)", guide, re.MULTILINE)
    assert [name for name, _cells in rows] == list(profiles.FEATURES)
    for name, cells in rows:
        said = [cell.removeprefix("     - ") for cell in cells.splitlines()]
        assert [cell != "no" for cell in said] == [name in profiles.load()[vendor].features for vendor in VENDORS], name


def test_features_and_profiles_are_documented_where_they_are_asked_for() -> None:
    for name, option in (("host_firmware_features", profiles.FEATURES), ("host_firmware_profile", profiles.load())):
        for point in ("main", "read"):
            text = " ".join(product.entry_points("host_firmware")[point]["options"][name]["description"])
            assert re.findall(r"V\((\w+)\)", text)[: len(option)] == list(option)
    document = product.documentation(product.REPOSITORY / "plugins/modules/bios_settings.py")["options"]
    assert re.findall(r"V\((\w+)\)", document["features"]["description"][0]) == list(profiles.FEATURES)


def test_both_entry_points_have_the_same_inputs() -> None:
    points = product.entry_points("host_firmware")
    assert points["main"]["options"] == points["read"]["options"]
