# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes to sysfs that may never return, made by a child that nobody waits for without end."""

from __future__ import annotations

import errno
import os
import time
from typing import NamedTuple

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

_POLL = 0.05
_UNKNOWN = 255


class Outcome(NamedTuple):
    """C(wedged) means that the write has not returned in time and cannot be taken back: a reboot is the only way out."""

    ok: bool
    wedged: bool = False
    error: str = ""


class SysfsWriter:
    def __init__(self, root: HostRoot, timeout: float) -> None:
        self._root = root
        self._timeout = timeout

    def write(self, path: str, text: str) -> Outcome:
        real = self._root.path(path)
        child = os.fork()
        if child == 0:
            _write_and_exit(real, text)
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return _outcome(status)
            time.sleep(_POLL)
        # The child is left alone: a writer that sleeps in the kernel cannot be killed, and a second one would queue
        # behind it.
        return Outcome(False, wedged=True, error=f"the write did not return within {self._timeout:g} seconds")


def _write_and_exit(path: str, text: str) -> None:
    """Runs in the child, and never returns. It lets go of the parent's pipes, or its reader would wait for it."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, 1024)
        handle = os.open(path, os.O_WRONLY)
        os.write(handle, text.encode())
        os.close(handle)
    except OSError as error:
        os._exit(error.errno if error.errno and error.errno < _UNKNOWN else _UNKNOWN)
    except BaseException:
        os._exit(_UNKNOWN)
    os._exit(0)


def _outcome(status: int) -> Outcome:
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else _UNKNOWN
    if code == 0:
        return Outcome(True)
    return Outcome(False, error=os.strerror(code) if code in errno.errorcode else "the writer failed")
