# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the manifests that the collection contains, those of its default release: python -m tests.docs.rbac"""

from __future__ import annotations

from tests.conftest import REPOSITORY

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _rbac, _releases  # isort: skip

FOLDER = REPOSITORY / "roles" / "preflight" / "files"


def manifests() -> dict[str, str]:
    return _rbac.files(_releases.lookup(""))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in manifests().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
