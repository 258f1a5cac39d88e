# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What processor and kernel say about confidential virtual machines; nothing is judged here."""

from __future__ import annotations

import re
from typing import Any, Dict, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot

_PARAMETERS = {"kvm_amd": ("sev", "sev_es", "sev_snp"), "kvm_intel": ("tdx",)}
_NUMBERS = (("family", "cpu family"), ("model", "model"))
# Of cgroup 2 and of cgroup 1, as Node Feature Discovery looks for it.
_CAPACITY = ("/sys/fs/cgroup/misc.capacity", "/sys/fs/cgroup/misc/misc.capacity")


def read_confidential(root: HostRoot) -> Dict[str, Any]:
    return {
        "cpu": _cpu(root.read("/proc/cpuinfo", 16384) or ""),
        # Nothing where the module is not there, or does not know the parameter.
        "parameters": {
            module: {name: root.read_line(f"/sys/module/{module}/parameters/{name}") for name in names}
            for module, names in _PARAMETERS.items()
        },
        "modules": {name: root.is_dir(f"/sys/module/{name}") for name in (*_PARAMETERS, "ccp")},
        "/dev/sev": root.exists("/dev/sev"),
        "keys": _keys(root),
        "hibernation": root.read_line("/sys/power/disk"),
    }


def _cpu(cpuinfo: str) -> Dict[str, Any]:
    numbers = {name: re.search(rf"^{label}\s*:\s*(\d+)$", cpuinfo, re.MULTILINE) for name, label in _NUMBERS}
    name = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return {
        **{key: int(match.group(1)) if match else None for key, match in numbers.items()},
        "name": name.group(1).strip() if name else "",
    }


def _keys(root: HostRoot) -> Optional[Dict[str, int]]:
    """How many encryption keys there are of each kind; nothing where the kernel does not count them."""
    for path in _CAPACITY:
        text = root.read(path, 4096)
        if text is not None:
            return {name: int(number) for name, number in re.findall(r"^(\S+) (\d+)$", text, re.MULTILINE)}
    return None
