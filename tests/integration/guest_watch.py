# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a guest, from standard input: says what changes in folders, and cuts the power at one of the changes.

    python3 - CUT PATH...

CUT is the number of the change, or 0 to let the guest live. Changes are those that inotify tells: the same one to the same
file again counts once. Of a PATH that is a file each open counts, and nothing else: a program is opened when it is started.
"""

import ctypes
import os
import struct
import sys

MODIFY, CLOSE_WRITE, OPEN, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x20, 0x80, 0x100, 0x200
NAMES = {MODIFY: "modify", CLOSE_WRITE: "close", MOVED_TO: "rename", CREATE: "create", DELETE: "delete", OPEN: "open"}
CHANGES = sum(NAMES) - OPEN
POWER_PORT = 0x501
_EVENT = struct.Struct("iIII")


def _cut() -> None:
    port = os.open("/dev/port", os.O_WRONLY)
    os.lseek(port, POWER_PORT, os.SEEK_SET)
    os.write(port, b"\0")


def _events(watched: "dict[int, str]", descriptor: int) -> "list[str]":
    content, found, at = os.read(descriptor, 1 << 16), [], 0
    while at < len(content):
        number, mask, _cookie, length = _EVENT.unpack_from(content, at)
        name = content[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0").decode(errors="replace")
        at += _EVENT.size + length
        path = f"{watched[number]}/{name}" if name else watched[number]
        found += [f"{word} {path}" for bit, word in NAMES.items() if mask & bit]
    return found


def main(cut: int, paths: "list[str]") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init()
    watched = {}
    for path in paths:
        number = libc.inotify_add_watch(descriptor, path.encode(), CHANGES if os.path.isdir(path) else OPEN)
        if number >= 0:
            watched[number] = path
    count, last = 0, ""
    print("watching", flush=True)
    while True:
        for event in _events(watched, descriptor):
            if event == last and not event.startswith("open"):
                continue
            last = event
            count += 1
            if count == cut:
                _cut()
            print(event, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
