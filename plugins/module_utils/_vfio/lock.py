# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time changes the bindings of a host."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import Iterator

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.paths import PCI_DEVICES


@contextmanager
def exclusive(root: HostRoot) -> Iterator[None]:
    """A folder that is there anyway is locked, so nothing is left behind; the kernel lets go of it with the process."""
    handle = os.open(root.path(PCI_DEVICES), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise KatagpuError(
                "Another run is binding devices of this host at this moment. Nothing was changed. "
                f"Fix: let it end, then run again. Evidence: fuser {PCI_DEVICES}."
            ) from error
        yield
    finally:
        os.close(handle)
