# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node agent starts after the bindings: device plugins look at the devices once, when they start.

udev begins with our rules early, but a unit is not held back until they have run. Two plain files do that from the next boot
on: a unit that waits, and what makes the usual target want it. No link is needed, so nothing of systemd has to be called.
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional

UNIT = "/etc/systemd/system/katagpu-vfio.service"
WANTED = "/etc/systemd/system/multi-user.target.d/katagpu-vfio.conf"
# An agent that is not installed is no error.
AGENTS = ("kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent")
# Only ordering: an agent starts late, and never not at all, where a device keeps udev busy.
_SECONDS = 120

_UNIT_TEXT = f"""\
# Managed by katagpu.cluster.vfio_binding.
[Unit]
Description=Bindings of PCI functions to VFIO are made
After=systemd-udev-trigger.service systemd-modules-load.service
Before={" ".join(f"{name}.service" for name in AGENTS)}

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec={_SECONDS + 30}
ExecStart=/bin/sh -c 'exec udevadm settle --timeout={_SECONDS}'
"""
_WANTED_TEXT = """\
# Managed by katagpu.cluster.vfio_binding.
[Unit]
Wants=katagpu-vfio.service
"""


def render(lines: Mapping[str, str]) -> Dict[str, Optional[str]]:
    """Both files, or nothing of them where no function is bound by us."""
    return {UNIT: _UNIT_TEXT, WANTED: _WANTED_TEXT} if lines else {UNIT: None, WANTED: None}
