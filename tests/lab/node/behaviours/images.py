# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image reference says; the container names of upstream are the same in all releases, the images are not.

No behaviour of its own.
"""

from __future__ import annotations

import re
from typing import Any

from ..behaviour import Pod


def image_name(container: dict[str, Any]) -> str:
    """registry/path/NAME:tag or registry/path/NAME@digest"""
    return str(container.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]


def image_version(container: dict[str, Any]) -> tuple[int, ...] | None:
    """The numbers at the start of the tag; None without a tag that begins with some."""
    tag = str(container.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = re.match(r"v?(\d+(?:\.\d+)*)", tag)
    return tuple(int(part) for part in found[1].split(".")) if found else None


def is_vfio_manage(container: dict[str, Any]) -> bool:
    """k8s-driver-manager 0.10 and newer, which brings vfio-manage; an image without a version counts as new."""
    if image_name(container) != "k8s-driver-manager":
        return False
    version = image_version(container)
    return version is None or version >= (0, 10)


def labels_of(pod: Pod) -> dict[str, str]:
    return dict(pod["metadata"].get("labels") or {})
