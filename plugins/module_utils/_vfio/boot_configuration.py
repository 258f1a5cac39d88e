# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that the host wants at a boot, whether they are mounted now or not: without one of them the boot may stop.

The partition of the boot loader is often mounted on demand only.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

# The loader interface of systemd: the partition that the boot loader was started from.
_LOADER = "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_ATTRIBUTES = 4
_ESCAPE = re.compile(r"\\([0-7]{3})")
_TAGS = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel", "ID": "by-id"}
# What udev writes as it is in the names of its links.
_PLAIN = re.compile(r"[0-9A-Za-z#+\-.:=@_]")


class Wish(NamedTuple):
    """C(source) is a path below /dev, C(target) where it is mounted."""

    source: str
    target: str
    reason: str


def read_wishes(root: HostRoot) -> Iterator[Wish]:
    for line in (root.read("/etc/fstab") or "").splitlines():
        words = line.split()
        source = device_path(words[0]) if len(words) >= 3 and not line.lstrip().startswith("#") else None
        if source is not None and words[2] == "swap":
            yield Wish(source, "", f"holds swap {words[0]} (fstab)")
        elif source is not None:
            target = _unescape(words[1]).rstrip("/") or "/"
            yield Wish(source, target, f"holds {target} (fstab)")
    for line in (root.read("/etc/crypttab") or "").splitlines():
        words = line.split()
        source = device_path(words[1]) if len(words) >= 2 and not line.lstrip().startswith("#") else None
        if source is not None:
            yield Wish(source, "", f"holds the encrypted volume {words[0]} (crypttab)")
    variable = root.read_bytes(_LOADER) or b""
    partition = variable[_ATTRIBUTES:].decode("utf-16-le", "replace").strip("\0").lower()
    if partition:
        yield Wish(f"/dev/disk/by-partuuid/{partition}", "", "holds the boot loader")


def device_path(source: str) -> Optional[str]:
    """As mount finds it: a path, or a tag that udev has made a link for."""
    tag, equals, value = source.partition("=")
    if equals and tag in _TAGS:
        text = _unescape(value.strip('"'))
        name = "".join(char if _PLAIN.match(char) or ord(char) > 0x7F else f"\\x{ord(char):02x}" for char in text)
        return f"/dev/disk/{_TAGS[tag]}/{name}" if name else None
    path = _unescape(source)
    return path if path.startswith("/dev/") else None


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), text)
