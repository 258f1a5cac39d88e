# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on rights names what is written on hosts, and the accounts and manifests that there are."""

from __future__ import annotations

import re

from tests.contract import product

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _rbac  # isort: skip

GUIDE = (product.REPOSITORY / "docs" / "docsite" / "rst" / "guide_security.rst").read_text(encoding="utf-8")
OURS = re.compile(r"^/(etc|var|run)/\S*katagpu\S*$")


def written() -> set[str]:
    """Paths with our name in them are of files that we write; those of a distribution of Kubernetes have its name within."""
    files = (product.REPOSITORY / "plugins" / "module_utils").rglob("*.py")
    texts = {text for path in files for text in product.code_strings(path)}
    return {text.replace("{}", "...") for text in texts if OURS.match(text)}


def folder(path: str) -> str:
    return path.rpartition("/")[0]


def test_every_file_that_is_written_on_a_host_is_named() -> None:
    paths = written()
    assert len(paths) > 8
    missing = [
        path
        for path in sorted(paths)
        if path not in GUIDE and not (folder(path).endswith("katagpu") and folder(path) in GUIDE)
    ]
    assert missing == []


def test_every_account_and_manifest_is_named() -> None:
    for file, (account, _role, _levels) in _rbac.SETS.items():
        assert f"``{file}``" in GUIDE and f"``{account}``" in GUIDE
